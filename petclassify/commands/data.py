"""The commands under `data`: sample sets, public sets, a look at one's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from petclassify.commands.shared import (
    TRAIN_MODULES,
    FigureFormat,
    collect_from_now_on,
    located,
    require_extra,
    show,
    show_as,
)
from petclassify.config import DEFAULT_BACKBONE, ZOO_PREFIX, Augmentation, TrainConfig
from petclassify.errors import UsageError
from petclassify.images.exclusions import write_exclusions
from petclassify.options import (
    DATA_ROOT,
    BackboneOption,
    CacheOption,
    DataRootOption,
    ImageSizeOption,
    SeedOption,
    takes_augmentation,
)
from petclassify.printing import check_lines


def draw(
    folder: Annotated[Path, typer.Argument(help="New folder to fill.")] = Path("data/drawn-pets"),
    count: Annotated[int, typer.Option(min=2, max=100_000, help="Pictures in all.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same pets.")] = 0,
) -> None:
    """Draw cats and dogs, to try things on without photos.

    Example: petclassify data draw data/drawn-pets
    """
    from petclassify.images.drawn_pets import draw_pets

    draw_pets(folder, count, seed)
    show([f"{count} pictures in {folder}"])


def fetch(
    name: Annotated[
        str, typer.Argument(help="fashion-mnist, mnist, cifar10, oxford-pets or cats-vs-dogs.")
    ],
    data_root: DataRootOption = DATA_ROOT,
) -> None:
    """Fetch a public data set, checked by its SHA-256; a broken download goes on.

    Example: petclassify data fetch fashion-mnist
    """
    require_extra("train", TRAIN_MODULES)
    from petclassify.learn.data.public_data import fetch as run

    show([str(run(name, data_root))])


def check(
    data: Annotated[Path, typer.Argument(help="Data set, as for train.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for check.json and check.html. Default: DATA-check.")
    ] = None,
    write_exclude: Annotated[
        Path | None, typer.Option(help="List for train --exclude, to look through and edit.")
    ] = None,
    backbone: BackboneOption = DEFAULT_BACKBONE,
    image_size: ImageSizeOption = None,
    seed: SeedOption = 0,
    cache: CacheOption = None,
    data_root: DataRootOption = DATA_ROOT,
    output_format: Annotated[FigureFormat, typer.Option("--format")] = FigureFormat.TABLE,
) -> None:
    """Find wrong labels, copies and broken files, and show them on a page. Changes nothing.

    Example: petclassify data check data/catsdogs --write-exclude exclude.csv
    """
    require_extra("train", TRAIN_MODULES)
    if backbone.startswith(ZOO_PREFIX):
        raise UsageError(
            f"{backbone} starts from random weights, which tell nothing about labels. "
            f"Use a pretrained network, such as {DEFAULT_BACKBONE}"
        )
    from petclassify.learn.preflight import check_request

    data = located(data, data_root)
    folder = out or Path(f"{data.resolve().name}-check")
    for path in (folder, write_exclude):
        if path is not None and path.resolve().is_relative_to(data.resolve()):
            raise UsageError(
                f"{path}: lies in the data set, where nothing is written. Choose another"
            )
    if write_exclude is not None and os.path.lexists(write_exclude):
        raise UsageError(
            f"{write_exclude}: is there, and may have been edited. Move it away, or name another"
        )
    config = TrainConfig(data, backbone, image_size=image_size, seed=seed, cache=cache)
    index = check_request(config)
    from petclassify.learn.checking.check import check as run
    from petclassify.report.check_kinds import kinds_of
    from petclassify.report.check_page import write_check

    collect_from_now_on()
    result = run(config, index)
    write_check(result, folder)
    files = f"files  {folder / 'check.html'}, check.json"
    if write_exclude is not None:
        rows = result.exclusions()
        write_exclusions(write_exclude, rows)
        files += f"; {write_exclude} leaves out {len(rows)} photos"
    show_as(output_format, result.to_dict(), [*check_lines(result, kinds_of(result)), "", files])


@takes_augmentation
def preview(
    data: Annotated[Path, typer.Argument(help="Folder, as for train.")],
    augmentation: Augmentation,
    image_size: ImageSizeOption = None,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("preview.png"),
    data_root: DataRootOption = DATA_ROOT,
) -> None:
    """Show what augmentation does to a data set's photos, as a picture.

    Example: petclassify data preview data/catsdogs --rotate 30
    """
    require_extra("train", TRAIN_MODULES)
    from petclassify.images.index import read_index
    from petclassify.learn.preview import preview as run

    run(read_index(located(data, data_root)), augmentation, image_size or 224, seed, out)
    show([str(out)])
