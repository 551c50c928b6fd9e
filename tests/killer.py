"""Runs petclassify and kills it at the n-th of its writes.

A write is whatever changes the disk below the watched folder: a file opened for writing, each
piece written to it, fsync, replace, unlink, mkdir, chmod, link, and each statement that SQLite
runs. The process sends itself SIGKILL before the n-th of them; in a piece, after half of it.

Started as `python -m tests.killer`, it imports torch once and then forks a process for each
line of JSON on stdin, which is why a kill costs a second and not five. A line names the
arguments, the folder to work in and to watch, and n (0 counts). The answer is a line too:
the exit code, negative for a signal, the writes by name, and what was said on stderr.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CHANGES = {
    *("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate"),
    *("os.link", "os.symlink"),
}
_WARM = (
    *("petclassify.commands.train", "petclassify.learn.train", "petclassify.learn.preflight"),
    *(
        "petclassify.learn.export.export_run",
        "petclassify.learn.checking.check",
        "petclassify.learn.data.public_data",
    ),
    *("petclassify.runtime.predict", "petclassify.report.page", "petclassify.__main__"),
)


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    writes: tuple[str, ...]
    err: str

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Killer:
    """The process that forks; see the module's docstring."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *arguments: str | Path, watch: Path, at: int = 0, **more: Any) -> Ended:
        """Run a command and kill it at its n-th write below the watched folder.

        It works in that folder, or in `folder`.
        """
        job = {"arguments": [str(a) for a in arguments], "watch": str(watch), "at": at} | more
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        code, writes, err = json.loads(self._process.stdout.readline())
        return Ended(code, tuple(writes), err)


@contextlib.contextmanager
def started() -> Iterator[Killer]:
    """Start the process, and end it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.killer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # a thread pool would not survive the fork
        cwd=Path(__file__).parents[1],
    )
    with process:
        yield Killer(process)


class _Writes:
    """Counts the writes below a folder, and kills at one of them."""

    def __init__(self, folder: Path, at: int, log: Path) -> None:
        self._folder, self._at, self._count = os.path.realpath(folder), at, 0
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._busy = False

    def watches(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - links stay
        return place == self._folder or place.startswith(self._folder + os.sep)

    def happened(self, name: str) -> bool:
        """Count one; whether the process is to die at it."""
        self._count += 1
        os.write(self._log, f"{name}\n".encode())
        return self._count == self._at

    def before(self, name: str) -> None:
        if self.happened(name):
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, event: str, given: tuple[Any, ...]) -> None:
        if event in _CHANGES and any(self.watches(path) for path in given[:2]):
            self.before(event)
        elif event == "open" and self.watches(given[0]) and given[2] & (os.O_WRONLY | os.O_RDWR):
            self.before("open")

    def install(self) -> None:
        sys.addaudithook(self.audit)
        whole_open, whole_fsync, whole_connect = io.open, os.fsync, sqlite3.connect

        def connect(*given: Any, **named: Any) -> sqlite3.Connection:
            connection = whole_connect(*given, **named)
            connection.set_trace_callback(lambda statement: self.before(_word(statement)))
            return connection

        def fsync(handle: int) -> None:
            self.before("fsync")
            whole_fsync(handle)

        def opened(
            file: Any, mode: str = "r", buffering: int = -1, *more: Any, **named: Any
        ) -> Any:
            if not set(mode) & set("wax+") or not self.watches(file):
                return whole_open(file, mode, buffering, *more, **named)
            raw = _Torn(file, mode.replace("b", "").replace("t", ""))
            raw.writes = self
            buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffer if "b" in mode else io.TextIOWrapper(buffer, *more, **named)

        os.fsync, sqlite3.connect = fsync, connect
        io.open = builtins.open = opened


class _Torn(io.FileIO):
    """A file of which a kill may leave half a piece."""

    writes: _Writes

    def write(self, piece: Any, /) -> int:
        if self.writes.happened("write"):
            super().write(memoryview(piece)[: len(piece) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return super().write(piece)


def _word(statement: str) -> str:
    return f"sqlite {(statement.split() or ['?'])[0].lower()}"


def _run(job: dict[str, Any], log: Path, err: Path) -> None:
    """In the forked process: become the command."""
    os.setsid()
    os.chdir(job.get("folder", job["watch"]))
    sys.stderr.flush()
    for stream, place in ((1, os.devnull), (2, err)):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT), stream)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    sys.argv = ["petclassify", *job["arguments"]]
    os.environ.update(job.get("environment", {}))
    _one_engine()
    if "public_set" in job:
        _publish(job["public_set"])
    _Writes(Path(job["watch"]), job["at"], log).install()
    from petclassify.__main__ import main

    code = 70
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.stderr.flush()
        os._exit(code)


def _one_engine() -> None:
    """A race may end otherwise in the next run, and runs are compared here to the last digit."""
    from petclassify.learn.frozen import engines

    every = engines._builders
    engines._builders = lambda *given: {"torch-fp32": every(*given)["torch-fp32"]}


def _publish(given: dict[str, Any]) -> None:
    """Let a public set's name stand for small files on a server of the test."""
    import dataclasses

    from petclassify.images.public_sets import PUBLIC_SETS

    name, files = given["name"], given["files"]
    remote = tuple(
        dataclasses.replace(file, **files[file.name] | {"urls": tuple(files[file.name]["urls"])})
        for file in PUBLIC_SETS[name].files
    )
    PUBLIC_SETS[name] = dataclasses.replace(PUBLIC_SETS[name], files=remote)


def _serve() -> None:
    import importlib

    for module in _WARM:
        importlib.import_module(module)
    for line in sys.stdin:
        with tempfile.TemporaryDirectory() as folder:
            log, err = Path(folder) / "log", Path(folder) / "err"
            child = os.fork()
            if not child:
                _run(json.loads(line), log, err)
            _, status = os.waitpid(child, 0)
            writes = log.read_text().splitlines() if log.exists() else []
            said = err.read_text(errors="replace") if err.exists() else ""
        sys.stdout.write(json.dumps([os.waitstatus_to_exitcode(status), writes, said]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
