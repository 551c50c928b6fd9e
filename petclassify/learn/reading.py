"""The one reading of every photo: what cannot be read goes, what is left is split."""

from __future__ import annotations

import logging
from collections.abc import Callable

from petclassify.config import TrainConfig
from petclassify.images.index import SPLITS
from petclassify.learn.backbones.backbone import Backbone
from petclassify.learn.data.dataset import (
    Dataset,
    allowed_unreadable,
    require_usable,
    split_dataset,
)
from petclassify.learn.data.first_read import read_once
from petclassify.learn.frozen.frozen_pass import FITTED_SPLITS, FITTED_VIEWS, FrozenPass

log = logging.getLogger(__name__)

Tell = Callable[[Dataset], None]


def read_and_split(
    dataset: Dataset,
    config: TrainConfig,
    backbone: Backbone,
    frozen: FrozenPass | None,
    tell: Tell,
) -> Dataset:
    """Read every photo, run it through the frozen backbone, and split those that can be read.

    From random weights there is nothing to run; the normalisation is then the photos' own.

    Args:
        dataset: as it was indexed.
        config: how to split, and how many photos may be unreadable.
        backbone: whose window the photos are read for.
        frozen: the pass; None from random weights.
        tell: is given the data set as soon as more is known of it.

    Raises:
        DataError: too many photos cannot be read, or the others are no usable data set.

    """
    left = allowed_unreadable(dataset.total, config.max_bad) - len(dataset.unreadable)
    if frozen is None:
        first = read_once(dataset.photos(*SPLITS), backbone.resize, left)
        dataset = _split(dataset.without(first.unreadable), config, tell)
        backbone.extractor.normalise_by(*first.channels(m.digest for m in dataset.of("train")))
        return dataset
    requests = [(dataset.photos(*FITTED_SPLITS), FITTED_VIEWS), (dataset.photos("test"), 1)]
    return _split(dataset.without(frozen.run(requests, left)), config, tell)


def _split(dataset: Dataset, config: TrainConfig, tell: Tell) -> Dataset:
    """Say what was left out, refuse a set that lost too much, and split the others."""
    tell(dataset)
    if dataset.unreadable:
        log.warning(
            "%d of %d photos cannot be read; data.json lists them",
            len(dataset.unreadable),
            dataset.total,
        )
    require_usable(dataset, config.max_bad)
    dataset = split_dataset(dataset, config)
    tell(dataset)
    return dataset
