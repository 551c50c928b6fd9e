"""The commands under `data`: sample sets, public sets, a look at one's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from petclassify.augmentation_options import takes_augmentation
from petclassify.commands.shared import (
    TRAIN_MODULES,
    collect_from_now_on,
    located,
    require_extra,
    show,
    show_as,
)
from petclassify.completion import public_sets
from petclassify.config import DEFAULT_BACKBONE, ZOO_PREFIX, Augmentation, TrainConfig
from petclassify.errors import UsageError
from petclassify.options import (
    DATA,
    DATA_ROOT,
    OUTPUT,
    BackboneOption,
    CacheOption,
    DataArgument,
    DataRootOption,
    FigureFormat,
    FigureFormatOption,
    ImageSizeOption,
    SeedOption,
)
from petclassify.printing import check_lines


def draw(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", rich_help_panel=DATA, help="New folder to fill.")
    ] = Path("data/drawn-pets"),
    count: Annotated[
        int, typer.Option(rich_help_panel=DATA, min=2, max=100_000, help="Pictures in all.")
    ] = 200,
    seed: Annotated[
        int, typer.Option(rich_help_panel=DATA, min=0, help="The same one draws the same pets.")
    ] = 0,
) -> None:
    """Draw cats and dogs, to try things on without photos.

    Examples:
        petclassify data draw                   # 200 pictures in data/drawn-pets
        petclassify data draw pets --count 1000

    """
    from petclassify.images.drawn_pets import draw_pets

    draw_pets(folder, count, seed)
    show([f"{count} pictures in {folder}"])


def fetch(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            rich_help_panel=DATA,
            help="fashion-mnist, mnist, cifar10, oxford-pets, cats-vs-dogs.",
            autocompletion=public_sets,
        ),
    ],
    data_root: DataRootOption = DATA_ROOT,
) -> None:
    """Fetch a public data set.

    It is checked by its SHA-256. A broken download goes on where it was.

    Examples:
        petclassify data fetch fashion-mnist  # into data/fashion-mnist

    """
    require_extra("train", TRAIN_MODULES)
    from petclassify.learn.data.public_data import fetch as run

    show([str(run(name, data_root))])


def check(
    data: DataArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=OUTPUT,
            help="Folder of the page. Default: DATA-check.",
        ),
    ] = None,
    write_exclude: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=OUTPUT, help="List for train --exclude, to look through and edit."
        ),
    ] = None,
    backbone: BackboneOption = DEFAULT_BACKBONE,
    image_size: ImageSizeOption = None,
    seed: SeedOption = 0,
    cache: CacheOption = None,
    data_root: DataRootOption = DATA_ROOT,
    output_format: FigureFormatOption = FigureFormat.TABLE,
) -> None:
    """Find wrong labels, copies and broken files. Changes nothing.

    Examples:
        petclassify data check photos                              # makes a page
        petclassify data check photos --write-exclude exclude.csv  # and a list

    """
    require_extra("train", TRAIN_MODULES)
    if backbone.startswith(ZOO_PREFIX):
        raise UsageError(
            f"{backbone} starts from random weights, which tell nothing about labels. "
            f"Use a pretrained network, such as {DEFAULT_BACKBONE}"
        )
    from petclassify.images.read_only import require_outside
    from petclassify.learn.preflight import check_request
    from petclassify.report.check_page import refuse_foreign, write_check

    data = located(data, data_root)
    config = TrainConfig(data, backbone, image_size=image_size, seed=seed, cache=cache)
    index = check_request(config)
    folder = out or Path(f"{data.resolve().name}-check")
    require_outside(index, folder, "--out")
    if write_exclude is not None:
        require_outside(index, write_exclude, "--write-exclude")
        if os.path.lexists(write_exclude):
            raise UsageError(
                f"{write_exclude}: is there, and may have been edited. Move it away, or name "
                "another"
            )
    refuse_foreign(folder)
    from petclassify.images.exclusions import write_exclusions
    from petclassify.learn.checking.check import check as run
    from petclassify.report.check_kinds import kinds_of

    collect_from_now_on()
    result = run(config, index)
    write_check(result, folder)
    files = f"files  {folder / 'check.html'}, check.json"
    if write_exclude is not None:
        rows = result.exclusions()
        write_exclusions(write_exclude, rows)
        files += f"; {write_exclude} leaves out {len(rows)} photo(s)"
    show_as(output_format, result.to_dict(), [*check_lines(result, kinds_of(result)), "", files])


@takes_augmentation
def preview(
    data: DataArgument,
    augmentation: Augmentation,
    image_size: ImageSizeOption = None,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(rich_help_panel=OUTPUT, help="PNG to write.")] = Path(
        "preview.png"
    ),
    data_root: DataRootOption = DATA_ROOT,
) -> None:
    """Show what augmentation does to photos, as a picture.

    Examples:
        petclassify data preview photos               # as train changes them
        petclassify data preview photos --rotate 30   # with a change of yours

    """
    require_extra("train", TRAIN_MODULES)
    from petclassify.images.index import read_index
    from petclassify.learn.preview import preview as run

    run(read_index(located(data, data_root)), augmentation, image_size or 224, seed, out)
    show([str(out)])
    typer.echo("a row a photo: first as it is predicted, then as training may change it", err=True)
