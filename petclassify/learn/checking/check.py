"""`petclassify data check`: what is wrong with a data set, before anything is learned from it.

    every file read -> copies, sizes, balance -> frozen features -> out-of-fold predictions
        -> labels in doubt, photos like no class

All splits are judged together, by heads that saw neither the photo nor a copy of it. Nothing
in the data set is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from petclassify.config import TrainConfig
from petclassify.errors import ImageError
from petclassify.images.check import check_files
from petclassify.images.findings import FileCheck, Unreadable
from petclassify.images.index import Index
from petclassify.learn.backbones.backbone import load_backbone
from petclassify.learn.candidates import N_FOLDS
from petclassify.learn.checking.label_check import MIN_PHOTOS, judge_labels, likeness_to_others
from petclassify.learn.data.splits import assign_folds, distinct_per_class
from petclassify.learn.frozen.cache_place import cache_folder
from petclassify.learn.frozen.feature_cache import FeatureCache
from petclassify.learn.frozen.frozen_pass import FITTED_VIEWS, FrozenPass
from petclassify.learn.head.logistic import search_head
from petclassify.learn.progress import track
from petclassify.report.check_result import CheckResult, LabelCheck

_MIN_ACCURACY = 0.7  # below, most doubts are the classifier's own
_MIN_OF_CLASS = 2  # distinct photos, so that a head that did not see one has seen another


def check(config: TrainConfig, index: Index) -> CheckResult:
    """Look for what is wrong with a data set.

    Args:
        config: data, backbone, weights, image_size, seed and cache count here.
        index: the data set, as `learn.preflight.check_request` read it.

    Raises:
        PetclassifyError: the backbone, its weights or the cache cannot be used.

    """
    backbone = load_backbone(config.backbone, config.weights, config.image_size)
    total = sum(map(len, index.splits.values()))
    with track(total, "files", "files") as advance:
        files = check_files(index, backbone.resize.crop, advance)
    frozen = FrozenPass(backbone, FeatureCache.open(cache_folder(config.cache), backbone))
    files = _without_features(files, index, frozen)
    too_few = _too_few(files, index.class_names)
    notes = files.notes
    labels = None
    if too_few:
        notes += (
            f"labels were not judged: the class {too_few} has fewer than {_MIN_OF_CLASS} "
            "distinct photos that can be read",
        )
    else:
        labels = _check_labels(files, index.class_names, frozen, config.seed)
        if labels.accuracy < _MIN_ACCURACY:
            notes += (
                f"the classifier shares only {labels.accuracy:.0%} of the labels, so what it "
                "says of them is worth little; another --backbone may tell the classes apart",
            )
        if not labels.thresholds:
            notes += (
                "photos unlike the others were not looked for, since fewer than "
                f"{MIN_PHOTOS} can be read",
            )
    if index.ignored:
        beside = ", ".join(folder.name for folder in index.ignored)
        notes += (f"not looked at, since no split of class folders is called so: {beside}",)
    return CheckResult(
        index.root, index.class_names, index.flat, config.backbone, files, labels, notes
    )


def _without_features(files: FileCheck, index: Index, frozen: FrozenPass) -> FileCheck:
    """Bring all features into the cache; move what changed or broke meanwhile to unreadable."""
    paths = {photo.digest: index.root / photo.name for photo in files.photos}
    failed: dict[str, ImageError] = {}
    if paths:
        failed = frozen.run([(paths, FITTED_VIEWS)], max_unreadable=len(paths))
    if not failed:
        return files
    kept = [place for place, photo in enumerate(files.photos) if photo.digest not in failed]
    broken = tuple(
        Unreadable(photo.name, failed[photo.digest].kind, failed[photo.digest].reason)
        for photo in files.photos
        if photo.digest in failed
    )
    return replace(
        files,
        photos=tuple(files.photos[place] for place in kept),
        groups=tuple(files.groups[place] for place in kept),
        unreadable=files.unreadable + broken,
    )


def _too_few(files: FileCheck, class_names: Sequence[str]) -> str | None:
    """The first class without enough distinct photos; folds count a photo for one class only."""
    labels = [class_names.index(photo.class_name) for photo in files.photos]
    distinct = distinct_per_class(labels, files.groups)
    return next(
        (name for label, name in enumerate(class_names) if distinct[label] < _MIN_OF_CLASS), None
    )


def _check_labels(
    files: FileCheck, class_names: Sequence[str], frozen: FrozenPass, seed: int
) -> LabelCheck:
    label_of = {name: label for label, name in enumerate(class_names)}
    names = [photo.name for photo in files.photos]
    labels = np.array([label_of[photo.class_name] for photo in files.photos])
    features = frozen.cache.get([photo.digest for photo in files.photos], FITTED_VIEWS)
    folds = assign_folds(labels.tolist(), files.groups, N_FOLDS, seed)
    logits = search_head(features, labels, folds).out_of_fold
    likeness = likeness_to_others(features[:, 0], labels, folds)
    return judge_labels(names, labels, logits, likeness, class_names)
