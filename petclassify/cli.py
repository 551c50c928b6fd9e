"""The command line: options -> config -> one call -> print.

Rooms are imported inside the commands, so that `predict` never loads what only `train`
needs. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

from typing import Annotated

import typer

import petclassify
from petclassify.commands import data, demo, explain, networks, predict, serve, train
from petclassify.help import HelpfulCommand, HelpfulGroup

app = typer.Typer(
    cls=HelpfulGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(
    cls=HelpfulGroup,
    help="Data sets: draw some, fetch public ones, check or preview yours.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"petclassify {petclassify.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[  # `__main__` takes it, wherever on the line it stands
        bool, typer.Option("--debug", help="Show times, and the traceback of an error.")
    ] = False,
) -> None:
    """From a folder of photos to a classifier you can deploy anywhere.

    Examples:
        petclassify demo             # the whole way, on drawn cats and dogs
        petclassify train photos     # photos/cats/*.jpg, photos/dogs/*.jpg
        petclassify predict img.jpg  # with the model last trained
        petclassify COMMAND --help   # the options of a command

    """


for command in (
    *(train.train, predict.predict, predict.evaluate, explain.explain, train.export),
    *(networks.compare, networks.networks, serve.serve, demo.demo),
):
    app.command(cls=HelpfulCommand)(command)
for command in (data.draw, data.fetch, data.check, data.preview):
    data_app.command(cls=HelpfulCommand)(command)
