"""From the trained network to the model file, through the parity gate.

What is deployed is what was trained: the model file's own bytes are run by ONNX Runtime
on real photos beside the network in torch. One other class, or one probability that is
off by more than 0.001, and there is no model file.

The other forms of the file are made of that one, and each goes through a gate of its own:
weights in 16 bits through the same one with a wider limit, 8 bits through the one in
`learn.export.quantise`, and a standalone file is held against `predict` on photos at full size.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from petclassify.arrays import Pixels
from petclassify.config import FLOAT_MODEL, ModelForm, Resize
from petclassify.errors import DataError, ImageError, ModelError
from petclassify.files import write_whole
from petclassify.images.index import SPLITS, read_index, told_apart
from petclassify.images.photo import read_image, read_pixels
from petclassify.learn.claims import claimed
from petclassify.learn.export.half_weights import halve_weights
from petclassify.learn.export.quantise import (
    CALIBRATION_PHOTOS,
    COMPARED_PHOTOS,
    check_agreement,
    quantise,
)
from petclassify.learn.export.standalone import MAX_DIFFERENCE as MAX_STANDALONE_DIFFERENCE
from petclassify.learn.export.standalone import MAX_INT8_DIFFERENCE, check_standalone, to_standalone
from petclassify.learn.network import TrainedModel, load_checkpoint
from petclassify.learn.onnx_graph import find_activations, to_onnx
from petclassify.learn.runs.run_folder import RunFolder
from petclassify.learn.runs.run_place import LOCK
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.model_file import (
    FAMILIARITY,
    HEAD_WEIGHT,
    METADATA_KEY,
    PROBABILITIES,
    ModelInfo,
    parse_model,
)

log = logging.getLogger(__name__)

PARITY_PHOTOS = 64
MAX_DIFFERENCE = 1e-3
MAX_HALF_DIFFERENCE = 1e-2  # with weights that are rounded to float16
MAX_JUDGED = 2000  # validation photos that judge an int8 file
MIN_JUDGED = 200  # photos, or 99.5 % of them would be all
_BATCH_SIZE = 8  # small batches stay in the processor's cache: three times faster than one of 64

Read = TypeVar("Read")


def export_run(run: Path, data: Path | None = None, form: ModelForm = FLOAT_MODEL) -> Path:
    """Make a run folder's model file anew from its checkpoint; waits for a training at work there.

    Args:
        run: the run folder.
        data: where the run's data set lies now, if it was moved.
        form: of the file; each form has its own name in the folder.

    Returns:
        The path of the model file.

    Raises:
        ModelError: the checkpoint is refused, or the exported file disagrees with it.
        DataError: the run's photos are gone.

    """
    folder = RunFolder(run)
    root = data or folder.data_root()
    folder.classes_of("val")  # of a run that has none, no end is to be waited for
    with claimed(run / LOCK):
        return _export_into(folder, root, form)


def _export_into(folder: RunFolder, root: Path, form: ModelForm) -> Path:
    """Export in a run folder that this process has claimed."""
    val = {root / name: label for name, label in folder.classes_of("val").items()}
    train = {root / name: label for name, label in folder.classes_of("train").items()}
    model = load_checkpoint(folder.checkpoint)
    strange = told_apart(sorted({*val.values(), *train.values()} - {*model.class_names}), ())
    if strange:
        raise ModelError(
            f"{folder.path}: its predictions.csv is of another run than its checkpoint "
            f"({strange}). Train anew"
        )
    content = export_model(model, [*val], [*train])
    if form.weights == "int8":
        learned_from = [*train] or _unlisted(folder, root)
        content = _in_int8(model, content, val, learned_from)
    elif form.weights == "fp16":
        content = _with_half_weights(model, content, [*val, *train])
    if form.standalone:
        limit = MAX_INT8_DIFFERENCE if form.weights == "int8" else MAX_STANDALONE_DIFFERENCE
        content = _standalone(model, content, [*val, *train], limit)
    path = folder.path / form.file_name
    write_whole(path, content)
    return path


def export_model(model: TrainedModel, val: Sequence[Path], train: Sequence[Path]) -> bytes:
    """Export a trained model and hold it against itself.

    Args:
        model: the network, its head and its classes.
        val: photos for the parity gate, which takes PARITY_PHOTOS of them.
        train: photos to fill up with where val has fewer.

    Returns:
        The model file's bytes.

    Raises:
        ModelError: the file disagrees with the network.
        DataError: none of the photos can be read.

    """
    graph = to_onnx(model.network, model.backbone.pixels_shape, [PROBABILITIES, FAMILIARITY])
    info = ModelInfo(
        class_names=model.class_names,
        preprocessing=model.backbone.resize,
        temperature=model.calibration.temperature,
        doubt=model.calibration.doubt,
        known_threshold=model.known_threshold,
        network=model.backbone.name,
        training=model.training,
        activations=find_activations(graph, HEAD_WEIGHT),
    )
    graph.producer_name = "petclassify"
    graph.metadata_props.add(key=METADATA_KEY, value=info.to_json())
    content: bytes = graph.SerializeToString()
    photos = [*_spread(val, PARITY_PHOTOS), *_spread(train, PARITY_PHOTOS)]
    _, pixels = _read_pixels(photos, PARITY_PHOTOS, model.backbone.resize)
    difference = check_parity(model, content, pixels)
    log.info("export: torch and ONNX Runtime agree on %d photos to %.1g", len(pixels), difference)
    return content


def check_parity(
    model: TrainedModel,
    content: bytes,
    pixels: Pixels,
    limit: float = MAX_DIFFERENCE,
) -> float:
    """Compare a model file with the network it was exported from.

    Args:
        model: the network in torch.
        content: the model file's bytes.
        pixels: (N, height, width, 3).
        limit: of the difference.

    Returns:
        The largest difference of a probability or a familiarity.

    Raises:
        ModelError: a class differs, or one of these by more than the limit.

    """
    classifier = Classifier(*parse_model(content))
    batches = np.split(pixels, range(_BATCH_SIZE, len(pixels), _BATCH_SIZE))
    deployed = np.concatenate([_columns(*classifier.run(batch)) for batch in batches])
    with torch.inference_mode():
        outputs = [model.network(torch.from_numpy(batch)) for batch in batches]
    trained = np.concatenate([_columns(*(one.numpy() for one in pair)) for pair in outputs])
    difference = float(np.abs(deployed - trained).max())
    other_class = int(np.sum(deployed[:, :-1].argmax(axis=1) != trained[:, :-1].argmax(axis=1)))
    if other_class or not difference <= limit:
        raise ModelError(
            f"export refused: on {len(pixels)} photos the ONNX file gives another class for "
            f"{other_class} and numbers up to {difference:.2g} away from the trained "
            f"network (limit {limit:g}). The checkpoint is kept; no model file was written"
        )
    return difference


def _columns(
    probabilities: NDArray[np.float32], familiarity: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N, classes) and (N,) -> (N, classes + 1)."""
    return np.column_stack([probabilities, familiarity])


