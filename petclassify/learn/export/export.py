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

from petclassify.arrays import Pixels
from petclassify.errors import ModelError
from petclassify.learn.export.photos import read_first, spread
from petclassify.learn.network import TrainedModel
from petclassify.learn.onnx_graph import BATCH_SIZE, find_activations, to_onnx
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.model_file import (
    FAMILIARITY,
    HEAD_WEIGHT,
    METADATA_KEY,
    PROBABILITIES,
    parse_model,
)
from petclassify.runtime.model_info import ModelInfo

log = logging.getLogger(__name__)

PARITY_PHOTOS = 64
MAX_DIFFERENCE = 1e-3


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
    photos = [*spread(val, PARITY_PHOTOS), *spread(train, PARITY_PHOTOS)]
    _, pixels = read_first(photos, PARITY_PHOTOS, model.backbone.resize)
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
    batches = np.split(pixels, range(BATCH_SIZE, len(pixels), BATCH_SIZE))
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
