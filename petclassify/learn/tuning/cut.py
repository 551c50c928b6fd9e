"""A network cut in two: the frozen part below, the open part above.

The frozen part needs no gradients, so any engine may run it, once per view, and what it
gives for a view that comes again can be kept. torch.fx records the network as a graph;
whatever depends on an open parameter is the open part. Where a network cannot be recorded,
or no single value lies between its parts, nothing is cut off: its frozen layers then run in
torch with the others, still without gradients.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from timm.models._features_fx import get_notrace_functions, get_notrace_modules
from torch import fx, nn

from petclassify.learn.backbones.backbone import FeatureExtractor
from petclassify.learn.tuning.kept_biases import compute_biases_anew

log = logging.getLogger(__name__)

# What tracing raises on code that decides by values that are only known when it runs.
_TRACING_ERRORS = (fx.proxy.TraceError, TypeError, RuntimeError, AttributeError, AssertionError)


@dataclass(frozen=True)
class Cut:
    """A feature extractor in two parts, which share its parameters.

    Attributes:
        frozen: pixels to what the open part takes; None where nothing was cut off.
        open: to features, (N, num_features).

    """

    frozen: nn.Module | None
    open: nn.Module


def cut(extractor: FeatureExtractor) -> Cut:
    """Cut a feature extractor at the last value that all of its open part comes through."""
    if not any(not parameter.requires_grad for parameter in extractor.parameters()):
        return Cut(None, extractor)
    compute_biases_anew(extractor)
    whole = traced(extractor)
    if whole is None:
        return Cut(None, extractor)
    graph = whole.graph
    opened = _depending_on_open_parameters(extractor, graph)
    frozen = [node for node in graph.nodes if node not in opened and node.op.startswith("call")]
    for node in reversed(frozen):
        above = _needed_above(graph, node)
        if above is not None:
            return Cut(
                fx.GraphModule(extractor, _copy_below(graph, node)),
                fx.GraphModule(extractor, _copy_above(graph, node, above)),
            )
    return Cut(None, extractor)


def traced(module: nn.Module) -> fx.GraphModule | None:
    """A module as a graph, which shares its parameters; None if torch.fx cannot trace it."""
    try:
        return fx.GraphModule(module, _Tracer().trace(module))
    except _TRACING_ERRORS as error:
        log.debug("torch.fx cannot trace %s: %s", type(module).__name__, error)
        return None


class _Tracer(fx.Tracer):
    """Traces timm's networks: modules that timm marks are taken as they are."""

    def __init__(self) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self._whole = tuple(get_notrace_modules())

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return super().is_leaf_module(m, module_qualified_name) or isinstance(m, self._whole)


def _depending_on_open_parameters(root: nn.Module, graph: fx.Graph) -> set[fx.Node]:
    opened: set[fx.Node] = set()
    for node in graph.nodes:
        target: object = None
        if node.op == "call_module":
            target = root.get_submodule(str(node.target))
        elif node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            target = getattr(root.get_submodule(owner), name)
        if any(source in opened for source in node.all_input_nodes) or _is_open(target):
            opened.add(node)
    return opened


def _is_open(target: object) -> bool:
    if isinstance(target, nn.Module):
        return any(parameter.requires_grad for parameter in target.parameters())
    return isinstance(target, torch.Tensor) and target.requires_grad


def _needed_above(graph: fx.Graph, cut_node: fx.Node) -> set[fx.Node] | None:
    """What the output needs besides a node's value; None where it needs the pixels again."""
    (waiting,) = ([node] for node in graph.nodes if node.op == "output")
    needed: set[fx.Node] = set()
    while waiting:
        node = waiting.pop()
        if node.op == "placeholder":
            return None
        if node is not cut_node and node not in needed:
            needed.add(node)
            waiting += node.all_input_nodes
    return needed


def _copy_below(graph: fx.Graph, cut_node: fx.Node) -> fx.Graph:
    """The graph up to a node, which becomes its output."""
    below = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        copies[node] = below.node_copy(node, copies.__getitem__)
        if node is cut_node:
            below.output(copies[node])
            break
    return below


def _copy_above(graph: fx.Graph, cut_node: fx.Node, needed: set[fx.Node]) -> fx.Graph:
    """The graph from a node on, which becomes its input."""
    above = fx.Graph()
    copies = {cut_node: above.placeholder("frozen_output")}
    for node in graph.nodes:
        if node in needed:
            copies[node] = above.node_copy(node, copies.__getitem__)
    return above
