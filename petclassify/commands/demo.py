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
    """Draw pets, train on them, and predict: the whole way, offline.

    It takes about a minute. Where models/latest names a run already, it stays so.

    Examples:
        petclassify demo

    """
    from petclassify.images.drawn_pets import draw_pets
    from petclassify.runtime.model_file import LATEST

    if not folder.is_dir() or not any(folder.iterdir()):
        show([f"$ petclassify data draw {folder}"])
        draw_pets(folder, count=200, seed=0)
    command = shlex.join(["petclassify", "train", str(folder)])
    show([f"$ {command}"])
    require_extra("train", TRAIN_MODULES)
    has_latest = Path("models", LATEST).is_symlink() or Path("models", LATEST).exists()
    result = run_training(TrainConfig(folder), command, becomes_latest=not has_latest)
    if result is None:  # one of several processes, of which the first goes on
        return
    from petclassify.learn.runs.run_folder import RunFolder

    run = RunFolder(result.run)
    example = str(folder / (run.photos_of("test") or run.photos_of("val"))[0])
    model = result.run if has_latest else None
    arguments = [example] if model is None else [example, "--model", str(model)]
    predicting = shlex.join(["petclassify", "predict", *arguments])
    show(["", f"$ {predicting}  # a photo that it did not learn from"])
    predict([example], model)
    typer.echo(
        "\nNow with your own photos, in folders named after what they show:\n"
        "  petclassify train DIR       where DIR/<class>/<image>.jpg\n"
        "  petclassify predict IMAGE"
    )
