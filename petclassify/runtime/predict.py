"""`petclassify predict`: which model, which photos, where the rows go."""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

import petclassify
from petclassify.errors import ImageError, ModelError, UsageError
from petclassify.files import disk_faults_named, replaceable, written_whole
from petclassify.images.walk import is_image_name
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.model_file import (
    LATEST,
    file_of,
    named_run,
    parse_model,
    read_model,
    refusals_named,
)
from petclassify.runtime.output import Format, holds_rows, row_writer
from petclassify.runtime.photos import find_photos, is_stdin, is_stored
from petclassify.runtime.scoring import THREADS_IN_NETWORK, Tally, score_photos

SHIPPED = "catsdogs.onnx"
_WEB = ("http://", "https://")

Engine = Literal["local", "ray"]


def default_model(models: Path = Path("models")) -> Path:
    """The model last trained under ./models, else the one that ships with the package.

    Raises:
        ModelError: there is neither.

    """
    latest = named_run(models / LATEST) / "model.onnx"
    if latest.is_file():
        return latest
    if (shipped := shipped_model()) is not None:
        return shipped
    raise ModelError(f"no model under {models} and none came with the package. Give --model FILE")


def shipped_model() -> Path | None:
    """The cats and dogs that come with the package."""
    package = Path(petclassify.__file__).parent
    places = (package / "shipped" / SHIPPED, package.parent / "models" / SHIPPED)
    return next(filter(Path.is_file, places), None)


def predict(
    inputs: Sequence[str],
    model: Path,
    output_format: Format,
    output: Path | None,
    *,
    force: bool = False,
    engine: Engine = "local",
) -> Tally:
    """Classify files, folders and stdin ("-"), and write a row for each photo.

    Args:
        inputs: paths, or "-" for one image on stdin; with Ray also URIs of object stores.
        model: a model file or a run folder.
        output_format: of the rows.
        output: a file, written whole or not at all; None is stdout. Rows for programs survive
            a kill, see `runtime.results`.
        force: label photos that are unlike those that the model learned from, too.
        engine: this process, or the actors of a Ray cluster, see `runtime.ray_scoring`.

    Raises:
        ModelError: the model is refused.
        DataError: a folder holds no images or cannot be listed.
        UsageError: an input that this engine cannot read, or that is also the output.
        EnvironmentFault: the output cannot be written, or a store or cluster not be reached.

    """
    _refuse_unreadable(inputs, engine)
    path = file_of(model)
    if output is not None:
        _refuse_overwriting(output, [*inputs, path])
    one_photo = len(inputs) == 1 and not os.path.isdir(inputs[0])  # noqa: PTH112
    # Read once, so that a model trained meanwhile does not sign what this one said.
    content = read_model(path)
    with refusals_named(path):
        classifier = Classifier(*parse_model(content, 0 if one_photo else THREADS_IN_NETWORK))
    score = functools.partial(score_photos, classifier)
    if engine == "ray":
        from petclassify.runtime.ray_scoring import score_on_ray

        score = functools.partial(score_on_ray, content)
    photos = find_photos(inputs)
    if output is not None and output_format != "table":
        from petclassify.runtime.results import write_results

        digest = hashlib.sha256(content).hexdigest()
        return write_results(score, photos, digest, classifier.class_names, output_format, output)
    total = failed = 0
    with _opened(output) as stream:
        write = row_writer(output_format, stream, classifier.class_names, force=force)
        for scored in score(photos):
            write(scored)
            total += 1
            failed += isinstance(scored.outcome, ImageError)
    return Tally(total - failed, failed)


def _refuse_unreadable(inputs: Sequence[str], engine: Engine) -> None:
    stored = next(filter(is_stored, inputs), None)
    if stored is not None and stored.startswith(_WEB):
        raise UsageError(f"{stored}: photos are not fetched from the web. Download it first")
    if engine == "local" and stored is not None:
        raise UsageError(f"{stored}: object stores are read with --engine ray. Add it")
    if engine == "ray" and any(map(is_stdin, inputs)):
        raise UsageError("stdin cannot be read with --engine ray. Leave that out")


def _refuse_overwriting(output: Path, read: Sequence[str | Path]) -> None:
    written = Path(os.path.realpath(output))  # a link stays, what it names is replaced
    if is_image_name(output.name) or is_image_name(written.name):
        raise UsageError(f"--output {output} has the name of an image. Name a file for the rows")
    for path in read:
        if os.path.exists(output) and os.path.exists(path) and os.path.samefile(output, path):  # noqa: PTH110, PTH121
            raise UsageError(f"--output {output} is a file that this command reads. Name another")
    with disk_faults_named(output):  # a file that cannot be read could be replaced all the same
        if os.path.isfile(output) and not holds_rows(replaceable(output)):  # noqa: PTH113
            raise UsageError(
                f"--output {output}: is there, and holds no rows of petclassify. Name another"
            )


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
