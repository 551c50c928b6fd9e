"""A model file in 8 bits: a third of the size, and on processors with 8-bit products faster.

ONNX Runtime's static quantisation, QDQ: weights per channel, activations by the range that
the average training photo fills. What stays in float, and why:

- The head, the calibration and the familiarity: together they take no time.
- The first layers. Their error goes through all the others, while they hold next to no
  weights. As many are left as the features need; on `tf_efficientnet_lite0` six of 49, which
  brings the cosine to the float features from 0.994 to 0.997 at the same speed.

Activation functions are quantised with the layer before them. Otherwise the range is that
of the numbers before ReLU6 cuts them, and the cosine falls to 0.87.

Old x86 processors (before VNNI) add two 8-bit products in 16 bits and may cut off sums that
newer ones keep. The gate speaks for the processor that it ran on.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from petclassify.arrays import Features, Labels, Pixels
from petclassify.errors import ModelError, first_line
from petclassify.files import disk_faults_named
from petclassify.learn.onnx_graph import BATCH_SIZE, EXTRACTOR_SCOPE, run_graph
from petclassify.learn.progress import track
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.model_file import INPUT, parse_model

log = logging.getLogger(__name__)

MIN_COSINE = 0.997
MIN_AGREEMENT = 0.995
MAX_ACCURACY_LOSS = 0.003
CALIBRATION_PHOTOS = 128
COMPARED_PHOTOS = 64

_LAYERS = ("Conv", "Gemm", "MatMul")
_QUANTISED = (*_LAYERS, "Clip", "Relu", "Add", "MaxPool")
_FLOAT_LAYERS = (1, 6, 12, 24)
_BLAMED = 3
_BLAME_PHOTOS = 8


def quantise(model: onnx.ModelProto, pixels: Pixels) -> onnx.ModelProto:
    """Bring the layers of a model file's feature extractor to 8 bits.

    Args:
        model: a float model file's graph.
        pixels: (N, height, width, 3), training photos. The first COMPARED_PHOTOS decide how
            many layers stay in float, the others calibrate.

    Raises:
        ModelError: ONNX Runtime cannot quantise this network.
        EnvironmentFault: the folder for temporary files is full or cannot be written.

    """
    with disk_faults_named(Path(tempfile.gettempdir())):
        return _quantise(model, pixels)


def _quantise(model: onnx.ModelProto, pixels: Pixels) -> onnx.ModelProto:
    prepared, features = _prepare(model)
    compared, calibrating = pixels[:COMPARED_PHOTOS], pixels[COMPARED_PHOTOS:]
    if not len(calibrating):
        calibrating = compared
    expected = run_graph(prepared, features, compared)
    order = [node.name for node in prepared.graph.node]
    layers = _layers(prepared)
    for kept in _FLOAT_LAYERS:
        if kept >= len(layers):
            break
        before = order[: order.index(layers[kept])]
        quantised = _quantised(prepared, calibrating, exclude=before)
        cosine = _mean_cosine(run_graph(quantised, features, compared), expected)
        log.info(
            "int8: tried with the first %d of %d layers in float: the features come to a cosine "
            "of %.4f with the float ones, %s",
            *(kept, len(layers), cosine),
            f"over {MIN_COSINE}: taken" if cosine >= MIN_COSINE else f"{MIN_COSINE} is wanted",
        )
        if cosine >= MIN_COSINE:
            break
    if cosine < MIN_COSINE:
        log.info("int8: none came that near; its answers on real photos decide")
    return _as_model_file(quantised, model, features)


def check_agreement(
    model: onnx.ModelProto,
    quantised: onnx.ModelProto,
    pixels: Pixels,
    labels: Labels,
) -> None:
    """Hold the quantised model file against the float one.

    The log loss is no part of it: a head that ships was fitted on these photos too, and its
    loss on them says little.

    Args:
        model: the float one.
        quantised: made of it.
        pixels: (N, height, width, 3), validation photos first.
        labels: (M,), of these; accuracies are theirs.

    Raises:
        ModelError: too many photos get another class, or are no longer called known, or
            the accuracy falls. The message names the layers that move the features most.

    """
    before, after = (_verdicts(one, pixels) for one in (model, quantised))
    agreement = float(np.mean(np.all(before == after, axis=1)))
    accuracies = [
        float(np.mean(verdicts[: len(labels), 0] == labels)) for verdicts in (before, after)
    ]
    lost = accuracies[0] - accuracies[1]
    if agreement < MIN_AGREEMENT or lost > MAX_ACCURACY_LOSS:
        blamed = ", ".join(_most_harmful(model, pixels[:: max(1, len(pixels) // _BLAME_PHOTOS)]))
        raise ModelError(
            f"export refused: in int8 the verdict is the float model's on {agreement:.1%} of "
            f"{len(pixels)} photos (at least {MIN_AGREEMENT:.1%}), and the accuracy falls from "
            f"{accuracies[0]:.1%} to {accuracies[1]:.1%} (by {MAX_ACCURACY_LOSS:.1%} at most). "
            f"Layers that hurt most: {blamed}. No model file was written; --fp16-weights halves "
            "the file without this loss"
        )
    log.info(
        "int8: accepted: the verdict is the float model's on %.2f %% of %d photos; accuracy "
        "%.2f %% on %d validation photos, in float %.2f %%",
        *(100 * agreement, len(pixels), 100 * accuracies[1], len(labels), 100 * accuracies[0]),
    )


def _prepare(model: onnx.ModelProto) -> tuple[onnx.ModelProto, str]:
    """Fold what is constant, and make the features an output; gives its name too."""
    named = onnx.ModelProto()
    named.CopyFrom(model)
    made = {
        output
        for node in named.graph.node
        if node.name.startswith(EXTRACTOR_SCOPE)
        for output in node.output
    }
    (features,) = {
        tensor
        for node in named.graph.node
        if not node.name.startswith(EXTRACTOR_SCOPE)
        for tensor in node.input
        if tensor in made
    }
    named.graph.output.append(
        onnx.helper.make_tensor_value_info(features, onnx.TensorProto.FLOAT, ["N", None])
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prepared.onnx"
        quant_pre_process(named, path, skip_symbolic_shape=True)
        return onnx.load(path), features


def _quantised(
    prepared: onnx.ModelProto,
    pixels: Pixels,
    exclude: Sequence[str] = (),
    only: Sequence[str] | None = None,
) -> onnx.ModelProto:
    """Quantise the extractor but for the excluded nodes, or only some nodes."""
    after = [n.name for n in prepared.graph.node if not n.name.startswith(EXTRACTOR_SCOPE)]
    with tempfile.TemporaryDirectory() as folder:
        source, path = Path(folder) / "float.onnx", Path(folder) / "quantised.onnx"
        onnx.save(prepared, source)  # a graph handed over in memory would be changed
        try:
            quantize_static(
                source,
                path,
                _Photos(pixels),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_QUANTISED),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_quantize=None if only is None else list(only),
                nodes_to_exclude=[*exclude, *after],
                calibrate_method=CalibrationMethod.MinMax,
                extra_options={"CalibMovingAverage": True},
            )
        except OSError:
            raise
        except Exception as error:  # the quantiser raises whatever it stumbles over
            raise ModelError(
                f"export refused: ONNX Runtime cannot quantise this network "
                f"({first_line(error)}). --fp16-weights halves the file"
            ) from error
        return onnx.load(path)


class _Photos:
    """Hands photos to the calibrator, one by one."""

    def __init__(self, pixels: Pixels) -> None:
        self._left = iter(pixels)

    def get_next(self) -> dict[str, Pixels] | None:
        photo = next(self._left, None)
        return None if photo is None else {INPUT: photo[np.newaxis]}


def _layers(model: onnx.ModelProto) -> list[str]:
    """The nodes with weights, from the first to the features."""
    return [
        node.name
        for node in model.graph.node
        if node.op_type in _LAYERS and node.name.startswith(EXTRACTOR_SCOPE)
    ]


def _mean_cosine(features: Features, expected: Features) -> float:
    lengths = np.linalg.norm(features, axis=1) * np.linalg.norm(expected, axis=1)
    cosines = np.sum(features * expected, axis=1) / np.maximum(lengths, 1e-12)
    return float(np.mean(cosines))


def _as_model_file(
    quantised: onnx.ModelProto, model: onnx.ModelProto, features: str
) -> onnx.ModelProto:
    """Take off what served the quantiser, and say of the file what the float one says."""
    outputs = [output for output in quantised.graph.output if output.name != features]
    del quantised.graph.output[:]
    quantised.graph.output.extend(outputs)
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    used = {node.domain for node in quantised.graph.node}
    imports = [one for one in quantised.opset_import if one.domain in used]
    del quantised.opset_import[:]
    quantised.opset_import.extend(imports)
    quantised.producer_name = model.producer_name
    return quantised


def _verdicts(model: onnx.ModelProto, pixels: Pixels) -> NDArray[np.int64]:
    """The class of each photo, and whether it is known, (N, 2)."""
    classifier = Classifier(*parse_model(model.SerializeToString()))
    batches = np.split(pixels, range(BATCH_SIZE, len(pixels), BATCH_SIZE))
    rows = [
        np.column_stack(
            [probabilities.argmax(axis=1), familiarity >= classifier.info.known_threshold]
        )
        for probabilities, familiarity in map(classifier.run, batches)
    ]
    return np.concatenate(rows)


def _most_harmful(model: onnx.ModelProto, pixels: Pixels) -> list[str]:
    """The layers that, alone in 8 bits, move the features most, worst first."""
    prepared, features = _prepare(model)
    expected = run_graph(prepared, features, pixels)
    readers = {node.input[0]: node for node in prepared.graph.node if node.input}
    cosines: dict[str, float] = {}
    layers = set(_layers(prepared))
    nodes = [node for node in prepared.graph.node if node.name in layers]
    with track(len(nodes), "int8: layers that hurt", "layers") as advance:
        for node in nodes:
            reader = readers.get(node.output[0])
            pair = [node.name, reader.name] if reader is not None else [node.name]
            alone = _quantised(prepared, pixels, only=pair)
            name = node.name.removeprefix(f"{EXTRACTOR_SCOPE}network/").rpartition("/")[0]
            cosines[name] = _mean_cosine(run_graph(alone, features, pixels), expected)
            advance(len(cosines))
    return sorted(cosines, key=lambda name: cosines[name])[:_BLAMED]
