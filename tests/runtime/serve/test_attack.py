"""Clients that mean harm: in what they send, and all of them at once."""

from __future__ import annotations

import io
import json
import re
import socket
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import onnx
import pytest
from PIL import Image

from petclassify.runtime.serve.service import Service
from tests.runtime.serve.conftest import SHIPPED, Client, encoded, running_server
from tests.runtime.serve.test_app import png_head
from tests.runtime.serve.test_limits import connect, wait_until_nothing_is_held

Start = Callable[[Service], Client]
INFER = "/v2/models/catsdogs/infer"
SIDE = 224
CHUNKED = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


def memory_mib(client: Client, which: str) -> float:
    """What the server holds (VmRSS), or held at most (VmHWM)."""
    assert client.process is not None
    status = Path(f"/proc/{client.process.pid}/status").read_text()
    found = re.search(rf"{which}:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def infer_request(data: list[object], **fields: object) -> str:
    tensor = {"name": "images", "shape": [1, SIDE, SIDE, 3], "datatype": "UINT8", "data": data}
    return json.dumps({"inputs": [tensor | fields]})


def model_with_classes(path: Path, *class_names: str) -> Path:
    """The shipped model, its two classes called otherwise."""
    model = onnx.load(SHIPPED)
    (entry,) = model.metadata_props
    entry.value = json.dumps(json.loads(entry.value) | {"class_names": class_names})
    onnx.save(model, path)
    return path


def test_text_among_numbers_takes_no_memory() -> None:
    with running_server("--model", SHIPPED) as client:
        before = memory_mib(client, "VmHWM")
        for _ in range(3):
            answer = client.ask(INFER, infer_request(["x" * 100_000, *[""] * 10_000]))
            assert answer.status == 400
        assert memory_mib(client, "VmHWM") < before + 100


def test_text_that_is_no_unicode_is_answered(server: Client) -> None:
    refused = server.ask(INFER, infer_request([], datatype="\udcff"))
    assert (refused.status, refused.json["error"]) == (400, "images must be UINT8, not \udcff")
    body = json.loads(infer_request([0] * SIDE * SIDE * 3)) | {"id": "\ud800"}
    answer = server.ask(INFER, json.dumps(body))
    assert (answer.status, answer.json["id"]) == (200, "\ud800")


@pytest.mark.parametrize("names", [("<b onclick=x>", "a\nb\x1b[31m"), ("cats\udcff", "\u202edogs")])
def test_odd_class_names_survive(
    start_server: Start, tmp_path: Path, photo: bytes, names: tuple[str, str]
) -> None:
    client = start_server(Service(model_with_classes(tmp_path / "<i>\udcff.onnx", *names)))
    assert client.ask("/model").json["class_names"] == list(names)
    for answer in (
        client.ask("/predict", photo).json,
        client.send_parts((b"x", photo)).json["predictions"][0],
    ):
        assert set(answer["probabilities"]) == set(names)
    described = client.ask("/openapi.json")
    assert described.status == 200
    assert client.ask("/v2/models/%3Ci%3E%FF").json["name"] == "<i>\N{REPLACEMENT CHARACTER}"
    assert b"<b " not in client.ask("/").body


def test_image_bombs_are_refused_before_they_are_unpacked(server: Client) -> None:
    before = memory_mib(server, "VmHWM")
    bombs = [png_head(50_000, 50_000), bombs_of_text(), png_head(2**31 - 1, 1), b"GIF89a\xff\xff\xff\xff"]
    for bomb in bombs:
        assert server.ask("/predict", bomb).status in (415, 422)
    answer = server.send_parts(*[(b"x", bomb) for bomb in bombs * 16])
    assert answer.status == 422
    assert memory_mib(server, "VmHWM") < before + 64


def bombs_of_text() -> bytes:
    """A PNG of one pixel whose comment unpacks to 100 MB."""
    text = b"zTXtcomment\0\0" + zlib.compress(bytes(100_000_000))
    chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
    head = encoded(Image.new("L", (1, 1)))
    return head[:33] + chunk + head[33:]
