"""Write docs/reference.md from the command line itself: `python docs/reference.py`.

Nothing is worded here: every sentence is the help that `--help` shows, every default and
range is what the option refuses by. Options stand under the panels that the command gives
them; those that `--help` hides stand under "Levers", with the option that shows them.

A test holds the page against what this makes, so it is never out of date.
"""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from petclassify.cli import app

PAGE = Path(__file__).with_name("reference.md")
PROGRAM = "petclassify"
_HEAD = f"""\
# Commands

<!-- Made by docs/reference.py. Change the help of the commands, not this page. -->

`{PROGRAM} COMMAND --help` says the same. `--debug`, anywhere on the line, shows tracebacks.
[Exit codes](troubleshooting.md#exit-codes) are the same for all commands.
"""
_KINDS = {"int": "whole number", "integer": "whole number", "float": "number", "str": "text"}
_LEVERS = "Levers (shown by `--help-levers`)"


def reference() -> str:
    """The page as Markdown."""
    root = typer.main.get_command(app)
    parts = [_HEAD, "\n".join(_options_lines(root.params))]
    parts += ["\n".join(_command_lines(name, command)) for name, command in _commands(root)]
    return "\n".join(parts).rstrip() + "\n"


def _commands(group: Any, prefix: str = PROGRAM) -> Iterator[tuple[str, Any]]:
    """Every command that can be run, by its whole name, in the order of the command line."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix} {name}")
        elif not command.hidden:
            yield f"{prefix} {name}", command


def _command_lines(name: str, command: Any) -> Iterator[str]:
    texts = [inspect.cleandoc(text) for text in (command.help, command.epilog) if text]
    text = "\n\n".join(texts).replace("\b\n", "")
    about, examples = split_examples(text)
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    yield f"## {name}"
    yield ""
    yield _escaped(about)
    yield ""
    yield "```text"
    yield " ".join([name, *(_argument(one) for one in arguments), "[OPTIONS]"])
    yield "```"
    yield ""
    if examples:
        yield "```console"
        yield from (f"$ {example}" for example in examples)
        yield "```"
        yield ""
    if arguments:
        yield "| argument | default | |"
        yield "| --- | --- | --- |"
        for one in arguments:
            yield f"| `{_argument(one)}` | {_default(one)} | {_help(one)} |"
        yield ""
    yield from _options_lines(command.params)


def split_examples(text: str) -> tuple[str, list[str]]:
    """Tell a command's description from the examples below it."""
    about, *rest = re.split(r"\s*\bExamples?:\s*", text)
    return about.strip(), re.findall(rf"{PROGRAM} [^\n]*", "\n".join(rest))


def _options_lines(params: list[Any]) -> Iterator[str]:
    groups: dict[str, list[Any]] = defaultdict(list)
    for one in params:
        if one.param_type_name == "option":
            panel = getattr(one, "rich_help_panel", None)
            groups[_LEVERS if one.hidden else panel or ""].append(one)
    for panel in sorted(groups, key=lambda panel: (panel == _LEVERS, panel != "")):
        if panel:
            yield f"**{panel}**"
            yield ""
        yield "| option | values | default | |"
        yield "| --- | --- | --- | --- |"
        for one in groups[panel]:
            names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
            yield f"| {names} | {_values(one)} | {_default(one)} | {_help(one)} |"
        yield ""


def _argument(one: Any) -> str:
    name = one.metavar or one.name.upper()
    return name if one.required else f"[{name}]"


def _values(one: Any) -> str:
    """What an option takes: choices, a range, or a kind of thing."""
    kind = one.type
    if one.is_flag:
        return ""
    choices = getattr(kind, "choices", None)
    if choices:
        return ", ".join(f"`{_plain(choice)}`" for choice in choices)
    name = _KINDS.get(kind.name.removesuffix(" range"), kind.name)
    if name == "text" and one.metavar:
        name = f"`{one.metavar}`"
    least, most = getattr(kind, "min", None), getattr(kind, "max", None)
    if least is None and most is None:
        return name
    if most is None:
        return f"{name}, {least:g} or more"
    return f"{name}, {_number(least)} to {_number(most)}"


def _default(one: Any) -> str:
    """The value where nothing is given; where the help names it, it is left to the help."""
    if isinstance(one.show_default, str):
        return _escaped(one.show_default)
    if getattr(one, "is_flag", False) or one.default is None or one.show_default is False:
        return ""
    return f"`{_plain(one.default)}`"


def _help(one: Any) -> str:
    return _escaped(one.help or "")


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _escaped(text: str) -> str:
    """Text in which Markdown means nothing, as one line of a table."""
    return re.sub(r"([<>|*\[\]])", r"\\\1", " ".join(text.split()))


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
