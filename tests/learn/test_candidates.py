from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest

from petclassify.learn.backbones.backbone import FeatureExtractor
from petclassify.learn.candidates import N_FOLDS, Candidate, choose, clustered
from petclassify.learn.data.dataset import Dataset, Member
from petclassify.learn.data.splits import assign_folds
from petclassify.learn.head.calibration import UNCALIBRATED
from petclassify.learn.head.familiarity import MAX_FITTED_PHOTOS
from petclassify.learn.head.logistic import Head
from petclassify.learn.tuning.finetune import BestEpoch, FineTuned
from petclassify.learn.tuning.fit_state import FitState


def test_a_rare_class_of_copies_in_a_large_set_can_be_held_out_by_folds() -> None:
    common = [
        Member(Path(f"cats/{i}"), 0, "train", f"cat {i}") for i in range(2 * MAX_FITTED_PHOTOS)
    ]
    copies = [Member(Path(f"dogs/{i}"), 1, "train", "one dog") for i in range(200)]
    another = [Member(Path("dogs/other"), 1, "train", "another dog")]
    members = (*common, *copies[:1], *another, *copies[1:])
    chosen = clustered(
        Dataset(Path(), ("cats", "dogs"), ("train",), False, members, (), len(members))
    )
    assert {"one dog", "another dog"} <= {member.digest for member in chosen}
    labels, digests = [m.label for m in chosen], [m.digest for m in chosen]
    assert set(assign_folds(labels, digests, N_FOLDS, seed=0)) == {0, 1}


@pytest.mark.parametrize(("noise", "is_tuned"), [(1.5, False), (0.0, True)])
def test_the_tuned_network_ships_if_it_beats_the_head_as_both_would_ship(
    noise: float, is_tuned: bool
) -> None:
    """The head is three times too sure, which its calibration mends; noise nothing mends."""
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    margins = np.where(labels == 1, 1.5, -1.5) + generator.normal(size=400)
    start = np.stack([-3 * margins, 3 * margins], axis=1)
    margins = margins + np.where(labels == 1, 0.5, -0.5) + noise * generator.normal(size=400)
    members = [Member(Path(f"{i}"), int(label), "val", f"{i}") for i, label in enumerate(labels)]
    extractor, head = FeatureExtractor.__new__(FeatureExtractor), Head(np.eye(2), np.zeros(2))
    best = BestEpoch(1, extractor, head, members, np.stack([-margins, margins], axis=1))
    state = FitState((), (), math.inf, "fp32", None, "", {}, {}, {}, {})
    frozen = Candidate(extractor, head, UNCALIBRATED, False, members, start)
    choice = choose(frozen, FineTuned(state, 0.1, 0.0, best), start)
    assert choice.shipped.is_tuned == is_tuned
    loss, head_loss = map(float, re.findall(r"0\.\d{5}", choice.why))
    assert (loss < head_loss) == is_tuned
