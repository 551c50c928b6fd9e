from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from petclassify.errors import ExitCode
from petclassify.runtime.serve.run import listen
from tests.conftest import REPOSITORY, Outcome
from tests.runtime.serve.conftest import SHIPPED, running_server

Run = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
)
def test_a_signal_lets_requests_finish_and_takes_no_more(
    photo: bytes, number: signal.Signals, code: ExitCode
) -> None:
    with running_server("--model", SHIPPED) as server:
        assert server.process is not None
        with closing(socket.create_connection(("127.0.0.1", server.port))) as connection:
            head = (
                f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
            )
            connection.sendall(head.encode() + photo[:100])
            assert server.ask("/livez").status == 200  # so the request before it was seen
            server.process.send_signal(number)
            wait_until_none_is_taken(server.port)
            connection.sendall(photo[100:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        start = time.monotonic()
        assert server.process.wait(10) == code
        assert time.monotonic() - start < 5
    assert "Traceback" not in "".join(server.log)


def test_a_signal_that_was_ignored_from_the_start_stays_so() -> None:
    """As shells start what a script has put in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which the server inherits
    try:
        with running_server("--model", SHIPPED) as server:
            assert server.process is not None
            assert server.ask("/livez").status == 200
            server.process.send_signal(signal.SIGINT)
            assert server.ask("/readyz").status == 200
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_second_signal_ends_at_once() -> None:
    with running_server("--model", SHIPPED) as server:
        assert server.process is not None
        with closing(socket.create_connection(("127.0.0.1", server.port))) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
            )
            assert server.ask("/livez").status == 200
            server.process.send_signal(signal.SIGTERM)
            wait_until_none_is_taken(server.port)
            assert server.process.poll() is None
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(5) == -signal.SIGTERM
    assert "Traceback" not in "".join(server.log)


def wait_until_none_is_taken(port: int) -> None:
    """Until the server has closed the socket that it listens on."""
    deadline = time.monotonic() + 10
    with suppress(ConnectionError):
        while True:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_requests_that_outlast_the_grace_are_told_that_the_server_stops() -> None:
    script = (
        "import sys; from petclassify.runtime.serve import run; run.STOP_SECONDS = 0.3; "
        "from petclassify.__main__ import main; main()"
    )
    command = [sys.executable, "-c", script, "serve", "--model", str(SHIPPED), "--port", "0"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        with closing(socket.create_connection(("127.0.0.1", port))) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
            )
            with closing(socket.create_connection(("127.0.0.1", port))) as later:
                later.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert later.recv(100)  # so the request before it was seen
            process.send_signal(signal.SIGTERM)
            assert connection.recv(65536).startswith(b"HTTP/1.1 503 ")
        _, errors = process.communicate(timeout=10)
    assert process.returncode == ExitCode.TERMINATED
    assert "Traceback" not in errors, errors


def test_a_taken_port_is_one_line(petclassify: Run) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = petclassify("serve", "--model", SHIPPED, "--port", port)
    assert done.code == ExitCode.ENVIRONMENT
    assert done.err == (
        f"error: cannot listen on 127.0.0.1, port {port}: the port is taken. "
        "Give another --port; 0 takes any free one\n"
    )


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "", "a b", "x" * 300, "."])
def test_a_host_that_is_not_here_is_one_line(petclassify: Run, host: str) -> None:
    done = petclassify("serve", "--model", SHIPPED, "--host", host, "--port", "0")
    errors = [line for line in done.err.splitlines() if not line.startswith("warning:")]
    assert done.code == ExitCode.ENVIRONMENT
    assert len(errors) == 1, done.err
    assert "Traceback" not in done.err
    assert "while attempting" not in done.err  # Python's own words, with a tuple


def test_a_refused_model_is_one_line(petclassify: Run, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    done = petclassify("serve", "--model", tmp_path, "--port", "0")
    assert done.code == ExitCode.MODEL
    assert done.err.count("\n") == 1


def test_other_addresses_come_with_a_warning() -> None:
    with running_server("--model", SHIPPED, "--host", "0.0.0.0") as server:
        assert server.ask("/model", host="pets.example").status == 200
    assert "warning: whoever can reach 0.0.0.0" in server.log[0]


def test_a_missing_extra_names_the_install_line(
    petclassify: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    done = petclassify("serve")
    assert done.code == ExitCode.ENVIRONMENT
    assert "pip install 'petclassify[serve]'" in done.err


@pytest.mark.parametrize("files", [24, 80])
def test_few_open_files_mean_few_connections_not_a_crash(files: int, tmp_path: Path) -> None:
    serve = f"{sys.executable} -m petclassify serve --port 0 --model {SHIPPED}"
    command = ["bash", "-c", f"ulimit -n {files}; exec {serve} 2>{tmp_path}/log"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        address = "127.0.0.1", int(process.stdout.readline().rpartition(b":")[2])
        held = [socket.socket() for _ in range(200)]
        try:
            for connection in held:  # all at once, not one when the last is accepted
                connection.setblocking(False)
                connection.connect_ex(address)
            deadline = time.monotonic() + 30
            while not any(b" 503 " in said_to(connection) for connection in held):
                assert time.monotonic() < deadline
                held.append(socket.create_connection(address, timeout=5))
                held[-1].setblocking(False)
            for connection in held:
                connection.close()
            with closing(socket.create_connection(address, timeout=5)) as connection:
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
            assert "Traceback" not in (tmp_path / "log").read_text()
        finally:
            process.kill()


def said_to(connection: socket.socket) -> bytes:
    """What lies there to be read."""
    try:
        return connection.recv(100)
    except OSError:
        return b""


def test_an_address_of_one_link_keeps_its_scope() -> None:
    links = Path("/proc/net/if_inet6")
    found = [line.split() for line in links.read_text().splitlines()] if links.exists() else []
    scoped = [(line[0], line[5]) for line in found if line[3] == "20"]
    if not scoped:
        pytest.skip("no link-local address")
    address, link = scoped[0]
    host = ":".join(address[at : at + 4] for at in range(0, 32, 4))
    with closing(listen(f"{host}%{link}", 0)) as listener:
        assert listener.getsockname()[3] == socket.if_nametoindex(link)
