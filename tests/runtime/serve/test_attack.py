"""Clients that mean harm: in what they send, and all of them at once."""

from __future__ import annotations

import io
import json
import re
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from PIL import Image

from petclassify.runtime.serve.service import Service
from tests.reliability import Attacks
from tests.runtime.serve.conftest import SHIPPED, Client, encoded, model_saying, running_server
from tests.runtime.serve.test_app import png_head
from tests.runtime.serve.test_limits import connect, wait_until_nothing_is_held

pytestmark = pytest.mark.attack("Server")

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
    client = start_server(Service(model_saying(tmp_path / "<i>\udcff.onnx", class_names=names)))
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
    bombs = [
        png_head(50_000, 50_000),
        bombs_of_text(),
        png_head(2**31 - 1, 1),
        b"GIF89a\xff\xff\xff\xff",
    ]
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


@pytest.mark.slow
def test_random_requests_are_answered_as_described(server: Client, attack: Attacks) -> None:
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis.checks import not_a_server_error
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [
        *(not_a_server_error, status_code_conformance),
        *(content_type_conformance, response_schema_conformance),
    ]
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/openapi.json")
    statuses: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        takes_something = operation.body or operation.path_parameters
        modes = list(GenerationMode) if takes_something else [GenerationMode.POSITIVE]
        for mode in modes:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=40,
                deadline=None,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            def ask(case: schemathesis.Case) -> None:
                answer = case.call()
                statuses[f"{case.operation.label} {answer.status_code}"] += 1
                case.validate_response(answer, checks=checks)

            # Of what takes any bytes at all, nothing can be wrong.
            with suppress(*[Unsatisfiable] if mode == GenerationMode.NEGATIVE else []):
                ask()
    print(json.dumps(statuses, indent=1))
    attack.made(statuses.total(), under="random requests")
    assert statuses.total() > 200


def repeat(attack: Callable[[], None], stopped: threading.Event) -> None:
    """Attack again and again; that the server hangs up is the least of it."""
    while not stopped.is_set():
        with suppress(OSError):
            attack()


def endless_chunks(client: Client, pause_s: float, seconds: float) -> None:
    """Send chunks for so long, or until the server hangs up."""
    end = time.monotonic() + seconds
    size = 100 if pause_s else 65536
    with closing(connect(client)) as connection:
        connection.sendall(CHUNKED)
        while time.monotonic() < end:
            connection.sendall(b"%x\r\n%s\r\n" % (size, bytes(size)))
            time.sleep(pause_s)


def raw(client: Client, content: bytes) -> None:
    """Send bytes and read what comes back at once."""
    with closing(connect(client)) as connection:
        connection.settimeout(5)
        connection.sendall(content)
        connection.recv(65536)


@pytest.fixture
def idle(server: Client) -> Iterator[None]:
    """400 connections that say nothing or half a head, all the while."""
    held = [connect(server) for _ in range(400)]
    for number, connection in enumerate(held):
        connection.sendall(b"POST /predict HTTP/1.1\r\nHost: loc"[: number % 40])
    yield
    for connection in held:
        connection.close()


@pytest.mark.slow
def test_good_requests_are_answered_among_all_attackers(
    server: Client, photo: bytes, idle: None, attack: Attacks
) -> None:
    seconds = 25
    large = io.BytesIO()
    Image.new("P", (7000, 7000)).save(large, "PNG")  # as large as is allowed, 50 KB
    broken = b"--limit\r\nContent-Disposition: form-data; name=x\r\n\r\n" + photo
    multipart = {"content_type": "multipart/form-data; boundary=limit"}
    bomb, blank = bombs_of_text(), large.getvalue()
    texts = infer_request(["x" * 100_000, *[""] * 10_000])
    page_name = b'<script>alert(1)</script>"'
    attacks: dict[str, Callable[[], object]] = {
        "chunks without end, fast": lambda: endless_chunks(server, 0, seconds),
        "chunks without end, slow": lambda: endless_chunks(server, 0.05, seconds),
        "a length of a terabyte": lambda: raw(
            server,
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\n",
        ),
        "11 MB": lambda: server.ask("/predict", bytes(11_000_000)),
        "broken multipart": lambda: server.ask("/predict", broken, **multipart),
        "64 parts, HTML as names": lambda: server.send_parts(*[(page_name, b"")] * 64),
        "two of the largest photos": lambda: server.send_parts(*[(b"x", blank)] * 2),
        "bombs": lambda: server.send_parts(*[(b"x", bomb)] * 8),
        "text among numbers": lambda: server.ask(INFER, texts),
        "nested JSON": lambda: server.ask(INFER, b'{"inputs":' + b"[" * 100_000),
        "no HTTP": lambda: raw(server, bytes(range(256)) * 20 + b"\r\n\r\n"),
        "hanging up": lambda: (connect(server).close(), time.sleep(0.01)),
    }
    before = memory_mib(server, "VmRSS")
    stopped = threading.Event()
    tries: Counter[str] = Counter()

    def strike(name: str) -> None:
        tries[name] += 1
        attacks[name]()

    attackers = [
        threading.Thread(target=repeat, args=(lambda name=name: strike(name), stopped), daemon=True)
        for name in attacks
    ]
    for attacker in attackers:
        attacker.start()
    answered: Counter[int] = Counter()
    slowest_s = {"/livez": 0.0, "/predict": 0.0}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path, body in (("/livez", None), ("/predict", photo)):
            start = time.monotonic()
            status = server.ask(path, body).status
            slowest_s[path] = max(slowest_s[path], time.monotonic() - start)
            answered[status] += path == "/predict"
            assert status == 200 or path == "/predict"
        time.sleep(0.1)
    stopped.set()
    for attacker in attackers:
        attacker.join(seconds + 30)
    most = memory_mib(server, "VmHWM")
    for name, count in tries.items():
        print(f"{name:32}{count:8}")
    print(f"good requests {dict(answered)}, slowest {slowest_s}")
    print(f"memory {before:.0f} MiB before, {most:.0f} MiB at most")
    attack.made(len(tries), under="kinds at once, for 25 seconds")
    wait_until_nothing_is_held(server)
    assert server.ask("/predict", photo).status == 200
    assert set(answered) <= {200, 503}
    assert answered[200] > 0.5 * answered.total()
    assert slowest_s["/livez"] < 1
    assert most < 1500
