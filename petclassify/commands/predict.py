"""The commands of the base install: `predict` and `evaluate`."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from petclassify.commands.shared import (
    REPORT_MODULES,
    chosen_model,
    collect_from_now_on,
    command_line,
    install_line,
    missing_modules,
    require_extra,
    show,
    show_as,
)
from petclassify.completion import data_sets
from petclassify.errors import ExitCode
from petclassify.options import (
    DATA,
    DATA_ROOT,
    MODEL,
    OUTPUT,
    DataRootOption,
    FigureFormat,
    FigureFormatOption,
    ImagesArgument,
    ModelOption,
)
from petclassify.printing import class_lines, figure_lines
from petclassify.streams import stop_when_unread
from petclassify.terminal import printable


class RowFormat(StrEnum):
    """How predictions are written."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


class Engine(StrEnum):
    """Where photos are scored."""

    LOCAL = "local"
    RAY = "ray"


def predict(
    images: ImagesArgument,
    model: ModelOption = None,
    output_format: Annotated[
        RowFormat | None,
        typer.Option(
            "--format",
            rich_help_panel=OUTPUT,
            metavar="NAME",
            help="table, for people, or jsonl, csv, parquet. Default: as --output ends.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=OUTPUT,
            help="File to write. Default: stdout. If the command is stopped or killed, the same "
            "one goes on (csv, jsonl, parquet).",
        ),
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(
            rich_help_panel=MODEL,
            metavar="NAME",
            help="local, or ray: on the cluster that RAY_ADDRESS names, else on this machine; "
            "reads s3://... too.",
        ),
    ] = Engine.LOCAL,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            rich_help_panel=OUTPUT,
            help="In the table, label unknown photos too. Other formats always have both.",
        ),
    ] = False,
) -> None:
    """Say what is on photos, or that it is nothing the model knows.

    Examples:
        petclassify predict img.jpg                        # a file, or many
        petclassify predict holiday/ --output results.csv  # a folder, into a file
        petclassify predict img.jpg --model models/pets    # with a run's model

    """
    from petclassify.runtime.output import chosen_format
    from petclassify.runtime.predict import predict as run

    rows = chosen_format(output_format.value if output_format else None, output)
    if engine == Engine.RAY:
        require_extra("ray", ("ray", "pyarrow"))
    elif rows == "parquet":
        require_extra("parquet", ("pyarrow",))
    if output is None:
        stop_when_unread()
    collect_from_now_on()
    tally = run(images, chosen_model(model), rows, output, force=force, engine=engine.value)
    total = tally.predicted + tally.failed
    if tally.kept:
        typer.echo(f"{tally.kept} of {total} images were scored by an earlier run", err=True)
    if output is not None:
        typer.echo(f"{total} rows  {printable(str(output))}", err=True)
    if tally.failed:
        typer.echo(f"{tally.failed} of {total} images failed", err=True)
        raise typer.Exit(ExitCode.SOME_IMAGES_FAILED)


def evaluate(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            rich_help_panel=DATA,
            help="Folder of class folders; of splits, test is judged.",
            autocompletion=data_sets,
        ),
    ],
    model: ModelOption = None,
    data_root: DataRootOption = DATA_ROOT,
    output_format: FigureFormatOption = FigureFormat.TABLE,
    report: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=OUTPUT, help="The page to write. Default: MODEL-on-DATA.html."
        ),
    ] = None,
) -> None:
    """Measure a model on labelled photos, and make a page of it.

    Examples:
        petclassify evaluate later                      # the model last trained
        petclassify evaluate later --model models/pets  # another run's

    """
    from petclassify.images.index import read_index
    from petclassify.images.public_sets import fetched_folder
    from petclassify.images.read_only import require_outside
    from petclassify.report.evaluate import evaluate as run
    from petclassify.runtime.model_file import model_name

    missing = missing_modules(REPORT_MODULES)
    if not missing:
        from petclassify.report.page import refuse_foreign, report_of, write_report
    folder, judged_model = fetched_folder(data, data_root), chosen_model(model)
    on_data = Path(os.path.realpath(folder)).name
    report = report or Path(f"{model_name(judged_model)}-on-{on_data}.html")
    if not missing:
        refuse_foreign(report)
    index = read_index(folder)
    if not missing:
        require_outside(index, report, "--report")
    collect_from_now_on()
    found = run(index, judged_model)
    metrics, known = found.judged.metrics, float(found.judged.known.mean())
    lines = [*figure_lines({"photos": metrics}), "", *class_lines(metrics)]
    lines += ["", f"known   {known:.2%} of the photos; figures are of all"]
    if found.learned_from is None:
        lines += ["        If the model learned from some of them, the figures flatter."]
    elif not found.learned_from:
        lines += ["        It learned from none of these files; resized copies go unnoticed."]
    lines += [f"note    {finding}" for finding in found.findings]
    notes = {"known_share": known, "notes": found.findings}
    show_as(output_format, metrics.to_dict() | notes, lines)
    if missing:
        typer.echo(f"no {printable(str(report))}: {install_line(missing, 'report')}", err=True)
    else:
        write_report(report_of(found, command_line()), report)
        if output_format == FigureFormat.TABLE:
            show([f"report  {report}"])
    for error in found.unreadable:
        typer.echo(f"left out: {printable(str(error))}", err=True)
    if found.unreadable:
        raise typer.Exit(ExitCode.SOME_IMAGES_FAILED)
