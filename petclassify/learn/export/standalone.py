"""One graph from a photo of any size to the verdict, for users of other languages.

Input   image          uint8 (height, width, 3): RGB, upright, alpha blended over white
Output  probabilities  float32 (classes,)
Output  familiarity    float32 ()

In front of a model file's own graph stands what `images.photo.to_pixels` does: the window is
cut out and resampled as Pillow does it. Resampling along one side is a matrix product, whose
matrix the graph computes from the photo's size by Pillow's formula: first along the width,
then along the height, rounded to whole values after each. So the pixels are Pillow's own in
every runtime, but for the rare one that lies between two levels. The operator Resize is not
used: its antialiasing needs a later opset.

In 8 bits a network is not smooth: one pixel that is off by one level may move an unsure
probability by a few hundredths, so the gate is wider there.

One photo at a time: photos of different sizes make no batch. Refusing what is too large, or a
hundred times as wide as high, is left to the caller. The cost grows with the photo: its middle
is held as float32, 12 bytes a pixel.

Source: Pillow's Resample.c, precompute_coeffs; Keys 1981 for the bicubic filter, a = -0.5.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import compose, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn

from petclassify.config import Interpolation, Resize
from petclassify.errors import ModelError
from petclassify.learn.onnx_graph import OPSET
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.model_file import FAMILIARITY, INPUT, PROBABILITIES, STANDALONE_INPUT

MAX_DIFFERENCE = 0.01
MAX_INT8_DIFFERENCE = 0.05
_PREFIX = "network/"


def to_standalone(model: onnx.ModelProto, resize: Resize) -> onnx.ModelProto:
    """Put resize and crop in front of a model file's graph.

    Args:
        model: the model file's; any precision.
        resize: its window.

    """
    window = _window_graph(resize)
    window.ir_version = model.ir_version
    network = compose.add_prefix(model, _PREFIX)
    both = compose.merge_models(window, network, io_map=[("pixels", _PREFIX + INPUT)])
    both.graph.initializer.append(
        numpy_helper.from_array(torch.zeros(1, dtype=torch.int64).numpy(), "first")
    )
    for name in (PROBABILITIES, FAMILIARITY):
        both.graph.node.append(helper.make_node("Squeeze", [_PREFIX + name, "first"], [name]))
    shapes = {one.name: one.type.tensor_type.shape.dim[1:] for one in network.graph.output}
    del both.graph.output[:]
    both.graph.output.extend(
        helper.make_tensor_value_info(
            name,
            onnx.TensorProto.FLOAT,
            [one.dim_value for one in shapes[_PREFIX + name]],
        )
        for name in (PROBABILITIES, FAMILIARITY)
    )
    both.producer_name = model.producer_name
    return both


def check_standalone(
    content: bytes,
    classifier: Classifier,
    photos: Iterable[tuple[Path, Image.Image]],
    limit: float = MAX_DIFFERENCE,
) -> float:
    """Hold a standalone file against `predict` on photos at full size.

    Args:
        content: the standalone file's bytes.
        classifier: of the model file that it was made of.
        photos: where they lie, and as they are, decoded whole and upright.
        limit: of the difference.

    Returns:
        The largest difference of a probability or a familiarity.

    Raises:
        ModelError: it is more than the limit.

    """
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    differences = []
    for path, image in photos:
        found = session.run([PROBABILITIES, FAMILIARITY], {STANDALONE_INPUT: np.asarray(image)})
        expected = classifier.predict(path)
        numbers = [*expected.probabilities.values(), expected.familiarity]
        differences.append(float(np.abs(np.hstack(found) - numbers).max()))
    if not max(differences) <= limit:
        raise ModelError(
            f"export refused: on {len(differences)} photos the standalone file's numbers are up "
            f"to {max(differences):.2g} away from those of predict (limit {limit:g}). "
            "No model file was written"
        )
    return max(differences)


class Window(nn.Module):
    """What `images.photo.to_pixels` does, of shapes that are known only at run time.

    Shapes: uint8 (height, width, 3) -> uint8 (1, crop, crop, 3).
    """

    def __init__(self, resize: Resize) -> None:
        super().__init__()
        self.crop = resize.crop
        self.share = min(1.0, resize.crop / resize.shorter_side)
        self.reach, self.weigh = _FILTERS[resize.interpolation]
        self.antialias = resize.interpolation != "nearest"

    def forward(self, image: Tensor) -> Tensor:
        height, width = (torch.as_tensor(side) for side in image.shape[:2])
        window = torch.minimum(height, width).float() * self.share
        rows = self._taken(height, window)
        columns = self._taken(width, window)
        cut = image[rows[0] : rows[1], columns[0] : columns[1]].permute(2, 0, 1).float()
        wide = _rounded(cut @ self._matrix(columns, width, window).T)  # (3, rows, crop)
        pixels = _rounded(self._matrix(rows, height, window) @ wide)  # (3, crop, crop)
        return pixels.permute(1, 2, 0).to(torch.uint8).unsqueeze(0)

    def _taken(self, side: Tensor, window: Tensor) -> tuple[Tensor, Tensor]:
        """From where to where the photo has to be read: the window, and what filters reach."""
        reach = self.reach * self._stretch(window) + 1
        start = (side.float() - window) / 2
        first = (start - reach).floor().clamp(min=0).long()
        last = torch.minimum((start + window + reach).ceil().long(), side)
        return first, last

    def _stretch(self, window: Tensor) -> Tensor:
        """How many of the photo's pixels the filter's unit spans."""
        scale = window / self.crop
        return scale.clamp(min=1) if self.antialias else torch.ones_like(scale)

    def _matrix(self, taken: tuple[Tensor, Tensor], side: Tensor, window: Tensor) -> Tensor:
        """The weight of each pixel that is read in each that results, (crop, taken)."""
        start = (side.float() - window) / 2
        centres = start + (torch.arange(self.crop) + 0.5) * (window / self.crop)
        first, last = taken
        places = torch.arange(first, last).float() + 0.5  # type: ignore[call-overload]
        weights = self.weigh((places - centres[:, None]) / self._stretch(window))
        return weights / weights.sum(dim=1, keepdim=True)


def _window_graph(resize: Resize) -> onnx.ModelProto:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer's own deprecation and constant notices
        torch.onnx.export(
            Window(resize),
            (torch.zeros(300, 400, 3, dtype=torch.uint8),),
            buffer,  # type: ignore[arg-type]  # the tracing exporter takes streams too
            dynamo=False,
            opset_version=OPSET,
            input_names=[STANDALONE_INPUT],
            output_names=["pixels"],
            dynamic_axes={STANDALONE_INPUT: {0: "height", 1: "width"}},
        )
    return onnx.load_from_string(buffer.getvalue())


def _rounded(values: Tensor) -> Tensor:
    """Whole values from 0 to 255, halves upwards."""
    return (values + 0.5).floor().clamp(0, 255)


def _nearest(distance: Tensor) -> Tensor:
    """The pixel that holds the centre: the one whose own centre is half a pixel away at most."""
    return ((distance > -0.5) & (distance <= 0.5)).float()


def _bilinear(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp(min=0)


def _bicubic(distance: Tensor) -> Tensor:
    d = distance.abs()
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return torch.where(d < 1, near, torch.where(d < 2, far, torch.zeros_like(d)))


def _lanczos(distance: Tensor) -> Tensor:
    lobes = 3
    angle = distance.abs().clamp(min=1e-6) * math.pi
    weights = lobes * angle.sin() * (angle / lobes).sin() / (angle * angle)
    return torch.where(distance.abs() < lobes, weights, torch.zeros_like(distance))


_FILTERS: dict[Interpolation, tuple[int, Callable[[Tensor], Tensor]]] = {
    "nearest": (1, _nearest),
    "bilinear": (1, _bilinear),
    "bicubic": (2, _bicubic),
    "lanczos": (3, _lanczos),
}
