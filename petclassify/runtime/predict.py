"""`petclassify predict`: which model, which photos, where the rows go."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import petclassify
from petclassify.errors import DataError, ImageError, ModelError, UsageError
from petclassify.files import disk_faults_named, written_whole
from petclassify.images.walk import walk_images
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.output import Format, row_writer
from petclassify.runtime.scoring import THREADS_IN_NETWORK, score_photos

STDIN = "-"
SHIPPED = "catsdogs.onnx"


@dataclass(frozen=True)
class Tally:
    """How many photos were classified, and how many failed."""

    predicted: int
    failed: int


def default_model(models: Path = Path("models")) -> Path:
    """The model last trained under ./models, else the one that ships with the package.

    Raises:
        ModelError: there is neither.

    """
    latest = latest_run(models)
    if latest is not None and (latest / "model.onnx").is_file():
        return latest / "model.onnx"
    package = Path(petclassify.__file__).parent
    for folder in (package / "shipped", package.parent / "models"):
        if (folder / SHIPPED).is_file():
            return folder / SHIPPED
    raise ModelError(f"no model under {models} and none came with the package. Give --model FILE")


def latest_run(models: Path) -> Path | None:
    """The run folder that models/latest names: a link, or a file where links are not to be had."""
    latest = models / "latest"
    if latest.is_dir():
        return latest
    if latest.is_file():
        return models / latest.read_text(encoding="utf-8").strip()
    return None


def predict(
    inputs: Sequence[str],
    model: Path,
    output_format: Format,
    output: Path | None,
    *,
    force: bool = False,
) -> Tally:
    """Classify files, folders and stdin ("-"), and write a row for each photo.

    Args:
        inputs: paths, or "-" for one image on stdin.
        model: a model file or a run folder.
        output_format: of the rows.
        output: a file, written whole or not at all; None is stdout.
        force: label photos that are unlike those that the model learned from, too.

    Raises:
        ModelError: the model is refused.
        DataError: a folder holds no images or cannot be listed.
        EnvironmentFault: the output cannot be written.

    """
    if output is not None:
        _refuse_overwriting(output, [*inputs, model])
    one_photo = len(inputs) == 1 and not os.path.isdir(inputs[0])  # noqa: PTH112
    classifier = Classifier.load(model, threads=0 if one_photo else THREADS_IN_NETWORK)
    predicted = failed = 0
    with _opened(output) as stream:
        write = row_writer(output_format, stream, classifier.class_names, force=force)
        for scored in score_photos(classifier, photos_of(inputs)):
            write(scored)
            if isinstance(scored.outcome, ImageError):
                failed += 1
            else:
                predicted += 1
    return Tally(predicted, failed)


def photos_of(inputs: Sequence[str]) -> Iterator[tuple[str, Path | bytes]]:
    """Name and place of each photo, or its bytes; a folder is walked in sorted order.

    Args:
        inputs: paths, or "-" for one image on stdin.

    Raises:
        DataError: a folder holds no images or cannot be listed.

    """
    for given in inputs:
        path = Path(given)
        if given == STDIN:
            yield STDIN, sys.stdin.buffer.read() if sys.stdin else b""
        elif os.path.isdir(given):  # noqa: PTH112  # unlike Path's, it takes any name
            images = walk_images(path)
            first = next(images, None)
            if first is None:
                raise DataError(f"{given}: holds no images")
            for image in itertools.chain([first], images):
                yield str(image), image
        else:
            yield given, path


def _refuse_overwriting(output: Path, read: Sequence[str | Path]) -> None:
    for path in read:
        if os.path.exists(output) and os.path.exists(path) and os.path.samefile(output, path):  # noqa: PTH110, PTH121
            raise UsageError(f"--output {output} is a file that this command reads. Name another")


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        try:
            yield sys.stdout
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read the rows has enough; Python would complain once more at its exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    with (
        written_whole(output) as temporary,
        disk_faults_named(output),
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        yield stream
