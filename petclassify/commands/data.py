"""The commands under `data`: sample sets, public sets, a look at one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from petclassify.commands.shared import TRAIN_MODULES, located, require_extra
from petclassify.config import Augmentation
from petclassify.options import (
    DATA_ROOT,
    DataRootOption,
    ImageSizeOption,
    SeedOption,
    takes_augmentation,
)


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
    typer.echo(f"{count} pictures in {folder}")


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
    from petclassify.learn.public_data import fetch as run

    typer.echo(run(name, data_root))


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
    typer.echo(out)
