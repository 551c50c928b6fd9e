from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from petclassify import Classifier
from petclassify.learn.head.familiarity import (
    KNOWN_SHARE,
    MAX_PROTOTYPE_BYTES,
    MAX_PROTOTYPES,
    Familiarity,
    fit_familiarity,
    fit_familiarity_by_folds,
    spread_over_classes,
)
from petclassify.learn.network import Network, load_checkpoint
from petclassify.learn.train import TrainResult
from tests.conftest import REPOSITORY


def clouds(count: int, seed: int, num_features: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Two classes around two directions."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    features = 0.3 * generator.normal(size=(count, num_features))
    features[np.arange(count), labels] += 5
    return features.astype(np.float32), labels


def scored(known: Familiarity, features: np.ndarray) -> np.ndarray:
    """Familiarity as the graph computes it."""
    network = Network(nn.Identity(), features.shape[1], 2, len(known.prototypes))
    network.prototypes.copy_(torch.from_numpy(known.prototypes))
    network.typical.fill_(known.typical)
    with torch.inference_mode():
        return network(torch.from_numpy(features))[1].numpy()


def test_what_is_alike_is_known_and_what_is_not_is_unknown() -> None:
    train, labels = clouds(400, seed=0)
    held_out, _ = clouds(1000, seed=1)
    known = fit_familiarity(train, labels, held_out, seed=0)
    others, _ = clouds(200, seed=2)
    assert np.mean(scored(known, others) >= known.threshold) > 0.96
    assert np.median(scored(known, others)) == pytest.approx(1, abs=0.01)
    strange = np.roll(others, 5, axis=1)
    assert np.max(scored(known, strange)) < known.threshold


def test_the_threshold_keeps_its_share_of_the_held_out_photos() -> None:
    train, labels = clouds(400, seed=0)
    held_out, _ = clouds(1000, seed=1)
    known = fit_familiarity(train, labels, held_out, seed=0)
    assert np.mean(scored(known, held_out) >= known.threshold - 1e-6) == pytest.approx(
        KNOWN_SHARE, abs=2e-3
    )


@pytest.mark.parametrize("count", [2, 6, 20])
def test_a_few_held_out_photos_do_not_make_fresh_ones_unknown(count: int) -> None:
    train, labels = clouds(400, seed=0)
    fresh, _ = clouds(1000, seed=2)
    shares = []
    for seed in range(3, 13):
        known = fit_familiarity(train, labels, clouds(count, seed)[0], seed=0)
        shares.append(np.mean(scored(known, fresh) >= known.threshold))
    assert np.mean(shares) > 0.94


def test_a_rare_class_has_its_prototypes() -> None:
    labels = np.array([0] * 5000 + [1] * 9 + [2] * 5000)
    chosen = spread_over_classes(labels, 300)
    assert np.sum(labels[chosen] == 1) == 9
    assert len(chosen) == pytest.approx(309, abs=3)
    assert np.all(np.diff(chosen) > 0)


def test_by_folds_no_photo_is_held_against_itself() -> None:
    features, labels = clouds(60, seed=0)
    by_folds = fit_familiarity_by_folds(features, labels, np.arange(60) % 5, seed=0)
    against_itself = fit_familiarity(features, labels, features, seed=0)
    assert by_folds.typical < against_itself.typical - 0.005, "there each photo is a prototype"


@pytest.mark.parametrize(
    ("classes", "num_features"), [(2, 25_088), (50, 1280), (300, 2048), (500, 64)]
)
def test_the_file_grows_by_two_megabytes_at_most(classes: int, num_features: int) -> None:
    generator = np.random.default_rng(0)
    count = max(600, 2 * classes)
    features = generator.random((count, num_features)).astype(np.float32)
    known = fit_familiarity(features, np.arange(count) % classes, features[:9], seed=0)
    assert known.prototypes.nbytes <= MAX_PROTOTYPE_BYTES
    assert len(known.prototypes) <= MAX_PROTOTYPES


def test_two_copies_of_one_photo_are_enough() -> None:
    features = np.ones((4, 3), np.float32)
    known = fit_familiarity(features, np.array([0, 0, 1, 1]), features, seed=0)
    assert scored(known, features).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("levers", [{"unfreeze": "none"}, {"unfreeze": "last", "lr": 1e-2}])
def test_the_model_file_and_the_checkpoint_know_what_they_know(
    fit: Callable[..., TrainResult], drawn_pets: Path, tmp_path: Path, levers: dict[str, object]
) -> None:
    run = fit(**levers).run
    classifier = Classifier.load(run)
    photos = sorted(drawn_pets.glob("*/*"))
    assert np.mean([classifier.predict(photo).known for photo in photos]) > 0.9
    model = load_checkpoint(run / "checkpoint.safetensors")
    assert model.known_threshold == classifier.info.known_threshold > 0
    pixels = np.stack([classifier.pixels(photo) for photo in photos[:8]])
    with torch.inference_mode():
        _, familiarity = model.network(torch.from_numpy(pixels))
    np.testing.assert_allclose(familiarity.numpy(), classifier.run(pixels)[1], atol=1e-4)


def test_a_plain_colour_is_no_pet() -> None:
    shipped = Classifier.load(REPOSITORY / "models" / "catsdogs.onnx")
    assert not shipped.predict(Image.new("RGB", (300, 200), "navy")).known
