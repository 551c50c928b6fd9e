"""From the trained network to the model file, through the parity gate.

What is deployed is what was trained: the model file's own bytes are run by ONNX Runtime
on real photos beside the network in torch. One other class, or one probability that is
off by more than 0.001, and there is no model file.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from petclassify.config import Resize
from petclassify.errors import DataError, ImageError, ModelError
from petclassify.files import write_whole
from petclassify.images.photo import read_pixels
from petclassify.learn.network import TrainedModel, load_checkpoint
from petclassify.learn.onnx_graph import find_activations, to_onnx
from petclassify.learn.run_folder import RunFolder
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
_BATCH_SIZE = 8  # small batches stay in the processor's cache: three times faster than one of 64


def export_run(run: Path, data: Path | None = None) -> Path:
    """Make a run folder's model.onnx anew from its checkpoint.

    Args:
        run: the run folder.
        data: where the run's data set lies now, if it was moved.

    Returns:
        The path of the model file.

    Raises:
        ModelError: the checkpoint is refused, or the exported file disagrees with it.
        DataError: the run's photos are gone.

    """
    folder = RunFolder(run)
    root = data or folder.data_root()
    val = [root / name for name in folder.photos_of("val")]
    train = [root / name for name in folder.photos_of("train")]
    model = load_checkpoint(folder.checkpoint)
    write_whole(folder.model, export_model(model, val, train))
    return folder.model


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
    pixels = _read_for_parity([*_spread(val), *_spread(train)], model.backbone.resize)
    difference = check_parity(model, content, pixels)
    log.info("export: torch and ONNX Runtime agree on %d photos to %.1g", len(pixels), difference)
    return content


def check_parity(model: TrainedModel, content: bytes, pixels: NDArray[np.uint8]) -> float:
    """Compare a model file with the network it was exported from.

    Args:
        model: the network in torch.
        content: the model file's bytes.
        pixels: (N, height, width, 3).

    Returns:
        The largest difference of a probability or a familiarity.

    Raises:
        ModelError: a class differs, or one of these by more than MAX_DIFFERENCE.

    """
    classifier = Classifier(*parse_model(content))
    batches = np.split(pixels, range(_BATCH_SIZE, len(pixels), _BATCH_SIZE))
    deployed = np.concatenate([_columns(*classifier.run(batch)) for batch in batches])
    with torch.inference_mode():
        outputs = [model.network(torch.from_numpy(batch)) for batch in batches]
    trained = np.concatenate([_columns(*(one.numpy() for one in pair)) for pair in outputs])
    difference = float(np.abs(deployed - trained).max())
    labels = (scores[:, :-1].argmax(axis=1) for scores in (deployed, trained))
    other_class = int(np.sum(next(labels) != next(labels)))
    if other_class or not difference <= MAX_DIFFERENCE:
        raise ModelError(
            f"export refused: on {len(pixels)} photos the ONNX file gives another class for "
            f"{other_class} and numbers up to {difference:.2g} away from the trained "
            f"network (limit {MAX_DIFFERENCE:g}). The checkpoint is kept; no model file was written"
        )
    return difference


def _columns(
    probabilities: NDArray[np.float32], familiarity: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N, classes) and (N,) -> (N, classes + 1)."""
    return np.column_stack([probabilities, familiarity])


def _spread(photos: Sequence[Path]) -> list[Path]:
    """Put PARITY_PHOTOS photos from all over the sequence, and so of all classes, first."""
    first = np.linspace(0, len(photos) - 1, min(PARITY_PHOTOS, len(photos))).astype(int)
    return [photos[i] for i in first] + [photos[i] for i in np.setdiff1d(range(len(photos)), first)]


def _read_for_parity(photos: Sequence[Path], resize: Resize) -> NDArray[np.uint8]:
    """Read the first PARITY_PHOTOS photos that can be read."""
    readable: list[NDArray[np.uint8]] = []
    reason = "there are none"
    for photo in photos:
        if len(readable) == PARITY_PHOTOS:
            break
        try:
            readable.append(read_pixels(photo, resize))
        except ImageError as error:
            reason = str(error)
    if not readable:
        raise DataError(
            "the export cannot be checked, since none of the run's photos can be read "
            f"({reason}). If the data set was moved, give --data DIR"
        )
    return np.stack(readable)
