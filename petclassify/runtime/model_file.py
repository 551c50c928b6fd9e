"""The model file: one ONNX file that holds everything a prediction needs.

Input   images         uint8 (N, height, width, 3), resized and cropped, not normalised
Output  probabilities  float32 (N, classes), calibrated
Output  familiarity    float32 (N,), 1 where a photo is as typical as those learned from

The metadata property `petclassify` is JSON with the fields of `ModelInfo`. Normalisation
and calibration are in the graph, so nobody can forget them.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import onnxruntime

from petclassify.config import Interpolation, Resize
from petclassify.errors import ModelError, NoActivationMapsError, first_line
from petclassify.images.walk import nearest_beside
from petclassify.runtime.onnx_wire import read_metadata, with_outputs

FORMAT_VERSION = 2
METADATA_KEY = "petclassify"
INPUT = "images"
STANDALONE_INPUT = "image"  # of a file that resizes and crops too, see learn.export.standalone
PROBABILITIES = "probabilities"
FAMILIARITY = "familiarity"
HEAD_WEIGHT = "head.weight"  # the initializer, (classes, num_features)
MAX_MODEL_BYTES = 2**31
_WEIGHTS = frozenset({".safetensors", ".pth", ".pt", ".ckpt"})


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about itself.

    Attributes:
        class_names: in the order of the probabilities.
        preprocessing: how a photo becomes the input.
        temperature: by which the graph divides the logits.
        doubt: the share of probability that it spreads over all classes alike.
        known_threshold: the familiarity from which on a photo is known.
        network: the backbone's name.
        training: counts, metrics, versions, date; for people.
        activations: the tensor in the graph whose mean over all positions is the features, which
            the head's weights turn into class activation maps; None where there is none.
        format_version: of this metadata.

    """

    class_names: tuple[str, ...]
    preprocessing: Resize
    temperature: float
    known_threshold: float
    network: str
    doubt: float = 0.0
    training: dict[str, Any] = field(default_factory=dict)
    activations: str | None = None
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The text that goes into the model file."""
        resize = self.preprocessing
        written = vars(self) | {
            "preprocessing": {
                "resize": resize.shorter_side,
                "crop": resize.crop,
                "interpolation": resize.interpolation,
            }
        }
        return json.dumps(written, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelInfo:
        """Read what `to_json` wrote.

        Raises:
            ModelError: the text says something that cannot be.

        """
        try:
            read = json.loads(text)
            if read["format_version"] != FORMAT_VERSION:
                raise ModelError(
                    f"its format version is {read['format_version']}, this petclassify reads "
                    f"{FORMAT_VERSION}. Train anew, or install the version that made it"
                )
            given = read["preprocessing"]
            if not isinstance(read["class_names"], list):
                raise ModelError("its metadata has no list of class names")
            info = cls(
                class_names=tuple(str(name) for name in read["class_names"]),
                preprocessing=Resize(
                    int(given["resize"]), int(given["crop"]), given["interpolation"]
                ),
                temperature=float(read["temperature"]),
                known_threshold=float(read["known_threshold"]),
                doubt=float(read.get("doubt", 0.0)),
                network=str(read["network"]),
                training=dict(read["training"]),
                activations=None if (name := read.get("activations")) is None else str(name),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ModelError(f"its metadata cannot be read ({error!r})") from error
        info.check()
        _check_writable(read)
        return info

    def check(self) -> None:
        """Raise ModelError for what cannot be.

        Raises:
            ModelError: so it is.

        """
        resize = self.preprocessing
        if len(self.class_names) < 2 or len(set(self.class_names)) < len(self.class_names):
            raise ModelError("its metadata names fewer than two distinct classes")
        if not 1 <= resize.crop <= 4096 or not 1 <= resize.shorter_side <= 8192:
            raise ModelError(f"its metadata asks for an impossible window: {resize}")
        if not 0 <= self.known_threshold <= 1:
            raise ModelError(f"its metadata has the threshold {self.known_threshold}, not 0 to 1")
        if not (0 < self.temperature < math.inf and 0 <= self.doubt < 1):
            raise ModelError(
                f"its metadata has the temperature {self.temperature} and the doubt {self.doubt}, "
                "which calibrate nothing"
            )
        if resize.interpolation not in get_args(Interpolation):
            raise ModelError(f"its metadata asks for the filter {resize.interpolation!r}")


def _check_writable(said: object) -> None:
    """Refuse what JSON reads, but answers over HTTP, CSV and pages cannot hold.

    Raises:
        ModelError: numbers that are none, or text that is none and names no file either.

    """
    try:
        json.dumps(said, ensure_ascii=False, allow_nan=False).encode(errors="surrogateescape")
    except (ValueError, RecursionError) as error:
        raise ModelError(f"its metadata cannot be handed on ({error})") from error


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
