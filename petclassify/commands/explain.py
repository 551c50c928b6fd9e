"""`petclassify explain`: where a model looked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from petclassify.commands.shared import chosen_model, collect_from_now_on, require_extra
from petclassify.errors import ExitCode, ImageError, ModelError, NoActivationMapsError
from petclassify.options import OUTPUT, ImagesArgument, ModelOption

if TYPE_CHECKING:
    from petclassify.learn.grad_cam import GradCam
    from petclassify.runtime.explain import Explainer


def explain(
    images: ImagesArgument,
    model: ModelOption = None,
    out: Annotated[
        Path, typer.Option(rich_help_panel=OUTPUT, help="Folder for the pictures.")
    ] = Path("explained"),
) -> None:
    """Show where a model looked: a heat map over each photo.

    Examples:
        petclassify explain img.jpg                  # into the folder explained/
        petclassify explain holiday/ --out looked    # a folder of photos

    """
    from petclassify.runtime.explain import explain_photos
    from petclassify.runtime.output import row_writer

    chosen = chosen_model(model)
    explainer = _explainer(chosen)
    write = row_writer("table", sys.stdout, explainer.classifier.class_names)
    collect_from_now_on()
    drawn = failed = 0
    for explained in explain_photos(explainer.explain, images, out):
        write(explained)
        if isinstance(explained.outcome, ImageError):
            failed += 1
        else:
            drawn += 1
    if failed:
        typer.echo(f"{failed} of {drawn + failed} images failed", err=True)
        raise typer.Exit(ExitCode.SOME_IMAGES_FAILED)


def _explainer(model: Path) -> Explainer | GradCam:
    """From the model file alone where that goes, else by gradients from the run's checkpoint."""
    from petclassify.runtime.explain import Explainer
    from petclassify.runtime.model_file import file_of

    try:
        return Explainer.load(model)
    except NoActivationMapsError as error:
        checkpoint = file_of(model).with_name("checkpoint.safetensors")
        if not checkpoint.is_file():
            raise ModelError(
                f"{model}: its network makes no class activation maps, and gradients need the "
                "checkpoint of its run. Give the run folder with --model"
            ) from error
        require_extra("train", ("torch", "captum"))
    from petclassify.learn.grad_cam import GradCam

    return GradCam.load(checkpoint, model)
