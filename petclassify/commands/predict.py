"""The commands of the base install: `predict` and `evaluate`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from petclassify.commands.shared import (
    REPORT_MODULES,
    FigureFormat,
    chosen_model,
    collect_from_now_on,
    command_line,
    install_line,
    missing_modules,
    require_extra,
    show,
    show_as,
)
from petclassify.errors import ExitCode
from petclassify.options import (
    DATA_ROOT,
    DataRootOption,
    ModelOption,
)
from petclassify.printing import class_lines, figure_lines
from petclassify.runtime.output import chosen_format, printable
from petclassify.streams import stop_when_unread


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
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...", help="Files, folders, or - for stdin; with Ray also s3://... ."
        ),
    ],
    model: ModelOption = None,
    output_format: Annotated[
        RowFormat | None,
        typer.Option(
            "--format", help="A table for people, rows for programs. Default: as --output ends."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="File to write. Default: stdout. If the command is stopped or killed, the same "
            "one goes on (csv, jsonl, parquet)."
        ),
    ] = None,
    engine: Annotated[
        Engine,
        typer.Option(
            help="Where photos are scored: here, or by Ray, on the cluster that RAY_ADDRESS "
            "names (else one of its own, on this machine)."
        ),
    ] = Engine.LOCAL,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="In the table, label unknown photos too. Other formats always have both.",
        ),
    ] = False,
) -> None:
    """Say what is on photos, or that it is unlike anything the model learned from.

    Example: petclassify predict img.jpg holiday/ --format jsonl
    Example: petclassify predict archive/ --output results.parquet
    """
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
    if tally.failed:
        typer.echo(f"{tally.failed} of {total} images failed", err=True)
        raise typer.Exit(ExitCode.SOME_IMAGES_FAILED)


def evaluate(
    data: Annotated[
        Path, typer.Argument(help="Labelled folder; of splits, test is judged, else all of it.")
    ],
    model: ModelOption = None,
    data_root: DataRootOption = DATA_ROOT,
    output_format: Annotated[FigureFormat, typer.Option("--format")] = FigureFormat.TABLE,
    report: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
) -> None:
    """Measure a model file on labelled photos, and make a page of it.

    Example: petclassify evaluate data/catsdogs --model models/latest
    """
    from petclassify.images.public_sets import fetched_folder
    from petclassify.report.evaluate import evaluate as run

    missing = missing_modules(REPORT_MODULES)
    if not missing:
        from petclassify.report.page import refuse_foreign, report_of, write_report

        refuse_foreign(report)
    collect_from_now_on()
    judged_model = chosen_model(model)
    found = run(fetched_folder(data, data_root), judged_model)
    metrics, known = found.judged.metrics, float(found.judged.known.mean())
    lines = [*figure_lines({"photos": metrics}), "", *class_lines(metrics)]
    lines += ["", f"known   {known:.2%} of the photos; figures are of all"]
    show_as(output_format, metrics.to_dict() | {"known_share": known}, lines)
    if missing:
        typer.echo(f"no {printable(str(report))}: {install_line(missing, 'report')}", err=True)
    else:
        write_report(report_of(found, judged_model, command_line()), report)
        if output_format == FigureFormat.TABLE:
            show([f"report  {report}"])
    for error in found.unreadable:
        typer.echo(f"left out: {printable(str(error))}", err=True)
    if found.unreadable:
        raise typer.Exit(ExitCode.SOME_IMAGES_FAILED)
