"""report.html: one page for the person who must decide whether to deploy a model.

It says how the judged photos stand to the model, on how many each figure rests, and between
which values the true one lies with 95 % confidence.
"""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from petclassify.arrays import Probabilities
from petclassify.errors import ImageError, ModelError, NoActivationMapsError, UsageError
from petclassify.files import replaceable, write_whole
from petclassify.images.photo import read_image
from petclassify.report.evaluate import Evaluation
from petclassify.report.figures import draw_coverage, draw_reliability
from petclassify.report.html import GENERATOR, picture_uri, render_page
from petclassify.report.judged import Judged
from petclassify.report.metrics import (
    Metrics,
    accuracy_by_coverage,
    mean_interval,
    measure,
    reliability,
    share_interval,
    uncalibrated,
)
from petclassify.report.training_words import training_in_words
from petclassify.report.verdict import MIN_ACCURACY, HeldOut, reach_verdict, speaks_for_others
from petclassify.runtime.explain import Explainer, Explanation
from petclassify.runtime.model_file import model_name
from petclassify.runtime.model_info import ModelInfo, largest_probability

SHOWN_PHOTOS = 12  # of a kind
SHOWN_CLASSES = 12  # in a confusion matrix; of more, the commonest confusions are listed
PICTURE_SIDE = 320
MISTAKES_OF_A_RANGE = 10  # with fewer, resampled losses know too little of what mistakes cost
COVERAGES = (1.0, 0.99, 0.95, 0.9, 0.8)
BY_MODEL_FILE = "the model file"

Explain = Callable[[Path], Explanation]


@dataclass(frozen=True)
class Report:
    """What the page tells.

    Attributes:
        title: what was judged.
        info: what the model file says of itself.
        judged: the photos.
        held_out: how they stand to the model.
        learned_from: how many of them it learned from.
        command: the line that made the report.
        explain: shows where the model looked; None where that cannot be shown.
        curves: the training's, as a PNG.
        findings: what is known to be wrong with the data, a sentence each.
        uncalibrated: (N, classes), before calibration; None where only the model file can tell.
        judged_by: what gave the figures.

    """

    title: str
    info: ModelInfo
    judged: Judged
    held_out: HeldOut
    command: str
    explain: Explain | None = None
    curves: bytes | None = None
    findings: tuple[str, ...] = ()
    uncalibrated: Probabilities | None = None
    judged_by: str = BY_MODEL_FILE
    learned_from: int = 0


@dataclass(frozen=True)
class _Shown:
    """One photo on the page."""

    name: str
    class_name: str
    predicted: str
    probability: float
    familiarity: float
    known: bool
    photo: Markup | None
    heat: Markup | None


def report_of(found: Evaluation, command: str) -> Report:
    """The report of an evaluation, with the training's curves where the model lies in its run.

    Args:
        found: what `evaluate` found.
        command: the line that was given.

    """
    model = found.model
    run = model if model.is_dir() else model.parent
    curves = run / "curves.png"
    in_run = (run / "config.json").is_file() and curves.is_file()
    return Report(
        title=f"{model_name(model)} on {found.data.resolve().name}",
        info=found.info,
        judged=found.judged,
        held_out=HeldOut.UNTOLD if found.learned_from is None else HeldOut.OTHERS,
        learned_from=found.learned_from or 0,
        findings=found.findings,
        command=command,
        explain=_explainer(model),
        curves=curves.read_bytes() if in_run else None,
    )


def _explainer(model: Path) -> Explain | None:
    try:
        return Explainer.load(model).explain
    except NoActivationMapsError:
        return None


def write_report(report: Report, path: Path) -> None:
    """Write the page, whole or not at all.

    Raises:
        EnvironmentFault: it cannot be written.

    """
    write_whole(path, render_report(report))


def refuse_foreign(path: Path) -> None:
    """Raise UsageError for a file that is there and no evaluation's report.

    That of a run belongs to the run.

    Raises:
        UsageError: so it is.
        EnvironmentFault: no file can be there.

    """
    if replaceable(path).is_file():
        with path.open("rb") as stream:
            ours = GENERATOR in stream.read(1024)
        if not ours:
            raise UsageError(f"{path}: is there, and no report of petclassify. Name another")
        if (path.parent / "checkpoint.safetensors").is_file():
            raise UsageError(f"{path}: is the report of a training run. Name another")


