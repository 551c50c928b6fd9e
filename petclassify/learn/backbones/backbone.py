"""Backbones: any timm network, or one of the zoo, as a function from pixels to features.

timm says for each network which window, crop, filter and normalisation it was
trained with; its data config is taken as it is. The zoo's networks see the whole middle
square of a photo, by the channel means and deviations of the photos that they learn from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import timm
import timm.data
import torch
from torch import Tensor, nn

from petclassify.config import Interpolation, Resize
from petclassify.errors import ModelError, UsageError, first_line
from petclassify.learn import zoo
from petclassify.learn.backbones.timm_names import unknown_backbone
from petclassify.learn.backbones.weights import (
    load_normalisation,
    load_pretrained,
    load_zoo_tensors,
)

_PLAIN = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))  # until the photos' own are known


class FeatureExtractor(nn.Module):
    """Pixels to features: normalisation and the network without its classifier.

    Shapes: uint8 (N, height, width, 3) -> float32 (N, num_features).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).mul(255).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).mul(255).view(1, -1, 1, 1))

    def normalise_by(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take other channel means and deviations, red, green, blue, in shares of white."""
        for buffer, values in ((self.mean, mean), (self.std, std)):
            buffer.copy_(torch.tensor(values).mul(255).view(1, -1, 1, 1))

    @property
    def normalisation(self) -> dict[str, list[float]]:
        """Channel means and deviations, red, green, blue, in shares of white."""
        buffers = {"mean": self.mean, "std": self.std}
        return {name: (buffer.flatten() / 255).tolist() for name, buffer in buffers.items()}

    @property
    def mean_colour(self) -> tuple[int, int, int]:
        """Which normalisation makes zero, 0 to 255."""
        red, green, blue = self.mean.flatten().round().int().tolist()
        return red, green, blue

    def forward(self, pixels: Tensor) -> Tensor:
        images = pixels.permute(0, 3, 1, 2).float()
        features: Tensor = self.network((images - self.mean) / self.std)
        return features


@dataclass(frozen=True)
class Backbone:
    """A feature extractor, in eval mode, with what it expects of a photo."""

    name: str
    extractor: FeatureExtractor
    num_features: int
    resize: Resize

    @property
    def pixels_shape(self) -> tuple[int, int, int]:
        """(height, width, 3) of the network's window."""
        return (self.resize.crop, self.resize.crop, 3)


def load_backbone(name: str, weights: str, image_size: int | None = None) -> Backbone:
    """Build a backbone with its weights.

    Args:
        name: a timm name, with or without its tag, or `zoo/NAME`.
        weights: "pretrained" or a .safetensors or .pth file; for `zoo/NAME` a checkpoint of
            a run with that network.
        image_size: side of the window in pixels; None takes the network's own.

    Raises:
        UsageError: there is no such network, or it cannot take this window.
        ModelError: the weights are refused.
        EnvironmentFault: the weights cannot be had here.

    """
    require_known(name)
    if zoo.is_zoo(name):
        backbone = empty_backbone(name, image_size)
        load_zoo_tensors(backbone.extractor, name, Path(weights))
        return backbone
    build = _window_arguments(name, image_size)
    with _window_faults_named(name, image_size):
        network = load_pretrained(name, weights, **build)
    backbone = _from_timm(name, network, image_size)
    if weights != "pretrained":
        load_normalisation(backbone.extractor, name, Path(weights))
    return backbone


def random_backbone(name: str, image_size: int | None, seed: int) -> Backbone:
    """Build a backbone with random weights, to be trained from scratch.

    Raises:
        UsageError: see `load_backbone`.

    """
    torch.manual_seed(seed)
    return empty_backbone(name, image_size)


def empty_backbone(name: str, image_size: int | None) -> Backbone:
    """Build a backbone with whatever weights, for a checkpoint to fill."""
    require_known(name)
    if zoo.is_zoo(name):
        network = zoo.build(name, num_classes=1)
        network.head = nn.Identity()
        crop = image_size or zoo.entry_of(name).window
        extractor = FeatureExtractor(network, *_PLAIN)
        return _as_backbone(name, extractor, Resize(crop, crop, "bilinear"))
    with _window_faults_named(name, image_size):
        bare: nn.Module = timm.create_model(
            name, pretrained=False, **_window_arguments(name, image_size)
        )
    return _from_timm(name, bare, image_size)


def require_known(name: str) -> None:
    """Raise UsageError, with the nearest names, for a name that nobody knows."""
    if zoo.is_zoo(name):
        zoo.entry_of(name)
        return
    architecture, _, tag = name.partition(".")
    if timm.is_model(architecture) and (not tag or timm.is_model_pretrained(name)):
        return
    raise unknown_backbone(name, timm.list_pretrained(f"{architecture}.*") or timm.list_models())


def _from_timm(name: str, network: nn.Module, image_size: int | None) -> Backbone:
    config = timm.data.resolve_data_config(model=network)
    if config["input_size"][0] != 3:
        raise ModelError(f"{name}: takes {config['input_size'][0]} channels; photos have 3")
    crop = image_size or int(config["input_size"][-1])
    named: Interpolation = config["interpolation"]
    resize = Resize(
        shorter_side=math.floor(crop / config["crop_pct"]),
        crop=crop,
        interpolation=named if named in get_args(Interpolation) else "bicubic",
    )
    # timm's convention, which torch does not type. Encoders of language models lack it.
    reset_classifier: Any = getattr(network, "reset_classifier", None)
    if reset_classifier is None:
        raise UsageError(
            f"{name}: an encoder, which gives a photo no features. Use another --backbone"
        )
    reset_classifier(0)
    return _as_backbone(name, FeatureExtractor(network, config["mean"], config["std"]), resize)


def _as_backbone(name: str, extractor: FeatureExtractor, resize: Resize) -> Backbone:
    crop = resize.crop
    extractor.eval().requires_grad_(requires_grad=False)
    pixels = torch.zeros(1, crop, crop, 3, dtype=torch.uint8)
    try:
        with _window_faults_named(name, crop), torch.inference_mode():
            num_features = int(extractor(pixels).shape[1])
    except (RuntimeError, IndexError) as error:
        raise _no_window_of(name, crop, error) from error
    return Backbone(name, extractor, num_features, resize)


@contextmanager
def _window_faults_named(name: str, side: int | None) -> Iterator[None]:
    """Networks tell by assertions which windows they cannot take, some when they are built."""
    try:
        yield
    except AssertionError as error:
        if side is None:
            raise
        raise _no_window_of(name, side, error) from error


def _no_window_of(name: str, side: int, error: Exception) -> UsageError:
    return UsageError(f"{name} cannot take {side} x {side} pixels: {first_line(error)}")


def _window_arguments(name: str, image_size: int | None) -> dict[str, int]:
    """Networks with position embeddings are built for one window; the others take any."""
    config = timm.get_pretrained_cfg(name)
    if image_size is None or config is None or not config.fixed_input_size:
        return {}
    return {"img_size": image_size}
