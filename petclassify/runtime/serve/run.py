"""`petclassify serve`: a socket, the application on it, and an orderly end."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from petclassify.errors import EnvironmentFault
from petclassify.runtime.serve.app import build_app
from petclassify.runtime.serve.connections import guarded_protocol, room_for_connections
from petclassify.runtime.serve.gate import is_loopback
from petclassify.runtime.serve.service import Service

STOP_SECONDS = 10  # that requests under way may still take after a signal

# How long a worker may keep the event loop from Python's lock. Python's own 5 ms made the
# slowest /livez among 1,000 uploads at once a third slower; photos/s are the same.
SWITCH_SECONDS = 0.0005
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(model: Path, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Answer over HTTP until a signal comes, which is raised again when all is answered.

    Args:
        model: a model file or a run folder.
        host: a name or an address of this machine.
        port: 0 takes any free one.
        announce: called with the server's address once requests can be sent.

    Raises:
        ModelError: the model is refused.
        EnvironmentFault: the address cannot be listened on.

    """
    listener = listen(host, port)
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        service = Service(model)
        app = build_app(service, loopback_only=is_loopback(listener.getsockname()[0]))
        announce(address_of(listener))
        _Server(_configure(app), service).run([listener])
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """Open the socket.

    Raises:
        EnvironmentFault: the port is taken, or the host is not this machine's.

    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address, family=family)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            why = "the port is taken. Give another --port; 0 takes any free one"
        else:
            reason = str(getattr(error, "strerror", error)).partition(" (while ")[0]
            why = f"{reason.lower()}. Give another --host or --port"
        raise EnvironmentFault(f"cannot listen on {host}, port {port}: {why}") from error
    # asyncio does this only for sockets that name their protocol. Connections inherit it;
    # without it each answer waits 40 ms for the client's acknowledgement of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def address_of(listener: socket.socket) -> str:
    """The address to type into a browser."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if listener.family == socket.AF_INET6 else host
    return f"http://{shown}:{port}"


def _configure(app: object) -> uvicorn.Config:
    for library in ("uvicorn", "python_multipart"):  # malformed requests are no news
        logging.getLogger(library).setLevel(logging.ERROR)
    room = room_for_connections()
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # starlette's and uvicorn's types of the same thing
        http=guarded_protocol(room.connections),
        backlog=room.backlog,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


class _Server(uvicorn.Server):
    """uvicorn's server, which finishes what it has begun; a second signal ends it at once.

    At its end uvicorn raises the signal again for the handlers that were there before, so
    the process ends with the exit code of every other command.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        # As shells start jobs of scripts in the background, which Ctrl-C should not reach.
        self._ignored = [s for s in _SIGNALS if signal.getsignal(s) == signal.SIG_IGN]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig in self._ignored:
            return
        self._service.stopping = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        super().handle_exit(sig, frame)
