"""A server in a process of its own, shared; and one in a thread, whose limits a test may set."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from petclassify.runtime.serve.app import build_app
from petclassify.runtime.serve.run import _configure, _Server, listen
from petclassify.runtime.serve.service import Service
from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "models" / "catsdogs.onnx"


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Asks one server."""

    port: int
    process: subprocess.Popen[str] | None = None
    log: list[str] = field(default_factory=list)

    def ask(self, path: str, body: Any = None, method: str | None = None, **headers: str) -> Answer:
        """GET, or POST where there is a body; header_names become Header-Names."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            method = method or ("GET" if body is None else "POST")
            connection.request(method, path, body, named)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())

    def send_parts(self, *parts: tuple[bytes, bytes]) -> Answer:
        """POST (file name, content) pairs as multipart."""
        body = b"".join(
            b'--limit\r\nContent-Disposition: form-data; name="x"; filename="%s"\r\n\r\n%s\r\n'
            % part
            for part in parts
        )
        content_type = "multipart/form-data; boundary=limit"
        return self.ask("/predict", body + b"--limit--\r\n", content_type=content_type)


@contextmanager
def running_server(*arguments: str | Path) -> Iterator[Client]:
    """`petclassify serve` as users start it; its log lines are collected."""
    command = [sys.executable, "-m", "petclassify", "serve", "--port", "0", *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    first = process.stdout.readline()
    assert "http://" in first, process.stderr.read()
    client = Client(int(first.rpartition(":")[2]), process)
    errors = process.stderr
    reader = threading.Thread(target=lambda: client.log.extend(errors))
    reader.start()
    try:
        yield client
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Client]:
    """The shipped model, served."""
    with running_server("--model", SHIPPED) as client:
        yield client
        assert client.process is not None
        assert client.process.poll() is None, "something ended the server"
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait(30) == 143
    others = [line for line in client.log if not line.startswith('{"time": ')]
    assert others == ["\n", "stopped\n"]


@pytest.fixture
def start_server() -> Iterator[Callable[[Service], Client]]:
    """Serve in a thread of this process, so that a test may change limits."""
    started: list[tuple[_Server, threading.Thread, Service]] = []

    def start(service: Service) -> Client:
        listener = listen("127.0.0.1", 0)
        port = listener.getsockname()[1]
        server = _Server(_configure(build_app(service, loopback_only=True)), service)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        started.append((server, thread, service))
        return Client(port)

    yield start
    for server, thread, service in started:
        server.should_exit = True
        thread.join()
        service.close()


def model_saying(path: Path, **facts: object) -> Path:
    """The shipped model with other facts about itself."""
    model = onnx.load(SHIPPED)
    (entry,) = model.metadata_props
    entry.value = json.dumps(json.loads(entry.value) | facts)
    onnx.save(model, path)
    return path


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    """An image file's bytes."""
    stream = io.BytesIO()
    image.save(stream, format=kind)
    return stream.getvalue()


@pytest.fixture(scope="session")
def photo() -> bytes:
    """Noise, which every model calls something."""
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise), "JPEG")


def allow_open_files(count: int) -> None:
    """Let this process open so many, where the system does."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
    assert os.name == "posix"
