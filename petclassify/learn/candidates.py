"""The networks that could ship: the frozen backbone with its head, and the fine-tuned one.

Each is judged by photos that the judging weights never saw: the head by out-of-fold
predictions over train and val and by test, the fine-tuned network by val and test.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from petclassify.arrays import Features, Labels, Logits, Probabilities
from petclassify.config import Resize
from petclassify.errors import DivergedError, UselessFeaturesError
from petclassify.images.index import SPLITS, Split
from petclassify.learn.backbones.backbone import FeatureExtractor
from petclassify.learn.data.dataset import Dataset, Member
from petclassify.learn.data.splits import assign_folds
from petclassify.learn.frozen.engines import Forward, fastest_engine
from petclassify.learn.frozen.frozen_pass import FITTED_SPLITS, FITTED_VIEWS, FrozenPass
from petclassify.learn.head.calibration import Calibration, fit_calibration
from petclassify.learn.head.familiarity import (
    MAX_FITTED_PHOTOS,
    Familiarity,
    fit_familiarity,
    fit_familiarity_by_folds,
    spread_over_classes,
)
from petclassify.learn.head.logistic import Head, HeadSearch, fit_head, search_head
from petclassify.learn.progress import track
from petclassify.learn.tuning.batches import chunks
from petclassify.learn.tuning.finetune import FineTuned
from petclassify.learn.tuning.fit import LOWER_LR
from petclassify.learn.tuning.views import Views, plain_views
from petclassify.report.metrics import Metrics, measure, photo_losses
from petclassify.runtime.model_info import largest_probability

log = logging.getLogger(__name__)

N_FOLDS = 5
ENOUGH_JUDGES = 100
MAX_RUN_PHOTOS = 1000  # of a split, that a tuned network runs once more for their features
_BATCH_SIZE = 32


@dataclass(frozen=True)
class Candidate:
    """A network that could ship, and how it did.

    Attributes:
        extractor, head, calibration: its parts.
        is_tuned: whether it is the fine-tuned one.
        members: photos that the judging weights never saw, (N,).
        logits: theirs, (N, classes).

    """

    extractor: FeatureExtractor
    head: Head
    calibration: Calibration
    is_tuned: bool
    members: list[Member]
    logits: Logits

    @property
    def fitted_on(self) -> str:
        """Which splits the shipped weights learned from, in words."""
        return "train" if self.is_tuned else "train and val"

    @property
    def probabilities(self) -> Probabilities:
        """(N, classes), calibrated."""
        return self.calibration.probabilities(self.logits)

    def metrics(self, class_names: tuple[str, ...]) -> dict[Split, Metrics]:
        """The figures of val and, where there is one, of test."""
        labels = np.array([member.label for member in self.members])
        splits = np.array([member.split for member in self.members])
        return {
            split: measure(
                self.probabilities[splits == split], labels[splits == split], class_names
            )
            for split in SPLITS
            if split != "train" and np.any(splits == split)
        }


def frozen_candidate(
    dataset: Dataset, frozen: FrozenPass, seed: int
) -> tuple[HeadSearch, Candidate]:
    """Search the head, calibrate it, and judge every photo by a head that never saw it."""
    fitted, tested = dataset.of(*FITTED_SPLITS), dataset.of("test")
    labels = np.array([member.label for member in fitted])
    digests = [member.digest for member in fitted]
    folds = assign_folds(labels.tolist(), digests, N_FOLDS, seed)
    search = search_head(frozen.cache.get(digests, FITTED_VIEWS), labels, folds)
    test_features = frozen.cache.get([member.digest for member in tested], views=1)
    candidate = Candidate(
        extractor=frozen.backbone.extractor,
        head=search.head,
        calibration=fit_calibration(search.out_of_fold, labels),
        is_tuned=False,
        members=fitted + tested,
        logits=np.vstack([search.out_of_fold, search.head.logits(test_features[:, 0])]),
    )
    return search, candidate


def logits_on_val(dataset: Dataset, frozen: FrozenPass, head: Head) -> Logits:
    """What a head says of the validation photos, (N, classes)."""
    digests = [member.digest for member in dataset.of("val")]
    return head.logits(frozen.cache.get(digests, views=1)[:, 0])


def head_on_train(dataset: Dataset, frozen: FrozenPass, search: HeadSearch) -> Head:
    """A head of the chosen strength that never saw val, for fine-tuning to start from."""
    train = dataset.of("train")
    features = frozen.cache.get([member.digest for member in train], FITTED_VIEWS)
    return fit_head(features, np.array([member.label for member in train]), search.strength)


def familiarity_of(
    shipped: Candidate, dataset: Dataset, frozen: FrozenPass | None, resize: Resize, seed: int
) -> Familiarity:
    """What the shipped network knows, see `learn.head.familiarity`.

    Raises:
        DivergedError: it was trained until its features were of no use.

    """
    if frozen is not None and not shipped.is_tuned:
        members = clustered(dataset)
        labels = np.array([member.label for member in members])
        digests = [member.digest for member in members]
        folds = assign_folds(labels.tolist(), digests, N_FOLDS, seed)
        features = frozen.cache.get(digests, views=1)[:, 0]
        return fit_familiarity_by_folds(features, labels, folds, seed)
    engine = "torch-fp32" if frozen is None else frozen.cache.engine or "torch-fp32"
    try:
        features, labels = _features_of(shipped.extractor, dataset.of("train"), resize, engine)
        held_out, _ = _features_of(shipped.extractor, dataset.of("val"), resize, engine)
    except UselessFeaturesError as error:  # which they were not before
        raise DivergedError(
            "training diverged: the trained layers give features that are all zero or beyond all "
            f"bounds. {LOWER_LR}"
        ) from error
    return fit_familiarity(features, labels, held_out, seed)


def _features_of(
    extractor: FeatureExtractor, members: Sequence[Member], resize: Resize, engine: str
) -> tuple[Features, Labels]:
    """The features and labels of some members, every class among them.

    Args:
        extractor: in eval mode, on the CPU.
        members: about MAX_RUN_PHOTOS of them are run, of each class 20 if there are as many.
        resize: the window.
        engine: the name of one that runs it here.

    """
    labels = np.array([member.label for member in members])
    chosen = spread_over_classes(labels, MAX_RUN_PHOTOS)
    paths: list[Path] = [members[place].path for place in chosen]
    batches = chunks(range(len(paths)), _BATCH_SIZE)
    rows: list[Features] = []
    run: Forward | None = None
    with track(len(paths), "familiarity", "photos") as advance:
        for pixels in Views(plain_views(paths, resize), None, keep=False).batches(batches):
            run = run or fastest_engine(extractor, pixels.numpy(), prefer=engine).run
            rows.append(run(pixels.numpy()))
            advance(sum(map(len, rows)))
    return np.concatenate(rows), labels[chosen]


def clustered(dataset: Dataset) -> list[Member]:
    """The fitted photos whose features make a frozen network's prototypes, and set their scale.

    Of copies one, else they might be all that is taken of a rare class, and no fold holds them out.
    """
    distinct: dict[str, Member] = {}
    for member in dataset.of(*FITTED_SPLITS):
        distinct.setdefault(member.digest, member)
    members = [*distinct.values()]
    labels = np.array([member.label for member in members])
    return [members[place] for place in spread_over_classes(labels, MAX_FITTED_PHOTOS)]


@dataclass(frozen=True)
class Choice:
    """What ships, and in words why not the other; none where there was no other."""

    shipped: Candidate
    why: str = ""


def choose(frozen: Candidate | None, tuned: FineTuned | None, start: Logits | None) -> Choice:
    """Take the fine-tuned network if it beat the head that it started from, on val.

    Both calibrated, as they would ship: before that, a head may lose by its sureness alone.

    Args:
        frozen: the frozen network; None from random weights.
        tuned: the fine-tuned one; None where nothing was.
        start: (N, classes), what the head that it started from says of val; None likewise.

    """
    if tuned is None:
        assert frozen is not None, "random weights are always tuned"
        return Choice(frozen)
    best = tuned.best
    if best is None:
        assert frozen is not None, "from random weights, the first epoch is better than none"
        head_loss, *epochs = tuned.state.val_losses
        return _head_ships(frozen, "", min(epochs), head_loss)
    of_val = [member.split == "val" for member in best.members]
    labels = np.array([member.label for member in best.members])[of_val]
    if frozen is not None and start is not None:
        loss, head_loss = (
            _calibrated_loss(logits, labels) for logits in (best.logits[of_val], start)
        )
        if loss >= head_loss:
            return _head_ships(frozen, "once calibrated, ", loss, head_loss)
        why = (
            f"epoch {best.number} ships: once calibrated, its validation loss is {loss:.5f}, that "
            f"of the head alone {head_loss:.5f}"
        )
    else:
        why = f"epoch {best.number} ships: the least validation loss"
    log.info("%s. Calibrated from here on", why)
    calibration = fit_calibration(best.logits[of_val], labels)
    if len(labels) < ENOUGH_JUDGES:
        log.warning(
            "only %d validation photos chose and calibrated it, which is little to go by: none of "
            "its probabilities will pass %.2f %%",
            *(len(labels), 100 * largest_probability(calibration.doubt, best.logits.shape[1])),
        )
    shipped = Candidate(
        extractor=best.extractor,
        head=best.head,
        calibration=calibration,
        is_tuned=True,
        members=best.members,
        logits=best.logits,
    )
    return Choice(shipped, why)


def _calibrated_loss(logits: Logits, labels: Labels) -> float:
    probabilities = fit_calibration(logits, labels).probabilities(logits)
    return float(photo_losses(probabilities, labels).mean())


def _head_ships(frozen: Candidate, when: str, loss: float, head_loss: float) -> Choice:
    why = (
        f"fine-tuning did not beat the frozen head: {when}its validation loss is {loss:.5f}, that "
        f"of the head {head_loss:.5f}, so the head ships"
    )
    log.info("%s", why)
    return Choice(frozen, why)
