"""Every command of the README runs, in the order in which it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from petclassify.images.drawn_pets import draw_pets
from tests.conftest import REPOSITORY, Outcome
from tests.pages import label_by_http, serving

README = (REPOSITORY / "README.md").read_text()


def test_every_command_of_the_readme_runs(
    petclassify: Callable[..., Outcome],
    feature_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: feature_cache)
    draw_pets(Path("photos"), count=32, seed=0)
    draw_pets(Path("later"), count=16, seed=1)
    shutil.copytree("later/cats", "holiday")
    shutil.copy(min(Path("later", "dogs").iterdir()), "img.jpg")
    commands = re.findall(r"^    petclassify (.+)$", README, flags=re.MULTILINE)
    assert len(commands) == 12
    for command in commands:
        if command.startswith("serve "):
            with serving(shlex.split(command)) as (address, _):
                assert label_by_http(address, Path("img.jpg")) in ("cats", "dogs")
            continue
        done = petclassify(*shlex.split(command))
        assert done.code == 0, f"petclassify {command}: {done.err}"
    (program,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(program, "README.md", "exec"))
    assert capsys.readouterr().out.strip() in ("cats", "dogs")


def test_make_sets_nothing_up_with_a_python_that_is_too_old(tmp_path: Path) -> None:
    """Its pip would search for hours."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    old = tmp_path / "old-python"
    said = "import sys; sys.version_info = (3, 10, 13); exec(sys.argv[1])"
    old.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c '{said}' \"$2\"\n")
    old.chmod(0o755)
    made = subprocess.run(
        ["make", "demo", f"PYTHON={old}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode != 0
    assert "Python 3.11 or newer is needed" in made.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in re.findall(r"^    make (\S+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
