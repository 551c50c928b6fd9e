from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from petclassify.errors import ModelError, NoActivationMapsError
from petclassify.learn.backbones.backbone import FeatureExtractor, empty_backbone
from petclassify.learn.grad_cam import GradCam, gradient_map
from petclassify.learn.network import Network
from petclassify.learn.onnx_graph import find_activations, to_onnx
from petclassify.learn.train import TrainResult
from petclassify.runtime.explain import Explainer
from petclassify.runtime.model_file import HEAD_WEIGHT
from tests.conftest import Outcome


def network_of(name: str, side: int) -> Network:
    torch.manual_seed(0)
    backbone = empty_backbone(name, side)
    return Network(backbone.extractor, backbone.num_features, 2, 1).eval()


@pytest.mark.parametrize(
    ("name", "side"), [("vgg11", 64), ("convnext_atto", 64), ("vit_tiny_patch16_224", 64)]
)
def test_every_kind_of_network_shows_places(name: str, side: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    heat = gradient_map(network_of(name, side), pixels, 0)
    assert heat.shape[0] == heat.shape[1] > 1
    assert heat.min() >= 0
    assert heat.max() == 1


@pytest.mark.parametrize(
    ("name", "has_maps"),
    [
        ("resnet18", True),
        ("tf_efficientnet_lite0", True),
        ("zoo/nin", True),
        ("convnext_atto", False),
        ("vit_tiny_patch16_224", False),
    ],
)
def test_only_the_mean_of_a_map_counts_as_activations(name: str, *, has_maps: bool) -> None:
    side = 192 if name == "zoo/nin" else 64
    graph = to_onnx(network_of(name, side), (side, side, 3), ["probabilities", "familiarity"])
    assert (find_activations(graph, HEAD_WEIGHT) is not None) == has_maps


@pytest.mark.parametrize("side", [8, 16])
def test_a_map_of_one_position_shows_nothing(side: int) -> None:
    """As timm's VGG pools what its convolutions of seven have made one position."""
    layers = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    extractor = FeatureExtractor(layers, (0.5,) * 3, (0.5,) * 3)
    network = Network(extractor, 4, 2, 1).eval()
    graph = to_onnx(network, (side, side, 3), ["probabilities", "familiarity"])
    assert (find_activations(graph, HEAD_WEIGHT) is not None) == (side == 16)


def test_gradients_agree_with_the_activation_maps(
    fit: Callable[..., TrainResult], drawn_pets: Path
) -> None:
    """On a pooled linear head Grad-CAM is the class activation map."""
    run = fit(unfreeze="none", image_size=128).run
    photo = sorted(drawn_pets.glob("*/*"))[0]
    exact, by_gradient = (
        Explainer.load(run).explain(photo),
        GradCam.load(run / "checkpoint.safetensors", run).explain(photo),
    )
    assert by_gradient.prediction == exact.prediction
    assert exact.heat.any()
    np.testing.assert_allclose(by_gradient.heat, exact.heat, atol=2e-3)


def test_the_command_falls_back_on_gradients(
    petclassify: Callable[..., Outcome], drawn_pets: Path, feature_cache: Path
) -> None:
    trained = petclassify(
        *("train", drawn_pets, "--backbone", "zoo/lenet5", "--epochs", "1", "--out", "run"),
        *("--cache", feature_cache),
    )
    assert trained.code == 0, trained.err
    with pytest.raises(NoActivationMapsError):
        Explainer.load("run")
    photo = sorted(drawn_pets.glob("*/*"))[0]
    done = petclassify("explain", photo, "--model", "run")
    assert done.code == 0, done.err
    with Image.open(Path("explained") / f"{photo.stem}.png") as picture:
        assert picture.mode == "RGB"
    assert "where it looked" in Path("run/report.html").read_text()


def test_a_checkpoint_of_another_run_explains_nothing(
    fit: Callable[..., TrainResult], copied: Callable[[Path], Path]
) -> None:
    first, second = fit(unfreeze="none").run, fit("other", unfreeze="none", seed=1).run
    mixed = copied(first)
    (mixed / "checkpoint.safetensors").write_bytes((second / "checkpoint.safetensors").read_bytes())
    with pytest.raises(ModelError, match="is of another run"):
        GradCam.load(mixed / "checkpoint.safetensors", mixed)
