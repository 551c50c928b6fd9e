"""A run's report.html: the photos that it judged itself by, and what it found on the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from petclassify.errors import NoActivationMapsError
from petclassify.images.index import Sample, Split
from petclassify.learn.candidates import Candidate, clustered
from petclassify.learn.checking.data_findings import describe_data, learned_copies
from petclassify.learn.data.dataset import Dataset
from petclassify.learn.frozen.frozen_pass import FrozenPass
from petclassify.learn.head.calibration import UNCALIBRATED
from petclassify.learn.head.familiarity import Familiarity, familiarity_by
from petclassify.learn.network import TrainedModel
from petclassify.learn.runs.run_folder import RunFolder
from petclassify.report.evaluate import judge
from petclassify.report.judged import Judged
from petclassify.report.nothing import doubt_of_unknown
from petclassify.report.page import BY_MODEL_FILE, Explain, Report, write_report
from petclassify.report.verdict import HeldOut
from petclassify.runtime.classifier import Classifier
from petclassify.runtime.explain import Explainer
from petclassify.runtime.scoring import THREADS_IN_NETWORK


def write_run_report(
    folder: RunFolder,
    model: TrainedModel,
    shipped: Candidate,
    dataset: Dataset,
    frozen: FrozenPass | None,
    familiarity: Familiarity,
    command: str,
) -> None:
    """Write the page, once the model file is there.

    Args:
        folder: of the run.
        model: the trained whole.
        shipped: the candidate that it came from, with its predictions.
        dataset: split.
        frozen: the pass, if there was one.
        familiarity: as it is in the model.
        command: the line that was given.

    """
    split: Split = "test" if dataset.of("test") else "val"
    classifier = Classifier.load(folder.model, threads=THREADS_IN_NETWORK)
    judged_by = BY_MODEL_FILE
    if frozen is not None and not shipped.is_tuned:
        judged = _judged_by_features(shipped, dataset, split, frozen, familiarity)
        judged_by = (
            f"the features of training, by {frozen.cache.engine}; the model file computes in fp32"
        )
    else:
        samples = [Sample(member.path, member.label) for member in dataset.of(split)]
        judged, _ = judge(classifier, samples, dataset.root)
    of_split = [member.split == split for member in shipped.members]
    raw = UNCALIBRATED.probabilities(shipped.logits[of_split])
    learned = learned_copies(dataset, shipped, frozen)
    report = Report(
        title=folder.path.resolve().name,
        info=classifier.info,
        judged=judged,
        held_out=HeldOut.TEST if split == "test" else HeldOut.VAL,
        command=command,
        explain=_explainer(folder.model, model, classifier),
        uncalibrated=raw if len(raw) == judged.metrics.count else None,
        curves=folder.curves.read_bytes(),
        judged_by=judged_by,
        findings=(*doubt_of_unknown(classifier), *describe_data(dataset, shipped, learned)),
        learned_from=len(learned),
    )
    write_report(report, folder.report)


def _judged_by_features(
    shipped: Candidate,
    dataset: Dataset,
    split: Split,
    frozen: FrozenPass,
    familiarity: Familiarity,
) -> Judged:
    """What the features of the frozen pass give; no photo is run again."""
    places = [i for i, member in enumerate(shipped.members) if member.split == split]
    members = [shipped.members[place] for place in places]
    # A fitted photo is one of its own prototypes; what counts is how it was known without it.
    by_folds = dict(
        zip((m.digest for m in clustered(dataset)), familiarity.held_out.tolist(), strict=True)
    )
    features = frozen.cache.get([member.digest for member in members], views=1)[:, 0]
    return Judged(
        dataset.class_names,
        tuple(member.path for member in members),
        tuple(dataset.name_of(member) for member in members),
        np.array([member.label for member in members]),
        shipped.probabilities[places],
        np.array(
            [
                by_folds.get(member.digest, one)
                for member, one in zip(members, familiarity_by(familiarity, features), strict=True)
            ]
        ),
        familiarity.threshold,
    )


def _explainer(path: Path, model: TrainedModel, classifier: Classifier) -> Explain:
    try:
        return Explainer.load(path).explain
    except NoActivationMapsError:
        from petclassify.learn.grad_cam import GradCam  # Captum takes a second to import

        return GradCam(model, classifier).explain
