"""What a network is made of, layer by layer: shapes, parameters, multiply-accumulates.

The network is run once on torch's meta device, which computes shapes and no values, so the
largest takes no memory and a moment. torch's own FlopCounterMode counts, products inside of
attention included; a multiply-accumulate is two of its operations. torchinfo, which prints
such tables, has had no release since 2023 and counts only the modules that it knows.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from petclassify.errors import UsageError, first_line
from petclassify.learn import zoo
from petclassify.learn.backbones.backbone import require_known
from petclassify.learn.zoo.layers import AtLeast

Shape = tuple[int, ...]
_BYTES = 4  # of a float32
_MAX_DIGITS = 6  # of a side; torch counts a network's numbers in 64 bits


@dataclass(frozen=True)
class Layer:
    """One module, for one image.

    Attributes:
        name: as in the network's state dict.
        kind: the module's class.
        depth: how many modules it lies in, the network not counted.
        is_leaf: whether no other module lies in it. The leaves add up to the network, but
            for what modules hold or compute themselves besides, such as attention.
        output_shape: without the batch.
        parameters: trainable numbers in it.
        macs: multiply-accumulates in it.

    """

    name: str
    kind: str
    depth: int
    is_leaf: bool
    output_shape: Shape
    parameters: int
    macs: int


@dataclass(frozen=True)
class LayerTable:
    """All modules of a network, in the order in which they run.

    Attributes:
        network: its name.
        about: of a network of the zoo, its page's docstring: the paper, and what was changed.
        input_shape: channels, height, width.
        layers: a module comes before those that lie in it.
        parameters, macs: of the whole.
        weights_bytes: of parameters and buffers.
        activations_bytes: of what all leaves put out; about what training keeps for the way
            back, sums and joins outside of the leaves left out.

    """

    network: str
    about: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    parameters: int
    macs: int
    weights_bytes: int
    activations_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def describe_network(name: str, input_shape: Shape | None, num_classes: int = 1000) -> LayerTable:
    """Describe a timm network, or one of the zoo, with its classifier.

    Args:
        name: a timm name or `zoo/NAME`.
        input_shape: channels, height, width; None takes colour and the network's own window.
        num_classes: of the classifier.

    Raises:
        UsageError: there is no such network, or it cannot take this input.

    """
    require_known(name)
    channels = 3 if input_shape is None else input_shape[0]
    with torch.device("meta"):
        if zoo.is_zoo(name):
            network: nn.Module = zoo.build(name, num_classes, channels)
            window = zoo.entry_of(name).window
        else:
            network = timm.create_model(name, num_classes=num_classes, in_chans=channels)
            window = timm.data.resolve_data_config(model=network)["input_size"][-1]
    table = describe(name, network, input_shape or (channels, window, window))
    if zoo.is_zoo(name):
        return replace(table, about=inspect.getdoc(zoo.page_of(name)) or "")
    return table


def describe(name: str, network: nn.Module, input_shape: Shape) -> LayerTable:
    """Describe any module that takes one tensor and gives one.

    Raises:
        UsageError: it cannot take this input.

    """
    counter = FlopCounterMode(display=False)
    network = network.to("meta").eval()
    layers: dict[str, Layer] = {}
    before: dict[str, list[int]] = {}

    def enter(path: str) -> None:
        before.setdefault(path, []).append(counter.get_total_flops())

    def leave(path: str, module: nn.Module, output: object) -> None:
        macs = (counter.get_total_flops() - before[path].pop()) // 2
        earlier = layers[path].macs if path in layers else 0  # a shared module runs twice
        layers[path] = Layer(
            path,
            type(module).__name__,
            path.count("."),
            next(module.children(), None) is None,
            tuple(output.shape[1:]) if isinstance(output, Tensor) else (),
            _count(module),
            macs + earlier,
        )

    hooks = []
    for path, module in _shown(network):
        hooks += [
            module.register_forward_pre_hook(lambda _, __, path=path: enter(path)),
            module.register_forward_hook(lambda m, _, out, path=path: leave(path, m, out)),
        ]
    try:
        with counter, torch.no_grad():
            network(torch.zeros(1, *input_shape, device="meta"))
    except (RuntimeError, AssertionError, ValueError) as error:
        size = "x".join(map(str, input_shape))
        raise UsageError(f"{name} cannot take {size}: {first_line(error)}") from error
    finally:
        for hook in hooks:
            hook.remove()
    ran = tuple(layers[path] for path, _ in _shown(network) if path in layers)
    tensors = [*network.parameters(), *network.buffers()]
    return LayerTable(
        name,
        "",
        input_shape,
        ran,
        _count(network),
        counter.get_total_flops() // 2,
        sum(tensor.nbytes for tensor in tensors),
        sum(_BYTES * torch.Size(layer.output_shape).numel() for layer in ran if layer.is_leaf),
    )


def parse_shape(text: str) -> Shape:
    """Channels, height and width from CxHxW.

    Raises:
        UsageError: it is anything else.

    """
    sides = text.lower().split("x")
    if len(sides) != 3 or not all(_is_side(side) for side in sides):
        raise UsageError(f"--input {text}: expected CxHxW, such as 3x224x224")
    return tuple(int(side) for side in sides)


def _is_side(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MAX_DIGITS and int(text) > 0


def _shown(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules below the network; checks and placeholders, which do nothing, left out."""
    for path, module in network.named_modules():
        if path and not isinstance(module, nn.Identity | AtLeast):
            yield path, module


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
