from __future__ import annotations

from pathlib import Path

from petclassify.learn.candidates import N_FOLDS, clustered
from petclassify.learn.data.dataset import Dataset, Member
from petclassify.learn.data.splits import assign_folds
from petclassify.learn.head.familiarity import MAX_FITTED_PHOTOS


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
