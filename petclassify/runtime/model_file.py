"""The model file: one ONNX file that holds everything a prediction needs.

Input   images         uint8 (N, height, width, 3), resized and cropped, not normalised
Output  probabilities  float32 (N, classes), calibrated
Output  familiarity    float32 (N,), 1 where a photo is as typical as those learned from

The metadata property `petclassify` is JSON, see `runtime.model_info`. Normalisation and
calibration are in the graph, so nobody can forget them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import onnxruntime

from petclassify.errors import ModelError, NoActivationMapsError, first_line
from petclassify.runtime.model_info import ModelInfo
from petclassify.runtime.onnx_wire import read_metadata, with_outputs
from petclassify.spelling import nearest_beside

METADATA_KEY = "petclassify"
INPUT = "images"
STANDALONE_INPUT = "image"  # of a file that resizes and crops too, see learn.export.standalone
PROBABILITIES = "probabilities"
FAMILIARITY = "familiarity"
HEAD_WEIGHT = "head.weight"  # the initializer, (classes, num_features)
MAX_MODEL_BYTES = 2**31
LATEST = "latest"  # the name under models/ of the run that finished last
_LONGEST_NAME = 4096  # bytes, of a run folder
_WEIGHTS = frozenset({".safetensors", ".pth", ".pt", ".ckpt"})


def load_model(
    path: Path, threads: int = 0, *, with_activations: bool = False
) -> tuple[onnxruntime.InferenceSession, ModelInfo]:
    """Open a model file, after making sure that it is one of ours and whole.

    Args:
        path: the file.
        threads: inside one run of the network; 0 lets ONNX Runtime decide.
        with_activations: the session also gives `ModelInfo.activations` and HEAD_WEIGHT.

    Raises:
        ModelError: it is missing, damaged, foreign, or does not fit its own metadata.

    """
    content = read_model(path)
    with refusals_named(path):
        return parse_model(content, threads, with_activations=with_activations)


@contextmanager
def refusals_named(path: Path) -> Iterator[None]:
    """Name the file in what `parse_model` raises."""
    try:
        yield
    except ModelError as error:
        raise type(error)(f"{path}: refused: {error}") from error


def read_model(path: Path) -> bytes:
    """Read a model file's bytes.

    Raises:
        ModelError: it is missing, too large, no file but a pipe or device, or cannot be read.

    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            # Opening a pipe would wait for ever, and a device may never end.
            raise ModelError(f"{path}: refused: no regular file")
        if status.st_size > MAX_MODEL_BYTES:
            raise ModelError(f"{path}: refused: larger than 2 GiB")
        return path.read_bytes()
    except FileNotFoundError as error:
        near = nearest_beside(str(path))
        meant = f"; did you mean {near}?" if near else ". Give a model.onnx, or the folder of a run"
        raise ModelError(f"{path}: no such model file or run folder{meant}") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ModelError(f"{path}: this model file cannot be read: {reason}") from error


def parse_model(
    content: bytes, threads: int = 0, *, with_activations: bool = False
) -> tuple[onnxruntime.InferenceSession, ModelInfo]:
    """Open a model file's bytes; see `load_model`."""
    text = read_metadata(content).get(METADATA_KEY)
    if text is None:
        raise ModelError(
            "an ONNX model, but not one that petclassify made (no petclassify metadata)"
        )
    info = ModelInfo.from_json(text)
    others: tuple[str, ...] = ()
    if with_activations:
        if info.activations is None:
            raise NoActivationMapsError("its network makes no class activation maps")
        others = (info.activations, HEAD_WEIGHT)
        content = with_outputs(content, others)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    # Else a mark in the bytes would make it another format, whose graph nobody has looked into.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        session = onnxruntime.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # which would print on stdout and try the same once more
        )
        _check_signature(session, info, others)
    except ModelError:
        raise
    except Exception as error:  # ONNX Runtime's own exceptions share no narrower base
        raise ModelError(f"ONNX Runtime cannot load it: {first_line(error)}") from error
    return session, info


def _check_signature(
    session: onnxruntime.InferenceSession, info: ModelInfo, others: tuple[str, ...]
) -> None:
    crop = info.preprocessing.crop
    inputs = {i.name: (i.type, i.shape[1:]) for i in session.get_inputs()}
    outputs = {o.name: (o.type, o.shape[1:]) for o in session.get_outputs() if o.name not in others}
    expected = {INPUT: ("tensor(uint8)", [crop, crop, 3])}
    if set(inputs) == {STANDALONE_INPUT}:
        raise ModelError(
            "a standalone file, made for other languages: it resizes and crops by itself. "
            "Use the model.onnx beside it, or the one that petclassify export makes"
        )
    if inputs != expected:
        raise ModelError(f"its inputs are {inputs}, its metadata says {expected}")
    scores = {
        PROBABILITIES: ("tensor(float)", [len(info.class_names)]),
        FAMILIARITY: ("tensor(float)", []),
    }
    if outputs != scores:
        raise ModelError(f"its outputs are {outputs}, its metadata says {scores}")


def file_of(model: Path) -> Path:
    """Return the model file itself, where a run folder is named.

    Raises:
        ModelError: this is no place of a model file, by its name alone.

    """
    model = named_run(model)
    if os.path.isdir(model):  # noqa: PTH112  # unlike Path's, it takes any place
        if not os.path.lexists(model / "model.onnx"):
            raise ModelError(
                f"{model}: no run folder (no model.onnx in it). Give the folder of a run, such as "
                "models/latest, or a model file"
            )
        return model / "model.onnx"
    if model.suffix.lower() in _WEIGHTS:
        raise ModelError(
            f"{model}: a file of weights, not a model file. Give the model.onnx of its run; "
            "petclassify export RUN makes it anew"
        )
    return model


def named_run(path: Path) -> Path:
    """The run folder that a file called `latest` names, where links are not to be had.

    Any other path is returned as it is.
    """
    # Unlike pathlib's, these take any text.
    if path.name == LATEST and os.path.isfile(path):  # noqa: PTH113
        with suppress(OSError), path.open("rb") as stream:
            run = path.parent / os.fsdecode(stream.read(_LONGEST_NAME)).strip()
            if os.path.isdir(run) and run != path.parent:  # noqa: PTH112
                return run
    return path


def model_name(model: Path) -> str:
    """What a model is called: models/catsdogs.onnx and models/catsdogs/model.onnx alike.

    Bytes that are no UTF-8 are replaced, as they are in the paths that a server is asked for.
    """
    path = model.resolve()
    if path.is_dir():
        name = path.name
    else:
        name = path.parent.name if path.name == "model.onnx" else path.stem
    return os.fsencode(name).decode("utf-8", "replace")
