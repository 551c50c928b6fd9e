"""A small network with weights, on small drawn pets, for tests that train."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from petclassify.config import FitConfig, TrainConfig
from petclassify.learn.preflight import check_request
from petclassify.learn.train import TrainResult, train

BACKBONE = "test_resnet"  # timm's own, of 400,000 weights: a fit takes seconds


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the backbone, in a file, as a stand-in for pretrained ones."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model(BACKBONE, num_classes=2).state_dict(), path)
    return path


@pytest.fixture
def fit(
    drawn_pets: Path, weights: Path, feature_cache: Path, tmp_path: Path
) -> Callable[..., TrainResult]:
    """Train on the drawn pets at 64 pixels, with the given levers; `out` names the run."""

    def run(out: str = "run", **given: object) -> TrainResult:
        levers = {field.name for field in dataclasses.fields(FitConfig)}
        plan = {name: value for name, value in given.items() if name in levers}
        others = {name: value for name, value in given.items() if name not in levers}
        if plan.get("unfreeze") != "none":
            plan = {"unfreeze": "last", "epochs": 2, "batch_size": 16} | plan
            others = {"precision": "fp32"} | others
        usual = {"data": drawn_pets, "weights": str(weights), "image_size": 64}
        config = TrainConfig(
            **usual | {"backbone": BACKBONE} | others,
            out=tmp_path / out,
            cache=feature_cache,
            fit=FitConfig(**plan),
        )
        result = train(config, check_request(config))
        assert result is not None
        return result

    return run
