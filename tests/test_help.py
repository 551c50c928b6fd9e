from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator

import pytest
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from petclassify.cli import app
from tests.conftest import Outcome

Run = Callable[..., Outcome]


def _pages() -> Iterator[str]:
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    yield ""
    for name, command in root.commands.items():
        yield name
        if isinstance(command, TyperGroup):
            yield from (f"{name} {below}" for below in command.commands)


PAGES = list(_pages())


def options() -> Iterator[TyperOption]:
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    below = root.commands["data"]
    assert isinstance(below, TyperGroup)
    for command in (*root.commands.values(), *below.commands.values()):
        if isinstance(command, TyperCommand):
            yield from (option for option in command.params if isinstance(option, TyperOption))


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("command", PAGES)
def test_every_page_fits_a_screen_of_80_columns(petclassify: Run, command: str) -> None:
    done = petclassify(*command.split(), "--help")
    lines = done.out.splitlines()
    assert (done.code, done.err) == (0, "")
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert petclassify(*command.split(), "-h").out == done.out


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("command", ["train", "compare", "data preview"])
def test_the_levers_fit_a_screen_too(petclassify: Run, command: str) -> None:
    lines = petclassify(*command.split(), "--help-levers").out.splitlines()
    assert 8 < len(lines) <= 40
    assert max(map(len, lines)) <= 80


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("command", PAGES)
def test_nothing_on_a_page_is_cut_off_or_a_type_of_the_code(petclassify: Run, command: str) -> None:
    page = petclassify(*command.split(), "--help").out
    assert not re.search(r"^  .*[^.]\.\.\.$", page, flags=re.MULTILINE)
    assert not re.search(r"<\w+( range)?>|\[default|[<>]=|\{DATA", page.replace("<class>", ""))


@pytest.mark.usefixtures("narrow")
def test_the_pages_show_groups_and_examples_line_by_line(petclassify: Run) -> None:
    lines = petclassify("train", "--help").out.splitlines()
    headings = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Examples:", "Data:", "Network:", "Training:", "Run:", "Help:"]
    assert lines[lines.index("Examples:") + 1].startswith("  petclassify train photos ")


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("command", [page for page in PAGES if page not in ("", "data")])
def test_every_example_is_a_command_that_is_understood(petclassify: Run, command: str) -> None:
    page = petclassify(*command.split(), "--help").out
    examples = re.findall(r"^  (petclassify .+)$", page, flags=re.MULTILINE)
    assert examples
    for example in examples:
        words = shlex.split(example, comments=True)[1:]
        assert words[: len(command.split())] == command.split()
        group = get_command(app)
        while isinstance(group, TyperGroup):
            group = group.commands[words.pop(0)]
        group.make_context("example", words, resilient_parsing=False).close()


def test_every_choice_is_named_on_the_page() -> None:
    for option in options():
        for choice in getattr(option.type, "choices", ()):
            if option.metavar is not None:  # else the choices are the metavar
                assert re.search(rf"\b{choice}\b", option.help or ""), option.name


def test_every_text_is_a_sentence() -> None:
    for option in options():
        assert (option.help or "").endswith("."), option.name


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("trian photos", "error: No such command 'trian'. Did you mean 'train'? See petclassify"),
        ("check photos", "error: No such command 'check'. Did you mean 'data check'?"),
        ("data chek", "Did you mean 'check'? See petclassify data --help"),
        ("train x --epochs five", "'five' is not a whole number. See petclassify train --help"),
        ("train x --max-bad x", "'x' is not a number. See petclassify train --help"),
        (
            "predict x --fromat csv",
            "--fromat (Possible options: --format). See petclassify predict",
        ),
        ("train x --unfreeze", "requires an argument. See petclassify train --help"),
        ("train", "error: Missing argument 'DATA'. See petclassify train --help"),
        ("networks --depth 1", "are for the layers of one network: give its NAME"),
        ("networks zoo/* --input 3x9x9", "are for the layers of one network: give its NAME"),
        ("serve models/latest", "A model is given with --model. See petclassify serve --help"),
        ("data draw pets dogs", "extra argument(s) (dogs). See petclassify data draw --help"),
    ],
)
def test_a_slip_of_the_keys_is_one_plain_line(petclassify: Run, line: str, expected: str) -> None:
    done = petclassify(*line.split())
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert expected in done.err
