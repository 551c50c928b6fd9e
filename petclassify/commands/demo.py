"""`petclassify demo`: the whole way, on drawn pets."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from petclassify.commands.predict import predict
from petclassify.commands.shared import (
    TRAIN_MODULES,
    require_extra,
    show,
)
from petclassify.commands.train import run_training
from petclassify.config import TrainConfig
from petclassify.options import DATA


def demo(
    folder: Annotated[
        Path, typer.Option("--data", rich_help_panel=DATA, help="Where the drawn pets go.")
    ] = Path("data/drawn-pets"),
) -> None:
    """Draw pets, train on them, predict new ones: the whole way, offline.

    It takes about a minute. Where models/latest names a run already, it stays so.

    Examples:
        petclassify demo

    """
    from petclassify.images.drawn_pets import draw_pets
    from petclassify.runtime.model_file import LATEST

    new = folder.with_name(f"new-{folder.resolve().name}")
    for place, count, seed in ((folder, 200, 0), (new, 4, 1)):
        if not place.is_dir() or not any(place.iterdir()):
            options = "" if place == folder else f" --count {count} --seed {seed}"
            show([f"$ petclassify data draw {shlex.quote(str(place))}{options}"])
            draw_pets(place, count=count, seed=seed)
    command = shlex.join(["petclassify", "train", str(folder)])
    show([f"$ {command}"])
    require_extra("train", TRAIN_MODULES)
    has_latest = Path("models", LATEST).is_symlink() or Path("models", LATEST).exists()
    result = run_training(TrainConfig(folder), command, becomes_latest=not has_latest)
    model = result.run if result is not None and has_latest else None
    arguments = [str(new)] if model is None else [str(new), "--model", str(model)]
    show(["", f"$ {shlex.join(['petclassify', 'predict', *arguments])}"])
    predict([str(new)], model)
    typer.echo(
        "\nNow with your own photos, in folders named after what they show:\n"
        "  petclassify train DIR       where DIR/<class>/<image>.jpg\n"
        "  petclassify predict IMAGE"
    )
