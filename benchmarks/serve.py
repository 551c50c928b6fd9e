"""How fast the server is, and how steady: `python benchmarks/serve.py`.

Real photos over loopback, from a client in this process that costs a few percent of the
server's own work. `predict FOLDER` is measured in the same run, its start-up taken off, and
the server's rate is a share of it. While 64 clients are served, /livez is asked ten times a
second. At the end comes memory, before and after many requests.

Prints the rows of a Markdown table.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SHIPPED = Path(__file__).parents[1] / "models" / "catsdogs.onnx"
CLIENTS = (1, 8, 64)
COMMAND = (sys.executable, "-m", "petclassify")


class Server:
    """The server in a process of its own."""

    def __init__(self, model: Path) -> None:
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--model", model, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rpartition(":")[2])
        asyncio.run(self._wait_until_ready())
        self.seconds_to_ready = time.perf_counter() - start

    async def _wait_until_ready(self) -> None:
        connection = await Connection.open(self.port)
        assert await connection.ask(get("/readyz")) == 200
        connection.close()

    def resident_mib(self) -> float:
        """Memory in use, by the kernel's account."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def stop(self) -> None:
        """End it as a service manager would."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


class Connection:
    """One keep-alive connection: the least HTTP that will do."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to a server on this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, request: bytes) -> int:
        """Send one request and read its whole answer; its status."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        place = head.index(b"content-length: ") + 16
        await self._reader.readexactly(int(head[place : head.index(b"\r", place)]))
        return int(head[9:12])

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


def get(path: str) -> bytes:
    """A request for a path."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(photo: bytes) -> bytes:
    """A request to classify one photo."""
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
    return head.encode() + photo


async def load(port: int, requests: list[bytes], clients: int, count: int) -> np.ndarray:
    """Send `count` requests from so many clients; the seconds that each took."""
    seconds: list[float] = []
    numbers = iter(range(count))

    async def client() -> None:
        connection = await Connection.open(port)
        for number in numbers:
            start = time.perf_counter()
            status = await connection.ask(requests[number % len(requests)])
            seconds.append(time.perf_counter() - start)
            assert status == 200, status
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return np.array(seconds)


async def load_and_watch(
    port: int, requests: list[bytes], clients: int, count: int
) -> tuple[np.ndarray, float]:
    """As `load`, asking /livez meanwhile; its slowest answer in seconds."""
    loading = asyncio.create_task(load(port, requests, clients, count))
    slowest = await slowest_livez(port, loading)
    return await loading, slowest


async def burst(port: int, request: bytes, count: int) -> tuple[int, int, float]:
    """Send so many requests at once: how many got 200 and 503, and the slowest /livez."""
    statuses: list[int] = []

    async def send_one() -> None:
        connection = await Connection.open(port)
        statuses.append(await connection.ask(request))
        connection.close()

    sending = asyncio.gather(*(send_one() for _ in range(count)))
    slowest = await slowest_livez(port, sending)
    return statuses.count(200), statuses.count(503), slowest


async def slowest_livez(port: int, meanwhile: asyncio.Future[object]) -> float:
    """Ask /livez ten times a second until something is done; the slowest answer in seconds."""
    slowest = 0.0
    while not meanwhile.done():
        start = time.perf_counter()
        connection = await Connection.open(port)
        assert await connection.ask(get("/livez")) == 200
        connection.close()
        slowest = max(slowest, time.perf_counter() - start)
        await asyncio.sleep(0.1)
    return slowest


def folder_rate(photos: list[Path], model: Path) -> float:
    """Photos a second of `predict FOLDER`, its start-up taken off."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, photo in enumerate(photos):
            (folder / f"{number:05}{photo.suffix}").symlink_to(photo.resolve())
        seconds = []
        for what in (folder, next(folder.iterdir())):
            start = time.perf_counter()
            subprocess.run(
                [*COMMAND, "predict", what, "--model", model, "--format", "jsonl"],
                stdout=subprocess.DEVNULL,
                check=True,
            )
            seconds.append(time.perf_counter() - start)
    return (len(photos) - 1) / (seconds[0] - seconds[1])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, default=Path("../shared/data/catsdogs"))
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--photos", type=int, default=1000, help="for each rate")
    parser.add_argument("--requests", type=int, default=20_000, help="for memory")
    given = parser.parse_args()
    photos = sorted((given.data / "test").glob("*/*"))
    requests = [post(photo.read_bytes()) for photo in photos]
    measured = list(itertools.islice(itertools.cycle(photos), given.photos))

    server = Server(given.model)
    print(f"{os.cpu_count()} cores. Start to ready: {server.seconds_to_ready:.2f} s\n")
    try:
        asyncio.run(load(server.port, requests, 8, 200))  # warm up
        reference = folder_rate(measured, given.model)
        print(f"| what | photos/s | of the folder's | p50 ms | p99 ms |\n{'| --- ' * 5}|")
        print(f"| `predict FOLDER` | {reference:.0f} | 1.00 | | |")
        for clients in CLIENTS:
            start = time.perf_counter()
            seconds, slowest = asyncio.run(
                load_and_watch(server.port, requests, clients, given.photos)
            )
            rate = given.photos / (time.perf_counter() - start)
            p50, p99 = 1000 * np.percentile(seconds, (50, 99))
            share = rate / reference
            print(f"| {clients} clients | {rate:.0f} | {share:.2f} | {p50:.0f} | {p99:.0f} |")
        print(f"\nslowest /livez under {clients} clients: {1000 * slowest:.0f} ms")
        done, refused, slowest = asyncio.run(burst(server.port, requests[0], 1000))
        print(f"1,000 at once: {done} predicted, {refused} told to come back, ", end="")
        print(f"slowest /livez {1000 * slowest:.0f} ms")
        before = server.resident_mib()
        asyncio.run(load(server.port, requests, 8, given.requests))
        after = server.resident_mib()
        print(f"memory: {before:.0f} MiB, {after:.0f} MiB after {given.requests:,} requests more")
    finally:
        server.stop()


if __name__ == "__main__":
    main()