def _in_int8(
    model: TrainedModel, content: bytes, val: Mapping[Path, str], train: Sequence[Path]
) -> bytes:
    """Calibrate on training photos, and hold the result against the float file on val."""
    resize = model.backbone.resize
    count = COMPARED_PHOTOS + CALIBRATION_PHOTOS
    _, pixels = _read_pixels([*_spread(train, count), *_spread([*val], count)], count, resize)
    # Photos stand class by class; those compared and those for calibration are of all classes.
    order = np.random.default_rng(0).permutation(len(pixels))
    floats = onnx.load_from_string(content)
    quantised = halve_weights(quantise(floats, pixels[order]))  # of what stays in float
    judged, pixels = _read_pixels(_spread([*val], MAX_JUDGED), MAX_JUDGED, resize)
    labels = np.array([model.class_names.index(val[photo]) for photo in judged])
    missing = MIN_JUDGED - len(judged)
    if missing > 0 and train:
        log.warning("int8: only %d validation photos; training photos judge it too", len(judged))
        others = _spread(train, missing)
        pixels = np.concatenate([pixels, _read_pixels(others, missing, resize)[1]])
    check_agreement(floats, quantised, pixels, labels)
    return bytes(quantised.SerializeToString())


def _unlisted(folder: RunFolder, root: Path) -> list[Path]:
    """The training photos of a fine-tuned run, which lists only the others."""
    listed = {name for split in SPLITS for name in folder.classes_of(split)}
    others = listed | folder.left_out()
    samples = read_index(root).splits.get("train", ())
    return [s.path for s in samples if os.path.relpath(s.path, root) not in others]


def _with_half_weights(model: TrainedModel, content: bytes, photos: Sequence[Path]) -> bytes:
    halved: bytes = halve_weights(onnx.load_from_string(content)).SerializeToString()
    chosen = _spread(photos, PARITY_PHOTOS)
    _, pixels = _read_pixels(chosen, PARITY_PHOTOS, model.backbone.resize)
    difference = check_parity(model, halved, pixels, MAX_HALF_DIFFERENCE)
    log.info("fp16 weights: numbers up to %.1g away from the float model's", difference)
    return halved


def _standalone(model: TrainedModel, content: bytes, photos: Sequence[Path], limit: float) -> bytes:
    graph = to_standalone(onnx.load_from_string(content), model.backbone.resize)
    standalone: bytes = graph.SerializeToString()
    classifier = Classifier(*parse_model(content))
    full = _readable(_spread(photos, PARITY_PHOTOS), PARITY_PHOTOS, read_image)
    difference = check_standalone(standalone, classifier, full, limit)
    log.info("standalone: numbers up to %.1g away from those of predict", difference)
    return standalone


def _spread(photos: Sequence[Path], count: int) -> list[Path]:
    """Put so many photos from all over the sequence, and so of all classes, first."""
    first = np.linspace(0, len(photos) - 1, min(count, len(photos))).astype(int)
    return [photos[i] for i in first] + [photos[i] for i in np.setdiff1d(range(len(photos)), first)]


def _read_pixels(
    photos: Sequence[Path], count: int, resize: Resize
) -> tuple[list[Path], NDArray[np.uint8]]:
    """Read the first photos that can be read, (count, height, width, 3) at most."""
    found = list(_readable(photos, count, lambda path: read_pixels(path, resize)))
    return [path for path, _ in found], np.stack([pixels for _, pixels in found])


def _readable(
    photos: Sequence[Path], count: int, read: Callable[[Path], Read]
) -> Iterator[tuple[Path, Read]]:
    """Read photos until so many were read; those that cannot be are passed over.

    Raises:
        DataError: none of them can be read.

    """
    left = count
    reason = "there are none"
    for photo in photos:
        if not left:
            return
        try:
            yield photo, read(photo)
            left -= 1
        except ImageError as error:
            reason = str(error)
    if left == count:
        raise DataError(
            "the export cannot be checked, since none of the run's photos can be read "
            f"({reason}). If the data set was moved, give --data DIR to "
            "petclassify export"
        )