def render_report(report: Report) -> bytes:
    """Make the page; see `Report`."""
    judged, metrics = report.judged, report.judged.metrics
    raw = report.uncalibrated
    if raw is None:
        raw = uncalibrated(judged.probabilities, report.info.temperature, report.info.doubt)
    before = measure(raw, judged.labels, judged.class_names)
    known, right = judged.known, judged.right
    known_accuracy = float(right[known].mean()) if known.any() else None
    coverage = accuracy_by_coverage(judged.probabilities, judged.labels)
    mistakes = np.flatnonzero(~right)[np.argsort(-judged.losses[~right], kind="stable")]
    strangers = np.argsort(judged.familiarity, kind="stable")[:SHOWN_PHOTOS]
    strangers = strangers[judged.familiarity[strangers] < 1]  # which every other photo has
    return render_page(
        "report.html",
        report=report,
        metrics=metrics,
        before=before,
        largest_probability=largest_probability(report.info.doubt, len(report.info.class_names)),
        verdict=reach_verdict(judged, report.held_out, report.findings, report.learned_from),
        min_accuracy=MIN_ACCURACY,
        shows_ranges=speaks_for_others(judged, report.learned_from),
        accuracy_interval=share_interval(int(right.sum()), metrics.count),
        loss_interval=mean_interval(judged.losses)
        if len(mistakes) >= MISTAKES_OF_A_RANGE
        else None,
        known_share=float(known.mean()),
        known_interval=share_interval(int(known.sum()), metrics.count),
        confusions=_confusions(metrics),
        shows_matrix=len(judged.class_names) <= SHOWN_CLASSES,
        class_intervals=_class_intervals(metrics),
        reliability=draw_reliability(
            reliability(raw, judged.labels), reliability(judged.probabilities, judged.labels)
        ),
        coverage=draw_coverage(coverage, float(known.mean()), known_accuracy),
        coverages=_coverage_rows(judged),
        num_mistakes=len(mistakes),
        mistakes=[_show(report, place) for place in mistakes[:SHOWN_PHOTOS]],
        strangers=[_show(report, place) for place in strangers],
        facts={"judged by": report.judged_by} | training_in_words(report.info.training),
        curves=None if report.curves is None else _png_uri(report.curves),
    )


def _confusions(metrics: Metrics) -> list[tuple[str, str, int]]:
    """True class, predicted class, photos: the commonest mistakes first."""
    names = list(metrics.per_class)
    matrix = np.array(metrics.confusion)
    np.fill_diagonal(matrix, 0)
    commonest = np.argsort(-matrix, axis=None, kind="stable")[:SHOWN_CLASSES]
    places = (np.unravel_index(place, matrix.shape) for place in commonest)
    return [(names[i], names[j], int(matrix[i, j])) for i, j in places if matrix[i, j]]


def _class_intervals(metrics: Metrics) -> dict[str, tuple[float, float] | None]:
    """Between which shares each class's recall lies."""
    return {
        name: share_interval(metrics.confusion[label][label], one.count) if one.count else None
        for label, (name, one) in enumerate(metrics.per_class.items())
    }


def _coverage_rows(judged: Judged) -> list[tuple[float, float, float]]:
    """Share answered, the least probability that is answered then, accuracy on these.

    A row is true of the probability as it is printed: of photos with equal ones, all are answered.
    """
    sureness = judged.probabilities.max(axis=1)
    surest = np.sort(sureness)[::-1]
    places = [max(1, round(share * len(surest))) - 1 for share in COVERAGES]
    rows = []
    for least in sorted({math.floor(10_000 * surest[place]) / 10_000 for place in places}):
        answered = sureness >= least
        rows.append((float(answered.mean()), least, float(judged.right[answered].mean())))
    return rows


def _show(report: Report, place: int) -> _Shown:
    judged = report.judged
    photo = heat = None
    try:
        if report.explain is not None:
            with contextlib.suppress(ModelError):  # a page without a heat map is still a page
                heat = picture_uri(report.explain(judged.paths[place]).overlay, PICTURE_SIDE)
        photo = picture_uri(read_image(judged.paths[place], PICTURE_SIDE), PICTURE_SIDE)
    except ImageError:
        pass  # it was read before, and has gone since; its figures stand
    return _Shown(
        judged.names[place],
        judged.class_names[judged.labels[place]],
        judged.class_names[judged.predicted[place]],
        float(judged.probabilities[place].max()),
        float(judged.familiarity[place]),
        bool(judged.known[place]),
        photo,
        heat,
    )


def _png_uri(content: bytes) -> Markup:
    encoded = base64.b64encode(content).decode("ascii")
    return Markup(f"data:image/png;base64,{encoded}")  # noqa: S704  base64 holds no markup
