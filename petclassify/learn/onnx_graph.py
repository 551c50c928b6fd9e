"""From torch modules to ONNX graphs that every runtime of the last years reads.

The exporter that traces (`dynamo=False`) is used: for these networks it takes 0.7 s
where the newer one takes 8 s, and the parity gate in `learn.export.export` checks its result
on real photos. TensorFlow-style "same" padding, which it would record as arithmetic on
shapes, is made static first; ONNX Runtime then runs the graph a third faster.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from timm.layers import Conv2dSame, get_same_padding
from torch import Tensor, nn

from petclassify.arrays import Pixels
from petclassify.errors import ModelError, first_line
from petclassify.runtime.model_file import INPUT
from petclassify.runtime.onnx_wire import with_outputs

# Read by onnxruntime 1.18 and onnxruntime-web; IR 8 goes with it.
OPSET = 17
# The tracer names a node by the modules that it lies in.
EXTRACTOR_SCOPE = "/extractor/"
BATCH_SIZE = 8  # small batches stay in the processor's cache: three times faster than one of 64


def to_onnx(
    module: nn.Module, pixels_shape: tuple[int, ...], output_names: list[str]
) -> onnx.ModelProto:
    """Export a module that takes uint8 pixels, with the number of photos left open.

    Args:
        module: in eval mode; (N, height, width, 3) uint8 -> one tensor per output name.
        pixels_shape: (height, width, 3).
        output_names: names of the outputs, in the module's order.

    Returns:
        The graph, its input called `images`.

    Raises:
        ModelError: torch cannot export it.

    """
    example = torch.zeros(2, *pixels_shape, dtype=torch.uint8)
    static = _with_static_padding(module, example)
    buffer = io.BytesIO()
    names = [INPUT, *output_names]
    try:
        with warnings.catch_warnings(), torch.inference_mode(), _no_graph_shown():
            warnings.simplefilter("ignore")  # the tracer's own deprecation and constant notices
            torch.onnx.export(
                static,
                (example,),
                buffer,  # type: ignore[arg-type]  # the tracing exporter takes streams too
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=output_names,
                dynamic_axes={name: {0: "N"} for name in names},
            )
    except Exception as error:  # the tracer raises whatever it stumbles over
        reason = first_line(error).partition(". Please feel free")[0]  # to ask torch for support
        raise ModelError(
            f"torch cannot export this network to ONNX ({reason}). Use another --backbone"
        ) from error
    return onnx.load_from_string(buffer.getvalue())


@contextmanager
def _no_graph_shown() -> Iterator[None]:
    """Keep the tracer from printing all of a graph that fails, hundreds of lines, on stdout.

    It should unless `verbose`, but takes its log to be on.
    """
    name = "_jit_onnx_log"
    show = getattr(torch._C, name)
    setattr(torch._C, name, lambda *_: None)
    try:
        yield
    finally:
        setattr(torch._C, name, show)


def find_activations(model: onnx.ModelProto, head_weight: str) -> str | None:
    """The tensor whose mean over all positions is what the head takes, if that is how it is made.

    Args:
        model: exported by `to_onnx`.
        head_weight: the initializer of the linear head.

    Returns:
        The tensor's name, for `runtime.explain`; None where other layers lie between, or where
        there is one position only.

    """
    graph = model.graph
    made_by = {output: node for node in graph.node for output in node.output}
    head = next(node for node in graph.node if head_weight in node.input)
    node = made_by.get(head.input[0])
    while node is not None and node.op_type in {"Flatten", "Reshape", "Squeeze", "Identity"}:
        node = made_by.get(node.input[0])
    if node is None:
        return None
    if node.op_type != "GlobalAveragePool" and not _is_mean_over_positions(node):
        return None
    name: str = node.input[0]
    session = onnxruntime.InferenceSession(with_outputs(model.SerializeToString(), [name]))
    (pixels,) = session.get_inputs()
    (_, *shape) = session.run([name], {pixels.name: np.zeros((1, *pixels.shape[1:]), np.uint8)})[
        0
    ].shape
    return name if min(shape) > 1 else None


def _is_mean_over_positions(node: onnx.NodeProto) -> bool:
    """Whether it is the mean over the height and width of (N, C, H, W) or (N, H, W, C)."""
    axes = next((list(a.ints) for a in node.attribute if a.name == "axes"), [])
    return node.op_type == "ReduceMean" and axes in ([2, 3], [-2, -1], [1, 2])


def _with_static_padding(module: nn.Module, example: Tensor) -> nn.Module:
    """Copy a module with each "same" convolution as a fixed padding and a plain convolution."""
    module = copy.deepcopy(module)
    sizes: dict[str, torch.Size] = {}
    hooks = [
        child.register_forward_pre_hook(
            lambda _, args, name=name: sizes.__setitem__(name, args[0].shape[-2:])
        )
        for name, child in module.named_modules()
        if isinstance(child, Conv2dSame)
    ]
    with torch.inference_mode():
        module(example)
    for hook in hooks:
        hook.remove()
    for name, (height, width) in sizes.items():
        same = module.get_submodule(name)
        assert isinstance(same, nn.Conv2d)
        down = get_same_padding(height, same.kernel_size[0], same.stride[0], same.dilation[0])
        across = get_same_padding(width, same.kernel_size[1], same.stride[1], same.dilation[1])
        plain = nn.Conv2d(
            same.in_channels,
            same.out_channels,
            (same.kernel_size[0], same.kernel_size[1]),
            (same.stride[0], same.stride[1]),
            dilation=(same.dilation[0], same.dilation[1]),
            groups=same.groups,
            bias=same.bias is not None,
        )
        plain.load_state_dict(same.state_dict())
        padding = (across // 2, across - across // 2, down // 2, down - down // 2)
        module.set_submodule(name, nn.Sequential(nn.ZeroPad2d(padding), plain))
    return module.eval()


def run_graph(model: onnx.ModelProto, output_name: str, pixels: Pixels) -> NDArray[np.float32]:
    """Run a graph that takes `images` in ONNX Runtime: (N, height, width, 3) -> (N, ...)."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    batches = np.split(pixels, range(BATCH_SIZE, len(pixels), BATCH_SIZE))
    return np.concatenate([session.run([output_name], {INPUT: one})[0] for one in batches])
