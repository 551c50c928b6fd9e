"""The pages in docs/ build, are current, and their commands run and print what is shown."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import typer

from petclassify.cli import app
from tests.conftest import REPOSITORY, Outcome
from tests.pages import (
    DOCS,
    Shown,
    asked,
    listings,
    require_printed,
    serving,
    shown_commands,
)

# In reading order. `troubleshooting` has a test of its own; the reference's examples are parsed.
RUN_PAGES = ("index", "quickstart", "how-it-works", "model-file")
TESTED_APART = ("troubleshooting", "reference")
OTHER_PROGRAMS = ("pip", "docker")


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    command = ["-m", "sphinx", "-W", "--keep-going", "-q", "-d", tmp_path / "doctrees"]
    built = subprocess.run(
        [sys.executable, *command, DOCS, tmp_path / "html"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert built.returncode == 0, built.stderr
    for page in DOCS.glob("*.md"):
        assert (tmp_path / "html" / f"{page.stem}.html").is_file()


def test_the_reference_is_what_the_command_line_says() -> None:
    made = runpy.run_path(str(DOCS / "reference.py"))["reference"]()
    assert (DOCS / "reference.md").read_text() == made, "run: make docs"


def test_the_reference_has_every_option_levers_included() -> None:
    page = (DOCS / "reference.md").read_text()
    parts = page.split("\n## ")
    for name, command in every_command():
        (part,) = [one for one in parts if one.splitlines()[0] == f"petclassify {name}"]
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else ():
                assert f"`{option}`" in part, f"{name} {option}"


@pytest.mark.parametrize(
    "shown", shown_commands(DOCS / "reference.md"), ids=lambda shown: shown.command
)
def test_every_example_of_the_reference_is_understood(shown: Shown) -> None:
    name, command = max(
        (
            (name, one)
            for name, one in every_command()
            if words_of(shown)[: len(name.split())] == name.split()
        ),
        key=lambda found: len(found[0]),
    )
    command.make_context("petclassify", words_of(shown)[len(name.split()) :])


def words_of(shown: Shown) -> list[str]:
    program, *words = shlex.split(shown.command, comments=True)
    assert program == "petclassify"
    return words


def every_command() -> list[tuple[Any, Any]]:
    root: Any = typer.main.get_command(app)
    found = []
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        found += [(f"{name} {one}", c) for one, c in inner.items()] if inner else [(name, command)]
    return found


def test_every_command_of_the_pages_runs_and_prints_what_they_show(
    petclassify: Callable[..., Outcome],
    feature_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda _: feature_cache)
    pages = [DOCS / f"{name}.md" for name in RUN_PAGES]
    commands = [shown for page in pages for shown in shown_commands(page)]
    assert len(commands) > 15
    address = ""
    with ExitStack() as running:
        for shown in commands:
            program, *arguments = shlex.split(shown.command, comments=True)
            caplog.clear()
            if program == "curl":
                printed = curled(arguments, address)
            elif program in OTHER_PROGRAMS:
                continue
            elif arguments[0] == "serve":
                address, line = running.enter_context(serving(arguments))
                printed = [line]
            else:
                done = petclassify(*arguments)
                assert done.code == 0, f"{shown.command}: {done.err}"
                printed = [*done.out.splitlines(), *done.err.splitlines(), *caplog.messages]
            require_printed(shown, printed)
    capsys.readouterr()
    (program,) = listings(DOCS / "quickstart.md", "python")
    exec(compile(program, "quickstart.md", "exec"))
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "new/cats/cat-0001.jpg cats",
        "exclude.csv: not an image in a known format",
    ]


def curled(arguments: list[str], address: str) -> list[str]:
    """What curl would print; the page's address is replaced by that of the server that runs."""
    *options, url = arguments
    path = re.sub(r"^http://127\.0\.0\.1:8000", "", url)
    assert path.startswith("/")
    if not options:
        return [asked(address + path)]
    (option, photo) = options
    assert option == "--data-binary"
    return [asked(address + path, Path(photo.removeprefix("@")))]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_commands_of_other_programs_are_right(page: Path) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    text = page.read_text()
    for extras in re.findall(r"petclassify\[([^\]]+)\]'", text):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
    for line in re.findall(r"^\$ (docker .*)$", text, flags=re.MULTILINE):
        assert f"#   {line}\n" in dockerfile


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_every_command_of_a_page_is_in_a_test(page: Path) -> None:
    for shown in shown_commands(page):
        program = shlex.split(shown.command, comments=True)[0]
        assert program in ("petclassify", "curl", *OTHER_PROGRAMS), shown.command
        if program == "petclassify":
            assert page.stem in (*RUN_PAGES, *TESTED_APART), f"{page.name}: {shown.command}"
