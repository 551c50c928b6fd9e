"""How the benchmarks run a command, and keep what they found.

Wall time is the whole process's; memory is the kernel's figure.
"""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PETCLASSIFY = [sys.executable, "-m", "petclassify"]
SAMPLES_S = 0.05
_FAST = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass(frozen=True)
class Process:
    """One finished command."""

    seconds: float
    peak_mib: float


@dataclass
class Watched:
    """One finished command that was looked at while it ran.

    Attributes:
        started: seconds since 1970.
        seconds: from start to end.
        memory: (seconds since the start, resident MiB), every 50 ms.
        lines: what it said on stderr.

    """

    started: float
    seconds: float = 0.0
    memory: list[tuple[float, float]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def machine() -> str:
    """The processor, with what decides how fast it multiplies, and its cores."""
    try:
        said = Path("/proc/cpuinfo").read_text()
    except OSError:  # not on Linux
        said = ""
    fields = dict(re.findall(r"^(model name|flags)\s*: (.*)$", said, re.MULTILINE))
    fast = [flag for flag in _FAST if flag in fields.get("flags", "").split()]
    model = fields.get("model name", platform.processor() or "unknown processor")
    return ", ".join([platform.machine(), " ".join([model, *fast]), f"{os.cpu_count()} cores"])


class CommandFailed(Exception):
    """A measured command ended with an error."""


def load_line(results: list[dict[str, Any]]) -> str:
    """How busy the machine was before each measurement: idle is up to one command's own load."""
    loads = [one["load"] for one in results]
    return (
        f"Load average before a command: {statistics.median(loads):.1f}, {max(loads):.1f} at most."
    )


def failures(results: list[dict[str, Any]]) -> list[str]:
    """What failed, a line each, without the paths of this machine."""
    root = str(Path(__file__).parents[1])
    lines = []
    for one in results:
        if "error" in one:
            said = one["error"].strip().splitlines()[-1].replace(root, ".")
            lines.append(
                f"Failed, and tried again next time: {' '.join(map(str, one['key']))}: {said}"
            )
    return lines


class Kept:
    """Results in a JSON file, each written at once, so that a stopped measurement goes on.

    `about` tells what was measured, and where; results of anything else are put aside.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        old = json.loads(path.read_text()) if path.exists() else {}
        if old and old["about"] != about:
            print(f"{path} is of other photos, versions or options: anew", file=sys.stderr)
            path.replace(path.with_suffix(".old.json"))
            old = {}
        self._path = path
        self._content = {
            "about": about,
            "date": time.strftime("%Y-%m-%d"),
            "results": old.get("results", []),
        }

    @property
    def content(self) -> dict[str, Any]:
        """All of it."""
        return self._content

    def measure(self, key: list[Any], measure: Callable[[], dict[str, Any]]) -> None:
        """Measure, unless it is measured; a failure is a result too, and tried again next time."""
        others = [one for one in self._content["results"] if one["key"] != key]
        old = [one for one in self._content["results"] if one["key"] == key]
        if old and "error" not in old[0]:
            return
        load = os.getloadavg()[0]
        try:
            found = measure()
        except (CommandFailed, OSError, ValueError, LookupError) as error:
            found = {"error": f"{type(error).__name__}: {error}"[-4000:]}
        self._content["results"] = [*others, {"key": key, "load": load, **found}]
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._content, indent=1) + "\n")
        os.replace(partial, self._path)
        said = {name: value for name, value in found.items() if not isinstance(value, list)}
        print(*key, json.dumps(said), file=sys.stderr, flush=True)


# A process's peak memory starts from its parent's, so a small parent starts the command.
LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdout=2)
_, status, usage = os.wait4(process.pid, 0)
seconds = time.perf_counter() - start
code = os.waitstatus_to_exitcode(status)
json.dump([code, seconds, usage.ru_maxrss / 1024], open(sys.argv[1], "w"))
"""


def end_with_children() -> None:
    """Let SIGTERM end the measured command too, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def run(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    limit_s: float | None = None,
) -> Process:
    """Run a command in a folder to its end; its peak memory is the kernel's figure.

    Raises:
        CommandFailed: it did not end with 0, or not within the limit.

    """
    environment = {**os.environ, **(environment or {}), "BENCH_STARTED": str(time.time())}
    with tempfile.TemporaryDirectory() as temporary:
        measured = Path(temporary) / "measured.json"
        launcher = [sys.executable, "-S", "-E", "-c", LAUNCHER, measured]
        launched = subprocess.Popen(
            [*launcher, *command],
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            _, said = launched.communicate(timeout=limit_s)
        except BaseException as error:
            os.killpg(launched.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                line = " ".join(map(str, command))
                raise CommandFailed(f"{line}:\nnot done within {limit_s:.0f} s") from error
            raise
        code, seconds, peak_mib = json.loads(measured.read_text())
    if code:
        line = " ".join(map(str, command))
        raise CommandFailed(f"{line}: exit {code}\n{said.decode(errors='replace')}")
    return Process(seconds, peak_mib)


def watch(command: Sequence[str | Path], folder: Path) -> Watched:
    """Run a command in a folder to its end, noting its memory and what it says.

    Raises:
        CommandFailed: it did not end with 0.

    """
    found = Watched(time.time())
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    sampler = threading.Thread(target=_sample, args=(process, start, found.memory))
    sampler.start()
    try:
        for line in process.stderr:
            found.lines.append(line.rstrip())
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        sampler.join()
    found.seconds = time.perf_counter() - start
    if code:
        said = "\n".join(found.lines)
        raise CommandFailed(f"{' '.join(map(str, command))}: exit {code}\n{said}")
    return found


def _sample(
    process: subprocess.Popen[str], start: float, memory: list[tuple[float, float]]
) -> None:
    page_mib = os.sysconf("SC_PAGE_SIZE") / 2**20
    statm = Path(f"/proc/{process.pid}/statm")
    while process.returncode is None:
        try:
            resident = int(statm.read_text().split()[1]) * page_mib
        except OSError:  # it ended just now
            return
        memory.append((time.perf_counter() - start, resident))
        time.sleep(SAMPLES_S)
