from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from petclassify.learn.data.splits import assign_folds
from petclassify.learn.head.logistic import SHRINKAGE_PHOTOS, STRENGTHS, fit_heads, search_head


def clouds(per_class: int, num_classes: int = 2, views: int = 1, apart: float = 1.0, seed: int = 0):
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), per_class)
    centres = apart * generator.normal(size=(num_classes, 8))
    noise = generator.normal(size=(len(labels), views, 8))
    features = (centres[labels][:, None] + noise) * np.linspace(0.5, 2, 8) + 7
    return features.astype(np.float32), labels


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_folded_head_is_the_standardised_regression(num_classes: int) -> None:
    features, labels = clouds(20_000 // num_classes, num_classes)
    (head,) = fit_heads(features, labels, (0.01,))
    expected = make_pipeline(
        StandardScaler(), LogisticRegression(C=1 / (0.01 * len(labels)), tol=1e-6)
    ).fit(features[:, 0], labels)
    scores = head.logits(features[:, 0])
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    # 20,000 photos leave little of the shrinkage, which scikit-learn's scaler does not do.
    assert SHRINKAGE_PHOTOS < 100
    np.testing.assert_allclose(shares, expected.predict_proba(features[:, 0]), atol=0.02)


def test_a_head_does_not_depend_on_the_penalty_that_was_tried_before() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(160, 2, 1280)).astype(np.float32)
    labels = np.repeat([0, 1], 80)
    features[labels == 1] += 0.2
    for from_before, strength in zip(
        fit_heads(features, labels, STRENGTHS), STRENGTHS, strict=True
    ):
        (from_nothing,) = fit_heads(features, labels, (strength,))
        expected = from_nothing.logits(features[:, 0])
        error = np.abs(from_before.logits(features[:, 0]) - expected).mean()
        assert error < 0.01 * np.abs(expected).mean(), strength


def test_out_of_fold_predictions_never_saw_the_photo() -> None:
    """Features that say nothing: held-out photos must come out at chance, fitted ones above."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 2, 64)).astype(np.float32)
    labels = generator.integers(0, 2, 300)
    folds = assign_folds(labels.tolist(), [str(i) for i in range(300)], 5, seed=0)
    search = search_head(features, labels, folds)
    assert abs(np.mean(search.out_of_fold.argmax(axis=1) == labels) - 0.5) < 0.1
    assert min(tried.train_accuracy for tried in search.tried) > 0.6


def test_the_strongest_penalty_that_is_as_good_is_taken() -> None:
    features, labels = clouds(200, apart=0.3)
    folds = assign_folds(labels.tolist(), [str(i) for i in range(400)], 5, seed=0)
    search = search_head(features, labels, folds)
    best = min(search.tried, key=lambda tried: tried.val_loss)
    assert search.strength >= best.strength
