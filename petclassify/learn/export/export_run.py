"""`petclassify export RUN`: a run's checkpoint as a model file, in the form that is asked for.

The other forms are made of the plain file, and each goes through a gate of its own: weights in
16 bits through the same one with a wider limit, 8 bits through the one in
`learn.export.quantise`, and a standalone file is held against `predict` on photos at full size.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from petclassify.config import FLOAT_MODEL, ModelForm
from petclassify.errors import ModelError
from petclassify.files import write_whole
from petclassify.images.index import told_apart
from petclassify.images.photo import read_image
from petclassify.learn.claims import claimed
from petclassify.learn.export.export import PARITY_PHOTOS, check_parity, export_model
from petclassify.learn.export.half_weights import halve_weights
from petclassify.learn.export.photos import read_first, readable, spread
from petclassify.learn.export.quantise import (
    CALIBRATION_PHOTOS,
    COMPARED_PHOTOS,
    check_agreement,
    quantise,
)
from petclassify.learn.export.standalone import MAX_DIFFERENCE as MAX_STANDALONE_DIFFERENCE
from petclassify.learn.export.standalone import MAX_INT8_DIFFERENCE, check_standalone, to_standalone
from petclassify.learn.network import TrainedModel, load_checkpoint
from petclassify.learn.runs.run_folder import RunFolder
from petclassify.learn.runs.run_place import LOCK
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.model_file import METADATA_KEY, parse_model

log = logging.getLogger(__name__)

MAX_HALF_DIFFERENCE = 1e-2  # with weights that are rounded to float16
MAX_JUDGED = 2000  # validation photos that judge an int8 file
MIN_JUDGED = 200  # photos, or 99.5 % of them would be all


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
    val, train = (
        {root / name: class_name for name, class_name in folder.classes_of(split).items()}
        for split in ("val", "train")
    )
    model = load_checkpoint(folder.checkpoint)
    strange = told_apart(sorted({*val.values(), *train.values()} - {*model.class_names}), ())
    if strange:
        raise ModelError(
            f"{folder.path}: its photos.csv is of another run than its checkpoint "
            f"({strange}). Train anew"
        )
    content = export_model(model, [*val], [*train])
    if form.weights == "int8":
        content = _told_of_rounding(_in_int8(model, content, val, [*train]))
    elif form.weights == "fp16":
        content = _told_of_rounding(_with_half_weights(model, content, [*val, *train]))
    if form.standalone:
        limit = MAX_INT8_DIFFERENCE if form.weights == "int8" else MAX_STANDALONE_DIFFERENCE
        content = _standalone(model, content, [*val, *train], limit)
    path = folder.path / form.file_name
    write_whole(path, content)
    return path


def _in_int8(
    model: TrainedModel, content: bytes, val: Mapping[Path, str], train: Sequence[Path]
) -> bytes:
    """Calibrate on training photos, and hold the result against the float file on val."""
    resize = model.backbone.resize
    count = COMPARED_PHOTOS + CALIBRATION_PHOTOS
    _, pixels = read_first([*spread(train, count), *spread([*val], count)], count, resize)
    # Photos stand class by class; those compared and those for calibration are of all classes.
    order = np.random.default_rng(0).permutation(len(pixels))
    floats = onnx.load_from_string(content)
    quantised = halve_weights(quantise(floats, pixels[order]))  # of what stays in float
    judged, pixels = read_first(spread([*val], MAX_JUDGED), MAX_JUDGED, resize)
    labels = np.array([model.class_names.index(val[photo]) for photo in judged])
    missing = MIN_JUDGED - len(judged)
    if missing > 0 and train:
        log.warning("int8: only %d validation photos; training photos judge it too", len(judged))
        others = spread(train, missing)
        pixels = np.concatenate([pixels, read_first(others, missing, resize)[1]])
    check_agreement(floats, quantised, pixels, labels)
    return bytes(quantised.SerializeToString())


def _with_half_weights(model: TrainedModel, content: bytes, photos: Sequence[Path]) -> bytes:
    halved: bytes = halve_weights(onnx.load_from_string(content)).SerializeToString()
    chosen = spread(photos, PARITY_PHOTOS)
    _, pixels = read_first(chosen, PARITY_PHOTOS, model.backbone.resize)
    difference = check_parity(model, halved, pixels, MAX_HALF_DIFFERENCE)
    log.info("fp16 weights: numbers up to %.1g away from the float model's", difference)
    return halved


def _told_of_rounding(content: bytes) -> bytes:
    """Let the file say that its figures are those of the float weights."""
    graph = onnx.load_from_string(content)
    (about,) = (entry for entry in graph.metadata_props if entry.key == METADATA_KEY)
    facts = json.loads(about.value)
    facts["training"]["metrics_of"] = "fp32 weights"
    about.value = json.dumps(facts, sort_keys=True)
    told: bytes = graph.SerializeToString()
    return told


def _standalone(model: TrainedModel, content: bytes, photos: Sequence[Path], limit: float) -> bytes:
    graph = to_standalone(onnx.load_from_string(content), model.backbone.resize)
    standalone: bytes = graph.SerializeToString()
    classifier = Classifier(*parse_model(content))
    full = readable(spread(photos, PARITY_PHOTOS), PARITY_PHOTOS, read_image)
    difference = check_standalone(standalone, classifier, full, limit)
    log.info("standalone: numbers up to %.1g away from those of predict", difference)
    return standalone
