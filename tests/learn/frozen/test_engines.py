from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from petclassify.errors import ModelError
from petclassify.images.photo import read_pixels
from petclassify.learn.backbones.backbone import Backbone, load_backbone
from petclassify.learn.frozen import engines
from petclassify.learn.onnx_graph import to_onnx


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return load_backbone("tf_efficientnet_lite0", "pretrained", 96)


@pytest.fixture(scope="module")
def pixels(backbone: Backbone, drawn_pets: Path) -> np.ndarray:
    photos = sorted(drawn_pets.rglob("*.jpg"))[::6]
    return np.stack([read_pixels(photo, backbone.resize) for photo in photos])


def test_every_engine_gives_the_features_of_torch(backbone: Backbone, pixels: np.ndarray) -> None:
    with torch.inference_mode():
        expected = backbone.extractor(torch.from_numpy(pixels)).numpy()
    for name, build in engines._builders(backbone.extractor, backbone.pixels_shape).items():
        features = build()(pixels)
        assert features.shape == expected.shape
        least = 0.99 if name.endswith("bf16") else 0.99999
        assert engines._least_cosine(features, expected) > least, name


class Broken(torch.nn.Module):
    """Gives what is no number."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.float().mean(dim=(1, 2)) * float("nan")


def test_weights_that_give_no_numbers_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ModelError, match="not finite"):
        engines.fastest_engine(Broken().eval(), pixels)


def test_weights_of_nothing_but_zeros_are_refused(pixels: np.ndarray) -> None:
    class Empty(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.float().mean(dim=(1, 2)) * 0

    with pytest.raises(ModelError, match="all zero"):
        engines.fastest_engine(Empty().eval(), pixels)


class Scaled(torch.nn.Module):
    """Gives the mean colour of a photo, times something; nothing for the first of a batch."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = images.float().mean(dim=(1, 2)) * self.factor
        return features * (torch.arange(len(images)) > 0).float().unsqueeze(1)


def test_tiny_features_and_a_photo_without_any_are_raced_as_others(pixels: np.ndarray) -> None:
    engine = engines.fastest_engine(Scaled(1e-25).eval(), pixels)
    assert engine.images_per_second > 0


def test_weights_of_features_too_large_to_square_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ModelError, match="larger than 1e\\+12"):
        engines.fastest_engine(Scaled(1e20).eval(), pixels)


@pytest.mark.parametrize("prefer", [None, "broken"])
def test_an_engine_that_gives_no_numbers_loses(
    backbone: Backbone, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch, prefer: str | None
) -> None:
    honest = engines._builders(backbone.extractor, backbone.pixels_shape)

    def with_nan(*_: object) -> dict[str, object]:
        def build():
            run = honest["torch-fp32"]()
            return lambda pixels: run(pixels) * np.nan

        return {"broken": build, "torch-fp32": honest["torch-fp32"]}

    monkeypatch.setattr(engines, "_builders", with_nan)
    assert engines.fastest_engine(backbone.extractor, pixels, prefer).name == "torch-fp32"


def fails() -> engines.Forward:
    raise RuntimeError("stoi")  # as OpenVINO where it cannot count the processors


@pytest.mark.parametrize("prefer", [None, "openvino-bf16"])
def test_an_engine_that_fails_here_is_left_out(
    backbone: Backbone,
    pixels: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    prefer: str | None,
) -> None:
    honest = engines._builders(backbone.extractor, backbone.pixels_shape)
    builders = {"openvino-bf16": fails, "torch-fp32": honest["torch-fp32"]}
    monkeypatch.setattr(engines, "_builders", lambda *_: builders)
    caplog.set_level("INFO")
    assert engines.fastest_engine(backbone.extractor, pixels, prefer).name == "torch-fp32"
    assert "openvino-bf16 left out, it fails here: stoi" in caplog.text


@pytest.mark.attack("Surroundings")
def test_openvino_is_not_asked_where_it_would_count_processors_for_ever(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "openvino-bf16" in engines._builders(backbone.extractor, backbone.pixels_shape)
    monkeypatch.setattr(engines, "_PROCESSORS", (tmp_path / "none",))  # as without /proc and /sys
    assert "openvino-bf16" not in engines._builders(backbone.extractor, backbone.pixels_shape)


def test_a_network_that_cannot_be_exported_is_refused_at_once(
    pixels: np.ndarray, capfd: pytest.CaptureFixture[str]
) -> None:
    class Unexportable(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            spectrum = torch.fft.rfft(images.float().mean(dim=(1, 2)))
            return torch.special.bessel_j0(spectrum.abs())

    with pytest.raises(ModelError, match="cannot export this network"):
        engines.fastest_engine(Unexportable().eval(), pixels)
    assert capfd.readouterr().out == ""


def test_a_fast_but_wrong_engine_loses(
    backbone: Backbone, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = engines._builders(backbone.extractor, backbone.pixels_shape)
    noise = np.random.default_rng(0).normal(size=(8, backbone.num_features)).astype(np.float32)
    builders = {"cheat": lambda: lambda _: noise, "onnxruntime": honest["onnxruntime"]}
    monkeypatch.setattr(engines, "_builders", lambda *_: builders)
    assert engines.fastest_engine(backbone.extractor, pixels).name == "onnxruntime"


def test_the_engine_chosen_before_is_taken_unraced(backbone: Backbone, pixels: np.ndarray) -> None:
    assert (
        engines.fastest_engine(backbone.extractor, pixels, prefer="torch-fp32").name == "torch-fp32"
    )
    assert engines.fastest_engine(backbone.extractor, pixels, prefer="gone").name != "gone"


def test_same_padding_is_static_in_the_graph_and_costs_nothing(
    backbone: Backbone, pixels: np.ndarray
) -> None:
    graph = to_onnx(backbone.extractor, backbone.pixels_shape, ["features"])
    assert not [node.op_type for node in graph.graph.node if node.op_type == "Shape"]
    assert graph.opset_import[0].version <= 21
    assert graph.ir_version <= 10
    onnx.checker.check_model(graph)
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
