"""What clients may not do to the server: be too large, too slow, too many, or vanish."""

from __future__ import annotations

import json
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from petclassify.runtime.serve import connections, intake
from petclassify.runtime.serve.connections import Room
from petclassify.runtime.serve.intake import MAX_BODY_BYTES, HeldBytes
from petclassify.runtime.serve.service import Service
from tests.runtime.serve.conftest import SHIPPED, Client, allow_open_files

Start = Callable[[Service], Client]


def connect(client: Client) -> socket.socket:
    return socket.create_connection(("127.0.0.1", client.port), timeout=10)


def read_all(connection: socket.socket) -> bytes:
    """All until the server hangs up."""
    received = b""
    try:
        while some := connection.recv(65536):
            received += some
    except ConnectionResetError:
        pass
    return received


def loop_seconds(client: Client) -> float:
    """What the server's main thread, which answers all requests, has used of a core."""
    assert client.process is not None
    pid = client.process.pid
    fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def send_until(connection: socket.socket, some: bytes, end: float) -> None:
    """Send a little, again and again."""
    while time.monotonic() < end:
        connection.sendall(some)
        time.sleep(0.02)


def figure(client: Client, name: str) -> float:
    text = client.ask("/metrics").body.decode()
    (line,) = (one for one in text.splitlines() if one.startswith(f"{name} "))
    return float(line.split()[1])


def wait_until_nothing_is_held(client: Client) -> None:
    """Requests of clients that hung up may still be under way."""
    deadline = time.monotonic() + 10
    while held := figure(client, "petclassify_held_bytes"):
        assert time.monotonic() < deadline, held
        time.sleep(0.02)


@pytest.mark.attack("Server")
def test_a_body_over_the_limit_is_refused(server: Client) -> None:
    large = bytes(MAX_BODY_BYTES + 2**20)

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(large), 2**16):
            yield large[start : start + 2**16]

    for body in (large, chunks()):
        answer = server.ask("/predict", body)
        assert (answer.status, answer.json["error"]["kind"]) == (413, "body_too_large")
    assert server.ask("/predict", large[:MAX_BODY_BYTES]).status == 415
    wait_until_nothing_is_held(server)


@pytest.mark.attack("Server")
def test_a_body_over_the_limit_is_refused_before_it_is_sent(server: Client) -> None:
    with closing(connect(server)) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {2**40}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.attack("Server")
def test_slow_bodies_end_with_408(start_server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "BODY_SECONDS", 0.3)
    client = start_server(Service(SHIPPED))
    with closing(connect(client)) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\nx"
        )
        start = time.monotonic()
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b'"too_slow"' in received
    assert 0.2 < time.monotonic() - start < 3
    wait_until_nothing_is_held(client)


