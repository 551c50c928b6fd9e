from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as reference

from petclassify.learn.head.calibration import UNCALIBRATED, Calibration
from petclassify.report.metrics import (
    accuracy_by_coverage,
    expected_calibration_error,
    mean_interval,
    measure,
    reliability,
    share_interval,
    uncalibrated,
)


def judged(num_classes: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(num_classes) * 0.5, size=500)
    labels = generator.integers(0, num_classes, 500)
    return probabilities, labels


@pytest.mark.parametrize("num_classes", [2, 5])
def test_figures_are_those_of_scikit_learn(num_classes: int) -> None:
    probabilities, labels = judged(num_classes)
    names = [f"class {number}" for number in range(num_classes)]
    predicted = probabilities.argmax(axis=1)
    found = measure(probabilities, labels, names)
    assert found.count == 500
    assert found.accuracy == pytest.approx(reference.accuracy_score(labels, predicted))
    assert found.log_loss == pytest.approx(reference.log_loss(labels, probabilities))
    assert found.confusion == reference.confusion_matrix(labels, predicted).tolist()
    precision, recall, f1, count = reference.precision_recall_fscore_support(labels, predicted)
    for number, name in enumerate(names):
        one = found.per_class[name]
        assert (one.precision, one.recall, one.f1, one.count) == pytest.approx(
            (precision[number], recall[number], f1[number], count[number])
        )


def test_calibration_error_of_known_gaps() -> None:
    always_80 = np.tile([0.8, 0.2], (100, 1))
    labels = np.array([0] * 80 + [1] * 20)
    assert expected_calibration_error(always_80, labels) == pytest.approx(0)
    labels = np.array([0] * 50 + [1] * 50)
    assert expected_calibration_error(always_80, labels) == pytest.approx(0.3)


def test_a_class_without_photos_has_no_figures() -> None:
    found = measure(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 0]), ["cats", "dogs"])
    assert found.per_class["dogs"].recall is None
    assert found.per_class["dogs"].count == 0


def test_a_sure_mistake_costs_a_finite_loss() -> None:
    assert measure(np.array([[1.0, 0.0]]), np.array([1]), ["a", "b"]).log_loss < 40


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (1, 1), (3, 17), (497, 500)])
def test_shares_lie_within_the_interval_of_wilson(hits: int, count: int) -> None:
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    assert share_interval(hits, count) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_the_interval_of_a_mean_holds_it_95_times_in_100() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        low, high = mean_interval(generator.exponential(size=150))
        held += low <= 1 <= high
    assert 88 <= held <= 100


def test_calibration_can_be_undone() -> None:
    logits = np.random.default_rng(0).normal(size=(100, 4)) * 3
    calibrated = Calibration(2.5, 0.01).probabilities(logits)
    found = uncalibrated(calibrated, 2.5, 0.01)
    np.testing.assert_allclose(found, UNCALIBRATED.probabilities(logits), atol=1e-9)


def test_a_sure_mistake_is_not_made_surer_by_what_a_model_file_cannot_resolve() -> None:
    logits = np.array([[36.0, 0.0], [0.0, 36.0]])
    calibrated = Calibration(1.3, 1 / 2002).probabilities(logits).astype(np.float32)
    found = measure(uncalibrated(calibrated, 1.3, 1 / 2002), np.array([1, 0]), ["a", "b"])
    assert 25 < found.log_loss < 33


def test_the_surest_photos_are_answered_first() -> None:
    probabilities = np.array([[0.6, 0.4], [0.99, 0.01], [0.2, 0.8], [0.55, 0.45]])
    accuracy = accuracy_by_coverage(probabilities, np.array([1, 0, 1, 0]))
    np.testing.assert_allclose(accuracy, [1, 1, 2 / 3, 3 / 4])


def test_reliability_counts_every_photo_once() -> None:
    probabilities, labels = judged(3)
    bins = reliability(probabilities, labels)
    assert sum(one.count for one in bins) == 500
    right = sum(one.count * one.accuracy for one in bins)
    assert right == pytest.approx(np.sum(probabilities.argmax(axis=1) == labels))
