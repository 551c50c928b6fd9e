"""Counts what the tests try to break, and how often it held: docs/reliability.md is made of it.

A test that attacks is marked with the group it belongs to, `@pytest.mark.attack("Archives")`,
and counts as one try. One that tries many things takes the fixture `attack` and names each:

    with attack("half-still.gif", under="spoilt"):
        read_image(...)

A try is lost when an exception leaves the block, or when the test fails in another way. The
counts travel with the test's report, so that they arrive from every worker of pytest-xdist.
`pytest --reliability FILE` writes the page at the end of the session.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

GROUPS = (
    "Photos",
    "Equal pixels",
    "Kills",
    "Disks",
    "Weights and checkpoints",
    "Model files",
    "Downloads and archives",
    "Server",
    "Surroundings",
)
PROPERTY = "attacks"
_SHOWN = 5  # of the slowest and of the hungriest
_PROCESSOR_SECONDS = "Seconds are the processor's."
_LARGEST = (
    "Photos of the largest size are given to `petclassify predict` in a process of\n"
    "their own: its start is in their seconds, and MiB are its peak."
)

Row = tuple[str, str]  # a group, and what of it
Cost = tuple[str, float, float]  # a photo's name, seconds, MiB; of no number where not measured


@dataclass
class Tally:
    """Of one row of the table."""

    tried: int = 0
    lost: int = 0


@dataclass
class Attacks:
    """What one test tried."""

    group: str
    tallies: dict[str, Tally] = field(default_factory=dict)
    costs: list[Cost] = field(default_factory=list)

    @contextlib.contextmanager
    def __call__(self, name: str, under: str = "") -> Iterator[None]:
        """Count what the block tries as one, and of a photo how long it took."""
        start = time.thread_time()
        try:
            yield
        except BaseException:
            self.made(1, lost=1, under=under)
            raise
        self.made(1, under=under)
        if self.group == "Photos":
            self.cost(name, time.thread_time() - start)

    def made(self, tried: int, lost: int = 0, under: str = "") -> None:
        """Count what was tried and judged together."""
        tally = self.tallies.setdefault(under, Tally())
        tally.tried += tried
        tally.lost += lost

    def cost(self, name: str, seconds: float, mebibytes: float = float("nan")) -> None:
        """Remember what one photo took."""
        self.costs.append((name, seconds, mebibytes))

    def to_report(self, *, failed: bool) -> dict[str, Any]:
        """Plain values, which any worker can send. A test that failed has lost something."""
        if not self.tallies:
            self.made(1)
        if failed and not any(tally.lost for tally in self.tallies.values()):
            next(iter(self.tallies.values())).lost = 1
        rows = [[under, tally.tried, tally.lost] for under, tally in self.tallies.items()]
        costs = [cost for key in (1, 2) for cost in _costliest(self.costs, key)]
        return {"group": self.group, "rows": rows, "costs": [list(cost) for cost in costs]}


_ATTACKS = pytest.StashKey[Attacks]()


@pytest.fixture
def attack(request: pytest.FixtureRequest) -> Attacks:
    """Counts what this test tries; the test must be marked."""
    return request.node.stash[_ATTACKS]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin to count."""
    marker = item.get_closest_marker("attack")
    if marker is not None:
        (group,) = marker.args
        assert group in GROUPS, f"no such group of attacks: {group}"
        item.stash[_ATTACKS] = Attacks(group)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Let the counts travel with the report of the test itself."""
    counted = item.stash.get(_ATTACKS, None)
    skipped = call.excinfo is not None and call.excinfo.errisinstance(pytest.skip.Exception)
    broken_setup = call.when == "setup" and call.excinfo is not None
    if counted is not None and (call.when == "call" or broken_setup) and not skipped:
        found = counted.to_report(failed=call.excinfo is not None)
        item.user_properties.append((PROPERTY, found))
    return (yield)


class Page:
    """Gathers the reports of a session and writes the page at its end."""

    def __init__(self, path: Path, selection: str) -> None:
        self._path = path
        self._selection = selection
        self._ran = 0
        self._tallies: dict[Row, Tally] = {}
        self._costs: list[Cost] = []
        self._skipped = 0
        self._start = time.monotonic()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped:
            self._skipped += 1
        if report.when != "call" and not (report.when == "setup" and report.failed):
            return
        self._ran += not report.skipped
        for name, found in report.user_properties:
            if name == PROPERTY:
                self._add(found)

    def _add(self, found: Any) -> None:
        for under, tried, lost in found["rows"]:
            tally = self._tallies.setdefault((found["group"], under), Tally())
            tally.tried += tried
            tally.lost += lost
        self._costs += [tuple(cost) for cost in found["costs"]]

    def pytest_sessionfinish(self) -> None:
        minutes = (time.monotonic() - self._start) / 60
        chosen = f" (of those marked `{self._selection}` only)" if self._selection else ""
        run = f"{self._ran} tests{chosen} in {minutes:.0f} minutes, {self._skipped} more skipped"
        text = page_of(self._tallies, self._costs, run)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(text, encoding="utf-8")


def page_of(tallies: dict[Row, Tally], costs: Collection[Cost], run: str) -> str:
    """Write the page in Markdown; `run` says which tests ran."""
    every = Tally(sum(t.tried for t in tallies.values()), sum(t.lost for t in tallies.values()))
    lines = [
        "# Reliability",
        "",
        "What the tests tried to break, counted while they ran: `make check-all` writes this page.",
        "A try is one file, request, kill or start of a command. It is survived when nothing but",
        "what is promised came of it: an answer, or one line that names the fault. The promises",
        "stand in [SECURITY.md](../SECURITY.md).",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {_machine()}: {run}.",
        "",
        "| what | tried | survived | lost |",
        "| --- | ---: | ---: | ---: |",
    ]
    for group in GROUPS:
        rows = sorted((under, tally) for (of, under), tally in tallies.items() if of == group)
        for under, tally in rows:
            lines.append(_line(f"{group}: {under}" if under else group, tally))
    lines += [_line("**all**", every), ""]
    for title, key, unit, digits in (("slowest", 1, "s", 2), ("hungriest", 2, "MiB", 0)):
        found = [f"{cost[0]} ({cost[key]:.{digits}f} {unit})" for cost in _costliest(costs, key)]
        if found:
            lines += [f"The {title} photos: {', '.join(found)}.", ""]
    lines += [_PROCESSOR_SECONDS]
    if any(not math.isnan(cost[2]) for cost in costs):
        lines += [_LARGEST]
    lines += [""]
    return "\n".join(lines)


def _line(name: str, tally: Tally) -> str:
    survived = tally.tried - tally.lost
    return f"| {name} | {tally.tried:,} | {survived:,} | {tally.lost:,} |"


def _costliest(costs: Collection[Cost], key: int) -> list[Cost]:
    """The first few by seconds or MiB, each name once."""
    known = sorted((cost for cost in costs if not math.isnan(cost[key])), key=lambda c: c[key])
    worst = {cost[0]: cost for cost in known}
    return sorted(worst.values(), key=lambda cost: -cost[key])[:_SHOWN]


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cpu = platform.processor()
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
        cpu = found[1] if found else cpu
    return f"{platform.system()}, Python {platform.python_version()}, {cores} cores of {cpu}"
