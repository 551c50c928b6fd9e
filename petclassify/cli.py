"""The command line: options -> config -> one call -> print.

Rooms are imported inside the commands, so that `predict` never loads what only `train`
needs. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

from typing import Annotated

import typer

import petclassify
from petclassify.commands import data, demo, explain, networks, predict, serve, train

app = typer.Typer(
    help="From a folder of photos to a classifier you can deploy anywhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(
    help="Data sets: drawn, public, and a look at your own.",
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
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """From a folder of photos to a classifier you can deploy anywhere."""


for command in (
    *(train.train, predict.predict, predict.evaluate, explain.explain, train.export),
    *(networks.compare, networks.networks, serve.serve, demo.demo),
):
    app.command()(command)
for command in (data.draw, data.fetch, data.check, data.preview):
    data_app.command()(command)
