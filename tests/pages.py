"""The commands that pages show, with what the pages say that they print."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from petclassify.errors import ExitCode
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
ELISION = "..."
_OF_CHANCE = re.compile(r"(onnxruntime|openvino|torch)\S*|\d[\d.,]*(e-\d+)?")


@dataclass(frozen=True)
class Shown:
    """One command of a page.

    Attributes:
        section: the heading that it stands under.
        command: without the prompt.
        prints: the lines below it.

    """

    section: str
    command: str
    prints: tuple[str, ...]


def shown_commands(page: Path) -> list[Shown]:
    """Every command of a page's console blocks, in order."""
    found: list[Shown] = []
    section, inside = "", False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            inside = line == "```console"
        elif not inside:
            section = line.lstrip("# ") if line.startswith("#") else section
        elif line.startswith("$ "):
            found.append(Shown(section, line.removeprefix("$ "), ()))
        else:
            last = found.pop()
            found.append(Shown(last.section, last.command, (*last.prints, line)))
    return found


def listings(page: Path, language: str) -> list[str]:
    """The programs of a page in one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def require_printed(shown: Shown, printed: Sequence[str]) -> None:
    """Every line that a page shows was printed, but for figures, engines and columns' widths."""
    really = [without_chance(line) for line in printed]
    for line in shown.prints:
        if line != ELISION and (expected := without_chance(line)):
            assert expected in really, f"{shown.command}: not printed: {line!r}, but {printed}"


def without_chance(line: str) -> str:
    """A line without what differs from machine to machine."""
    return " ".join(_OF_CHANCE.sub("#", line).split())


@contextmanager
def serving(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Serve on any free port; give the server's address and the line that told it."""
    command = [sys.executable, "-m", "petclassify", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline().rstrip()
            yield line.split()[-1], line
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == ExitCode.TERMINATED
        finally:
            server.kill()


def label_by_http(address: str, photo: Path) -> str:
    """Ask a server what is on a photo."""
    return str(json.loads(asked(f"{address}/predict", photo))["label"])


def asked(url: str, photo: Path | None = None) -> str:
    """What a server answers, with a photo as the body."""
    request = urllib.request.Request(url, None if photo is None else photo.read_bytes())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.read().decode())
