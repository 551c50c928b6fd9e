"""The stages of a backbone, from stem to top, as timm groups its layers.

timm's `group_matcher(coarse=True)` names the stages of every network it knows; the parts of
a network of the zoo have names of their own. What is
left to do here: a last group that holds nothing but a norm (DenseNet, Swin) belongs to the
stage below it, since opening a norm alone would open nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from timm.models import group_parameters
from torch import nn

from petclassify.errors import UsageError


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: what its parameters have in common, such as `layer4`.
        parameters: their names in the network.

    """

    name: str
    parameters: tuple[str, ...]


def find_stages(network: nn.Module) -> list[Stage]:
    """Group a network's parameters into stages, stem first.

    Raises:
        UsageError: timm does not say how this network is grouped.

    """
    number_of = _group_numbers(network)
    names: dict[int, list[str]] = defaultdict(list)
    for name, _ in network.named_parameters():
        names[number_of[name]].append(name)
    groups = [names[number] for number in sorted(names)]
    dimensions = {name: parameter.ndim for name, parameter in network.named_parameters()}
    if len(groups) > 1 and all(dimensions[name] <= 1 for name in groups[-1]):
        groups[-2:] = [groups[-2] + groups[-1]]
    return [Stage(_name(group, groups), tuple(group)) for group in groups]


def _group_numbers(network: nn.Module) -> Mapping[str, int]:
    """The number of each parameter's group, stem first."""
    if isinstance(network, nn.Sequential):
        places = {name: place for place, (name, _) in enumerate(network.named_children())}
        return {name: places[name.split(".")[0]] for name, _ in network.named_parameters()}
    matcher = getattr(network, "group_matcher", None)
    try:
        rule = matcher(coarse=True) if matcher is not None else None
    except AssertionError:  # by which timm says that it groups layers only, as of RDNet
        rule = None
    if rule is None:
        raise UsageError(
            f"{type(network).__name__}: timm does not name its stages, so none can be opened. "
            "Use another --backbone, or, with pretrained weights, --unfreeze none"
        )
    numbers: Mapping[str, int] = group_parameters(network, rule, reverse=True)
    return numbers


def open_top(network: nn.Module, stages: list[Stage], count: int) -> None:
    """Let the parameters of the last `count` stages be trained, and no others."""
    opened = {name for stage in stages[len(stages) - count :] for name in stage.parameters}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in opened)


def _name(group: list[str], groups: list[list[str]]) -> str:
    """The shortest module name above a stage's first parameter that no other stage shares."""
    parts = group[0].split(".")
    others = [name for other in groups if other is not group for name in other]
    for length in range(1, len(parts)):
        prefix = ".".join(parts[:length])
        if not any(name.startswith(f"{prefix}.") for name in others):
            return prefix
    return group[0]