def test_a_slow_line_that_keeps_up_is_waited_for(
    start_server: Start, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(intake, "SLOWEST_BYTES_PER_SECOND", len(photo) // 8)
    client = start_server(Service(SHIPPED))

    def slowly() -> Iterator[bytes]:
        size = len(photo) // 8 + 1
        for start in range(0, len(photo), size):
            time.sleep(0.08)
            yield photo[start : start + size]

    assert client.ask("/predict", slowly()).status == 200


@pytest.mark.parametrize("head", [b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: loc"])
@pytest.mark.attack("Server")
def test_slow_heads_are_hung_up_on(
    start_server: Start, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    client = start_server(Service(SHIPPED))
    with closing(connect(client)) as connection:
        connection.sendall(head)
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 408 ") if head else received == b""


@pytest.mark.attack("Server")
def test_what_a_refused_client_still_sends_is_not_read_for_ever(
    start_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    client = start_server(Service(SHIPPED))
    with closing(connect(client)) as connection:
        connection.sendall(
            b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        end = time.monotonic() + 5
        with pytest.raises(OSError, match=r"reset|[Pp]ipe"):
            send_until(connection, b"4\r\nmore\r\n", end)


@pytest.mark.attack("Server")
def test_a_client_that_does_not_read_is_hung_up_on(
    start_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.3)
    monkeypatch.setattr("petclassify.runtime.serve.app.describe_api", lambda _: "x" * 50_000_000)
    client = start_server(Service(SHIPPED))
    with closing(connect(client)) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1)
        assert len(read_all(connection)) < 50_000_000


def test_a_kept_connection_outlives_many_requests(server: Client) -> None:
    with closing(connect(server)) as connection:
        for _ in range(20):
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"alive"):
                some = connection.recv(65536)
                assert some
                answer += some


@pytest.mark.attack("Server")
def test_clients_that_hang_up_leave_nothing_behind(server: Client, photo: bytes) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
    for sent in (
        head[:20].encode(),
        head.encode(),
        head.encode() + photo[:99],
        head.encode() + photo,
    ):
        for _ in range(5):
            connection = connect(server)
            connection.sendall(sent)
            connection.close()
    assert server.ask("/predict", photo).status == 200
    wait_until_nothing_is_held(server)


@pytest.mark.attack("Server")
def test_a_client_that_hangs_up_is_no_failure_of_the_server(start_server: Start) -> None:
    service = Service(SHIPPED)
    with closing(connect(start_server(service))) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nabc"
        )
        time.sleep(0.1)
    deadline = time.monotonic() + 10
    while b'route="/predict",status=' not in service.metrics.text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert b'route="/predict",status="499"} 1.0' in service.metrics.text()


@pytest.mark.attack("Server")
def test_a_long_head_is_refused(server: Client) -> None:
    for header, most in ((b"X: y\r\n", 98), (b"X: %s\r\n" % (b"y" * 1000), 16)):
        for count, said in ((most, b" 200 OK"), (most + 1, b"head is too long")):
            head = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            with closing(connect(server)) as connection:
                connection.sendall(head + header * count + b"\r\n")
                assert said in read_all(connection)


def test_a_long_body_behind_a_head_makes_no_long_head(server: Client) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 30000\r\n"
    with closing(connect(server)) as connection:
        connection.sendall(
            (head + b"\r\n" + b"\n" * 30_000) * 2
            + head
            + b"Connection: close\r\n\r\n"
            + b"\n" * 30_000
        )
        assert read_all(connection).count(b"HTTP/1.1 415 ") == 3


@pytest.mark.attack("Server")
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_long_trailer_is_refused(server: Client, photo: bytes, pieces: int) -> None:
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    body = b"%x\r\n%s\r\n0\r\n" % (len(photo), photo)
    for count, said in ((99, b" 200 OK"), (200, b"too much follows")):
        trailer = b"X: y\r\n" * count + b"\r\n"
        size = len(trailer) // pieces + 1
        with closing(connect(server)) as connection:
            connection.sendall(head + body)
            for start in range(0, len(trailer), size):
                connection.sendall(trailer[start : start + size])
            assert said in read_all(connection)


def test_lines_behind_a_body_or_in_it_make_no_long_trailer(server: Client) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    lines = b"\r\n0\r\n" + b"x\n" * 20_000
    body = b"\r\n" + (b"%x\r\n%s\r\n" % (len(lines), lines)) * 3 + b"0\r\n\r\n"
    with closing(connect(server)) as connection:
        connection.sendall((head + body) * 2 + head + b"Connection: close\r\n" + body)
        assert read_all(connection).count(b"HTTP/1.1 415 ") == 3


@pytest.mark.attack("Server")
def test_a_body_in_crumbs_is_refused(server: Client, photo: bytes) -> None:
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    assert len(photo) > 10_000
    for size, body, said in ((128, photo, b" 200 OK"), (1, photo[:10_000], b"very small chunks")):
        chunks = (body[at : at + size] for at in range(0, len(body), size))
        sent = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        with closing(connect(server)) as connection:
            connection.sendall(head + sent + b"0\r\n\r\n")
            assert said in read_all(connection)


def test_many_requests_of_a_few_small_chunks_are_no_crumbs(server: Client) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with closing(connect(server)) as connection:
        for _ in range(200):
            connection.sendall(head + b"1\r\nx\r\n" * 8 + b"0\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}}"):
                some = connection.recv(65536)
                assert some
                answer += some
            assert answer.startswith(b"HTTP/1.1 415 ")


@pytest.mark.attack("Server")
def test_crumbs_leave_the_server_time_for_others(server: Client) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    stopped = threading.Event()

    def strike() -> None:
        while not stopped.is_set():
            with closing(connect(server)) as connection, suppress(OSError):
                connection.sendall(head)
                while not stopped.is_set():
                    connection.sendall(b"1\r\nx\r\n" * 20_000)

    attackers = [threading.Thread(target=strike) for _ in range(4)]
    for attacker in attackers:
        attacker.start()
    try:
        time.sleep(0.5)
        start = time.monotonic()
        assert server.ask("/livez").status == 200
        assert time.monotonic() - start < 1
    finally:
        stopped.set()
        for attacker in attackers:
            attacker.join()


@pytest.mark.attack("Server")
def test_what_follows_an_answer_and_is_no_http_ends_the_connection_only(server: Client) -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    with closing(connect(server)) as connection:
        connection.sendall(head)
        assert b" 404 " in connection.recv(65536)
        connection.sendall(b"no size\r\n")
        assert b"HTTP/1.1 " not in read_all(connection)
    with closing(connect(server)) as connection:
        connection.sendall(head + b"no size\r\n")  # before the 404 is said
        assert read_all(connection).count(b"HTTP/1.1 ") == 1
    assert server.ask("/livez").status == 200
    assert not any("Traceback" in line or "bug in" in line for line in server.log)


@pytest.mark.attack("Server")
def test_a_client_that_closes_its_side_is_answered(server: Client, photo: bytes) -> None:
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
    for requests in (1, 3):
        with closing(connect(server)) as connection:
            connection.sendall((head.encode() + photo) * requests)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection).count(b"HTTP/1.1 200 ") == requests
    for sent in (head.encode(), head.encode() + photo[:99], head[:20].encode()):
        with closing(connect(server)) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == b""
    wait_until_nothing_is_held(server)


@pytest.mark.attack("Server")
def test_a_lying_length_is_no_way_in(server: Client, photo: bytes) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n" + photo
        )
        assert b" 422 " in connection.recv(65536)
    for head in (b"Content-Length: -1", b"Content-Length: 4\r\nContent-Length: 5", b"\x00: 1"):
        with closing(connect(server)) as connection:
            connection.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + head + b"\r\n\r\n"
            )
            assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
    assert server.ask("/livez").status == 200


@pytest.mark.attack("Server")
def test_memory_for_bodies_is_shared(start_server: Start, photo: bytes) -> None:
    service = Service(SHIPPED)
    service.memory = HeldBytes(len(photo) + 1000)
    client = start_server(service)
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
    with closing(connect(client)) as unfinished:
        unfinished.sendall(head.encode() + photo[:5000])
        while figure(client, "petclassify_held_bytes") < 5000:
            time.sleep(0.01)
        refused = client.ask("/predict", photo)
        assert (refused.status, refused.json["error"]["kind"]) == (503, "busy")
        assert refused.headers["retry-after"] == "1"
    wait_until_nothing_is_held(client)
    assert client.ask("/predict", photo).status == 200


@pytest.mark.attack("Server")
def test_connections_over_the_limit_are_told_to_come_back(
    start_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("petclassify.runtime.serve.run.room_for_connections", lambda: Room(3, 99))
    client = start_server(Service(SHIPPED))
    held = [connect(client) for _ in range(3)]
    with closing(connect(client)) as one_more:
        received = read_all(one_more)
    assert received.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1\r\n" in received
    for connection in held:
        connection.close()
    assert client.ask("/livez").status == 200


@pytest.mark.attack("Server")
def test_a_thousand_at_once_are_answered_or_told_to_come_back(server: Client, photo: bytes) -> None:
    allow_open_files(1200)
    request = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n"
    whole = request.encode() + b"Connection: close\r\n\r\n" + photo
    selector = selectors.DefaultSelector()
    unsent: dict[socket.socket, bytes] = {}
    answers: dict[socket.socket, bytes] = {}
    slowest = 0.0
    for _ in range(1000):
        connection = connect(server)
        connection.setblocking(False)
        unsent[connection], answers[connection] = whole, b""
        selector.register(connection, selectors.EVENT_READ | selectors.EVENT_WRITE)
    deadline = time.monotonic() + 120
    asked = 0.0
    while selector.get_map():
        assert time.monotonic() < deadline
        for key, events in selector.select(timeout=0.05):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            if events & selectors.EVENT_WRITE:
                sent = connection.send(unsent[connection])
                unsent[connection] = unsent[connection][sent:]
                if not unsent[connection]:
                    selector.modify(connection, selectors.EVENT_READ)
            if events & selectors.EVENT_READ:
                some = connection.recv(65536)
                answers[connection] += some
                if not some:
                    selector.unregister(connection)
                    connection.close()
        if time.monotonic() - asked > 0.2:
            asked = time.monotonic()
            before = loop_seconds(server)
            assert server.ask("/livez").status == 200
            slowest = max(slowest, loop_seconds(server) - before)
    statuses = [answer[9:12] for answer in answers.values()]
    assert set(statuses) == {b"200", b"503"}, set(statuses)
    assert all(b"retry-after: 1\r\n" in a for a in answers.values() if a[9:12] == b"503")
    assert slowest < 1  # of its own work, as other tests share the cores
    assert server.ask("/predict", photo).status == 200
    wait_until_nothing_is_held(server)


def test_a_health_check_in_http_1_0_needs_no_host(server: Client) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        line.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert line.recv(100).split()[1] == b"200"


@pytest.mark.attack("Server")
def test_other_sites_and_other_names_are_refused(server: Client, photo: bytes) -> None:
    here = f"127.0.0.1:{server.port}"
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"http://{here}.evil.example"},
        {"sec_fetch_site": "cross-site", "origin": f"http://{here}"},
        {"sec_fetch_site": "same-site"},
    ):
        answer = server.ask("/predict", photo, **headers)
        assert (answer.status, answer.json["error"]["kind"]) == (403, "cross_origin"), headers
    for headers in (
        {"origin": f"http://{here}"},
        {"sec_fetch_site": "same-origin"},
        {"sec_fetch_site": "none"},
        {"host": "localhost"},
        {"host": "[::1]:8000"},
    ):
        assert server.ask("/predict", photo, **headers).status == 200, headers
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[", "0.0.0.0"):
        answer = server.ask("/model", host=host)
        assert (answer.status, answer.json["error"]["kind"]) == (421, "wrong_host"), host
        assert "ask for 127.0.0.1" in answer.json["error"]["message"]


def test_the_page_runs_nothing_but_its_own(server: Client) -> None:
    for path in ("/", "/page.js", "/style.css", "/icon.svg"):
        headers = server.ask(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert headers["referrer-policy"] == "no-referrer"
    for path in ("/", "/model", "/nothing", "/livez"):
        headers = server.ask(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


def test_the_log_has_one_json_object_a_request(server: Client, photo: bytes) -> None:
    server.ask("/earlier")
    while not any("/earlier" in line for line in server.log):
        time.sleep(0.01)
    before = len(server.log)
    server.ask("/predict", photo)
    server.ask("/no%0Aline%22%1b[31m")
    server.ask("/" + "long" * 1000)
    server.ask("/livez")
    server.ask("/metrics")
    while len(server.log) < before + 3:
        time.sleep(0.01)
    entries = [json.loads(line) for line in server.log[before:]]
    assert [entry["path"] for entry in entries] == [
        "/predict",
        '/no\nline"\x1b[31m',
        ("/" + "long" * 1000)[:200],
    ]
    first = entries[0]
    assert (first["method"], first["status"], first["photos"]) == ("POST", 200, 1)
    assert (first["bytes"], first["client"]) == (len(photo), "127.0.0.1")
    assert 0 < first["ms"] < 10_000


@pytest.mark.attack("Server")
def test_no_second_request_hides_behind_a_length_said_twice(server: Client) -> None:
    hidden = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: %d\r\n\r\n" % (5 + len(hidden))
    )
    with closing(connect(server)) as connection:
        connection.sendall(head + b"0\r\n\r\n" + hidden)
        received = read_all(connection)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"two_lengths" in received
    assert received.count(b"HTTP/1.1 ") == 1
