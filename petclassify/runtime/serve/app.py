"""The routes, and the whole application around a service."""

from __future__ import annotations

import json
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

import petclassify
from petclassify.errors import EnvironmentFault, ImageError, ImageFault, ModelError
from petclassify.runtime.output import to_fields
from petclassify.runtime.serve import metrics, open_inference
from petclassify.runtime.serve.answers import JsonAnswer, refusal
from petclassify.runtime.serve.batching import Outcome
from petclassify.runtime.serve.gate import HUNG_UP, Gate
from petclassify.runtime.serve.intake import (
    MAX_BODY_BYTES,
    MAX_PHOTOS,
    RETRY_AFTER,
    Refusal,
    body_of,
    is_multipart,
    split_parts,
)
from petclassify.runtime.serve.openapi import describe_api
from petclassify.runtime.serve.service import Service

_PAGE_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_HEADERS = {
    "cache-control": "no-cache",
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_HEALTH = ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready")


def build_app(service: Service, *, loopback_only: bool) -> ASGIApp:
    """Everything that answers over HTTP."""
    routes = list_routes(service)
    app = Starlette(
        routes=routes,
        exception_handlers={
            Refusal: _refuse,
            ModelError: _refuse,
            EnvironmentFault: _refuse,
            HTTPException: _refuse,
            ClientDisconnect: _tell_nobody,
            Exception: _refuse,
        },
    )
    app.router.redirect_slashes = False  # a redirect would name whatever host was asked for
    paths = {route.endpoint: route.path for route in routes}
    unlogged = frozenset((*_HEALTH, "/metrics"))
    return Gate(app, service.metrics, paths, unlogged, loopback_only=loopback_only)


def list_routes(service: Service) -> list[Route]:
    """The routes of a service; `openapi` describes each of them."""
    endpoints = _Endpoints(service)
    return [
        *(Route(path, _page_file(*file)) for path, file in _PAGE_FILES.items()),
        Route("/predict", endpoints.predict, methods=["POST"]),
        Route("/explain", endpoints.explain, methods=["POST"]),
        Route("/model", endpoints.model),
        Route("/livez", endpoints.live),
        Route("/readyz", endpoints.ready),
        Route("/metrics", endpoints.metrics),
        Route("/openapi.json", endpoints.openapi),
        *open_inference.list_routes(service),
    ]


class _Endpoints:
    """Answers about one service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def predict(self, request: Request) -> Response:
        """One photo as the body, or several as parts."""
        service = self._service
        service.admit()
        content_type = request.headers.get("content-type", "")
        async with body_of(request, service.memory) as body:
            if not is_multipart(content_type):
                request.state.photos = 1
                (outcome,) = await service.classify([body])
                if isinstance(outcome, ImageError):
                    return _no_photo(outcome, content_type)
                return JsonAnswer(to_fields(outcome))
            parts = await service.parse(lambda: split_parts(content_type, body))
            request.state.photos = len(parts)
            outcomes = await service.classify([part.content for part in parts])
        rows = [
            {"name": part.name, **to_fields(outcome)}
            for part, outcome in zip(parts, outcomes, strict=True)
        ]
        some_predicted = not all(isinstance(outcome, ImageError) for outcome in outcomes)
        status = HTTPStatus.OK if some_predicted else _status_of(outcomes[0])
        return JsonAnswer({"predictions": rows}, status)

    async def explain(self, request: Request) -> Response:
        """One photo as the body; a picture of where the model looked."""
        self._service.admit_drawing()
        content_type = request.headers.get("content-type", "")
        async with body_of(request, self._service.memory) as body:
            request.state.photos = 1
            try:
                return Response(await self._service.explain(body), media_type="image/png")
            except ImageError as error:
                return _no_photo(error, content_type)

    async def model(self, _: Request) -> Response:
        """What the model file says about itself, and this server's limits."""
        said = json.loads(self._service.classifier.info.to_json())
        said["name"] = self._service.name
        said["explains"] = self._service.explains
        said["petclassify"] = petclassify.__version__
        said["limits"] = {"body_bytes": MAX_BODY_BYTES, "photos_per_request": MAX_PHOTOS}
        return JsonAnswer(said)

    async def live(self, _: Request) -> Response:
        """The process answers."""
        return PlainTextResponse("alive")

    async def ready(self, _: Request) -> Response:
        """The model is loaded, and no signal to stop has come."""
        if self._service.stopping:
            return PlainTextResponse("stopping", HTTPStatus.SERVICE_UNAVAILABLE)
        return PlainTextResponse("ready")

    async def metrics(self, _: Request) -> Response:
        """Counters in Prometheus's text format."""
        text = self._service.metrics.text()
        return Response(text, headers={"content-type": metrics.CONTENT_TYPE})

    async def openapi(self, _: Request) -> Response:
        """The description of all routes."""
        return JsonAnswer(describe_api(self._service.name))


def _page_file(name: str, content_type: str) -> Any:  # noqa: ANN401  # as starlette types endpoints
    headers = {"content-type": content_type, **_PAGE_HEADERS}
    content = _packaged(name)

    async def answer(_: Request) -> Response:
        return Response(content, headers=headers)

    return answer


@cache
def _packaged(name: str) -> bytes:
    return files(petclassify).joinpath("runtime", "serve", "page", name).read_bytes()


_FORM = "application/x-www-form-urlencoded"  # what curl says of any --data
_OF_CURL = " (with curl, send the file's own bytes: --data-binary @FILE)"
_OF_PARTS = " (here the body is one photo, without parts)"


def _no_photo(error: ImageError, content_type: str) -> Response:
    """Why there is nothing to see in a body, and what its content type tells of that."""
    hint = ""
    if content_type.startswith(_FORM):
        hint = _OF_CURL
    elif is_multipart(content_type):
        hint = _OF_PARTS
    return JsonAnswer(to_fields(ImageError(error.kind, error.reason + hint)), _status_of(error))


def _status_of(outcome: Outcome) -> HTTPStatus:
    if not isinstance(outcome, ImageError):
        return HTTPStatus.OK
    if outcome.kind == ImageFault.NOT_AN_IMAGE:
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    return HTTPStatus.UNPROCESSABLE_ENTITY


async def _tell_nobody(_: Request, __: Exception) -> Response:
    """Count a sender that hung up as such, and not as a failure of the server."""
    return Response(status_code=HUNG_UP)


async def _refuse(request: Request, error: Exception) -> Response:
    """Say why."""
    path = request.scope["path"]
    if isinstance(error, Refusal):
        status, kind, message, headers = error.status, error.kind, error.message, error.headers
    elif isinstance(error, HTTPException):
        status, headers = error.status_code, dict(error.headers or {})
        kind, message = HTTPStatus(status).name.lower(), error.detail
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            message = f"{path} takes {headers.get('Allow', 'POST')}"
        elif status == HTTPStatus.NOT_FOUND:
            message = "nothing is here; /openapi.json lists what is where"
    elif isinstance(error, ModelError):
        status, kind, message, headers = 500, "model", str(error), {}
    elif isinstance(error, EnvironmentFault):
        status, kind, message, headers = 503, "environment", str(error), RETRY_AFTER
    else:
        status, kind, message, headers = 500, "bug", "the server failed; its log has the reason", {}
    return refusal(path, status, kind, message, headers)
