from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from petclassify.learn.head.calibration import UNCALIBRATED, Calibration, fit_calibration
from petclassify.report.metrics import measure


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from the very probabilities that they stand for."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, 2)) * 2
    shares = UNCALIBRATED.probabilities(logits)
    return logits, (generator.random(count) > shares[:, 0]).astype(np.int64)


def test_temperature_heals_overconfidence_and_leaves_what_is_right() -> None:
    logits, labels = drawn(4000)
    assert fit_calibration(logits * 5, labels).temperature == pytest.approx(5, rel=0.15)
    assert fit_calibration(logits, labels).temperature == pytest.approx(1, rel=0.1)


def test_no_photo_is_surer_than_the_photos_that_were_judged_allow() -> None:
    for per_class in (10, 1000):
        labels = np.repeat([0, 1], per_class)
        logits = np.where(labels[:, None] == np.arange(2), 9.0, -9.0)
        sure = fit_calibration(logits, labels).probabilities(logits).max()
        assert sure == pytest.approx(1 - 0.5 / (2 * per_class + 2), abs=1e-6)


def test_one_wrong_label_costs_little() -> None:
    """2,000 photos fit the calibration; among 500 others one label is wrong."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 2500)
    logits = np.where(labels[:, None] == np.arange(2), 7.0, -7.0)
    labels[2400] = 1 - labels[2400]
    calibration = fit_calibration(logits[:2000], labels[:2000])
    names = ("cats", "dogs")
    plain = measure(UNCALIBRATED.probabilities(logits[2000:]), labels[2000:], names)
    ours = measure(calibration.probabilities(logits[2000:]), labels[2000:], names)
    assert ours.log_loss < 0.7 * plain.log_loss


def test_probabilities_sum_to_one_and_keep_their_order() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 5))
    shares = Calibration(0.5, 0.01).probabilities(logits)
    assert np.allclose(shares.sum(axis=1), 1)
    assert np.array_equal(shares.argsort(axis=1), logits.argsort(axis=1))


@pytest.mark.parametrize("spread", [0.3, 3.0, 30.0])
def test_where_it_is_fitted_log_loss_rises_by_no_more_than_the_doubt_costs(spread: float) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 300)
    logits = generator.normal(size=(300, 3)) + spread * np.eye(3)[labels]
    calibration = fit_calibration(logits, labels)
    names = ("cats", "dogs", "birds")
    plain = measure(UNCALIBRATED.probabilities(logits), labels, names).log_loss
    ours = measure(calibration.probabilities(logits), labels, names).log_loss
    assert ours <= plain - np.log1p(-calibration.doubt) + 1e-9


def test_the_temperature_is_the_best_of_all_and_not_of_its_neighbours() -> None:
    """Of a network that is too sure and wrong on every fifth photo, of few."""
    generator = np.random.default_rng(2)
    logits = 50 * generator.normal(size=(20, 2))
    labels = logits.argmax(axis=1)
    labels[::5] = 1 - labels[::5]
    found = fit_calibration(logits, labels)
    names = ("cats", "dogs")
    best = min(
        measure(replace(found, temperature=one).probabilities(logits), labels, names).log_loss
        for one in np.geomspace(0.2, 20, 100)
    )
    ours = measure(found.probabilities(logits), labels, names).log_loss
    assert ours <= best + 1e-4
