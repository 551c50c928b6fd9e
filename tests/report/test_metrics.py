from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from petclassify.report.metrics import expected_calibration_error, measure


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
