from __future__ import annotations

import re
from typing import Any

from petclassify.runtime.serve.app import list_routes
from petclassify.runtime.serve.service import Service
from tests.runtime.serve.conftest import SHIPPED, Client


def test_every_route_is_described_and_every_description_is_a_route(server: Client) -> None:
    service = Service(SHIPPED)
    routes = {
        (route.path, method.lower())
        for route in list_routes(service)
        for method in (route.methods or set()) - {"HEAD"}
    }
    service.close()
    paths = server.ask("/openapi.json").json["paths"]
    described = {
        (path, method) for path, said in paths.items() for method in said if method != "parameters"
    }
    assert described == routes


def test_every_reference_leads_somewhere(server: Client) -> None:
    said = server.ask("/openapi.json").json
    names = set(re.findall(r"#/components/schemas/(\w+)", str(said)))
    assert names == set(said["components"]["schemas"])


def test_answers_have_the_fields_that_are_described(server: Client, photo: bytes) -> None:
    schemas: dict[str, Any] = server.ask("/openapi.json").json["components"]["schemas"]
    assert set(server.ask("/predict", photo).json) == set(schemas["Prediction"]["properties"])
    assert set(server.ask("/predict", b"x").json["error"]) == set(schemas["Fault"]["properties"])
