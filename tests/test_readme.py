"""Every command of the README runs, in the order in which it stands there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from petclassify.errors import ExitCode
from tests.conftest import REPOSITORY, Outcome

README = (REPOSITORY / "README.md").read_text()


def test_every_command_of_the_readme_runs(
    petclassify: Callable[..., Outcome],
    drawn_pets: Path,
    feature_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: feature_cache)
    shutil.copytree(drawn_pets, "data/catsdogs")
    shutil.copytree(drawn_pets / "cats", "holiday")
    shutil.copy(next((drawn_pets / "dogs").iterdir()), "img.jpg")
    commands = re.findall(r"^    petclassify (.+)$", README, flags=re.MULTILINE)
    assert len(commands) == 12
    for command in commands:
        if command.startswith("serve "):
            serves(shlex.split(command))
            continue
        done = petclassify(*shlex.split(command))
        assert done.code == 0, f"petclassify {command}: {done.err}"
    (program,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(program, "README.md", "exec"))
    assert capsys.readouterr().out.strip() in ("cats", "dogs")


def serves(arguments: list[str]) -> None:
    """Start a server on any free port, ask it for a prediction, and stop it."""
    command = [sys.executable, "-m", "petclassify", *arguments, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[-1]
            request = urllib.request.Request(f"{address}/predict", Path("img.jpg").read_bytes())
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert json.load(answer)["label"] in ("cats", "dogs")
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == ExitCode.TERMINATED
        finally:
            server.kill()


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"^    make (\S+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
