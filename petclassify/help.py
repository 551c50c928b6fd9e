"""What `--help` shows: one screen, options in groups, examples to copy.

Typer groups options by `rich_help_panel`, but only by loading rich, which draws boxes and makes
the page longer. Here the groups are plain sections. A command's docstring is its page: the
first paragraph is its line in the list of commands, and the lines below `Examples:` are kept
as they stand, each a command and a word on it after `#`, so that a shell takes them whole.

Ranges of numbers are not listed: an option that is given a wrong one says them.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from typer._click.exceptions import UsageError
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from petclassify.terminal import coloured, takes_colour

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter, Parameter
    from typer._click.shell_completion import CompletionItem

_EXAMPLES = "Examples:"
_LAST = "Help"  # the group of what explains the command itself
_METAVARS = {
    "int range": "N",
    "float range": "X",
    "int": "N",
    "float": "X",
    "path": "PATH",
    "str": "NAME",
}


class HelpfulCommand(TyperCommand):
    """A command with a page of help as this module's docstring says."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Parse; an error that does not say of which command it is, is told."""
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_help_text(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002
        _write_text(self.help or "", formatter)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        _write_groups([p for p in self.get_params(ctx) if not _is_hidden(p)], ctx, formatter)

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002
        return _first_paragraph(self.help)

    def levers_page(self, ctx: Context) -> str:
        """Return the page of the options that `--help` leaves out."""
        formatter = ctx.make_formatter()
        self.format_usage(ctx, formatter)
        _write_groups([p for p in self.get_params(ctx) if _is_hidden(p)], ctx, formatter)
        return formatter.getvalue().rstrip("\n")

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        """Complete levers too, once a letter of one is typed."""
        from typer._click.shell_completion import CompletionItem

        found = super().shell_complete(ctx, incomplete)
        if not re.match("--[a-z]", incomplete):
            return found
        levers = [param for param in self.get_params(ctx) if _is_hidden(param)]
        names = [(name, param) for param in levers for name in param.opts]
        return found + [
            CompletionItem(name, help=getattr(param, "help", None))
            for name, param in names
            if name.startswith(incomplete)
        ]


class HelpfulGroup(TyperGroup):
    """A group of commands with a page of help as this module's docstring says."""

    def format_help_text(self, ctx: Context, formatter: HelpFormatter) -> None:  # noqa: ARG002
        _write_text(self.help or "", formatter)

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        commands = self.commands.items()
        rows = [(name, _first_paragraph(command.help)) for name, command in commands]
        _write_rows("Commands", rows, formatter)
        _write_groups(self.get_params(ctx), ctx, formatter)


def _first_paragraph(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].split())


def _write_text(text: str, formatter: HelpFormatter) -> None:
    """Write paragraphs wrapped, and examples line by line."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        formatter.write_paragraph()
        if paragraph.startswith(_EXAMPLES):
            formatter.write(_heading(_EXAMPLES) + "\n")
            for line in paragraph.splitlines()[1:]:
                formatter.write(f"  {line.strip()}\n")
        else:
            with formatter.indentation():
                formatter.write_text(paragraph)


def _write_groups(parameters: Iterable[Parameter], ctx: Context, formatter: HelpFormatter) -> None:
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in parameters:
        if isinstance(parameter, TyperArgument | TyperOption):
            is_argument = isinstance(parameter, TyperArgument)
            group = parameter.rich_help_panel or ("Arguments" if is_argument else _LAST)
            groups.setdefault(group, []).append((_name(parameter), _text(parameter, ctx)))
    if _LAST in groups:
        groups[_LAST] = groups.pop(_LAST)
    width = max(len(name) for rows in groups.values() for name, _ in rows)
    for group, rows in groups.items():
        _write_rows(group, [(name.ljust(width), text) for name, text in rows], formatter)


def _write_rows(group: str, rows: list[tuple[str, str]], formatter: HelpFormatter) -> None:
    formatter.write_paragraph()
    formatter.write(_heading(f"{group}:") + "\n")
    with formatter.indentation():
        formatter.write_dl(rows)


def _heading(text: str) -> str:
    """The page goes to stdout when it is asked for, to stderr when no command is given."""
    return coloured(text, "bold", sys.stdout) if takes_colour(sys.stderr) else text


def _is_hidden(parameter: Parameter) -> bool:
    return isinstance(parameter, TyperArgument | TyperOption) and parameter.hidden


def _name(parameter: TyperArgument | TyperOption) -> str:
    if isinstance(parameter, TyperArgument):
        return parameter.human_readable_name
    names = ", ".join(sorted(parameter.opts, key=len))
    return names if parameter.is_flag else f"{names} {_metavar(parameter)}"


def _metavar(option: TyperOption) -> str:
    choices = getattr(option.type, "choices", None)
    return option.metavar or ("|".join(choices) if choices else _METAVARS[option.type.name])


def _text(parameter: TyperArgument | TyperOption, ctx: Context) -> str:
    text = parameter.help or ""
    default = parameter.get_default(ctx, call=False)
    says_nothing = default is None or isinstance(default, bool) or not parameter.show_default
    if says_nothing or "Default:" in text:
        return text
    return f"{text} Default: {f'{default:g}' if isinstance(default, float) else default}.".lstrip()
