"""`petclassify train`: from class folders to a run folder with a model file in it.

    frozen pass -> split -> head [-> fine-tuning] -> calibrate -> judge on test
        -> export through the gate

The head's strength and its calibration come from out-of-fold predictions over train and
val together; what ships is then fitted on all of them. A fine-tuned network is fitted on
train, chosen and calibrated on val, and ships only if it beats a head fitted on train there.
Test photos are read with the others, but their labels are looked at once all is fitted.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from petclassify.arrays import Logits
from petclassify.config import TrainConfig
from petclassify.files import write_whole
from petclassify.images.index import Index, Split
from petclassify.images.read_only import require_outside
from petclassify.learn.backbones.backbone import Backbone, load_backbone, random_backbone
from petclassify.learn.candidates import (
    Candidate,
    Choice,
    choose,
    familiarity_of,
    frozen_candidate,
    head_on_train,
    logits_on_val,
)
from petclassify.learn.data.dataset import Dataset, prepare_dataset
from petclassify.learn.export.export import export_model
from petclassify.learn.frozen.cache_place import cache_folder
from petclassify.learn.frozen.feature_cache import FeatureCache
from petclassify.learn.frozen.frozen_pass import FrozenPass
from petclassify.learn.head.calibration import UNCALIBRATED
from petclassify.learn.head.logistic import HeadSearch
from petclassify.learn.network import TrainedModel, assemble, save_checkpoint
from petclassify.learn.onnx_graph import to_onnx
from petclassify.learn.reading import read_and_split
from petclassify.learn.run_facts import asked, resolved, training_facts
from petclassify.learn.run_report import write_run_report
from petclassify.learn.runs.epoch_log import EpochLog
from petclassify.learn.runs.run_folder import RunFolder
from petclassify.learn.runs.run_place import RUNS, new_place, place_to_resume
from petclassify.learn.runs.stopwatch import Stopwatch
from petclassify.learn.tuning.finetune import FineTuned, Start, fine_tune
from petclassify.learn.tuning.processes import Processes
from petclassify.report.metrics import Metrics

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a run found: where it lies, its figures by split, its seconds by stage."""

    run: Path
    metrics: Mapping[Split, Metrics]
    seconds: Mapping[str, float]


def train(
    config: TrainConfig,
    index: Index,
    command: str = "",
    watch: Stopwatch | None = None,
    *,
    becomes_latest: bool = True,
) -> TrainResult | None:
    """Train, judge and export; see the module's docstring.

    Args:
        config: the options.
        index: the data set, as `learn.preflight.check_request` read it.
        command: the line that was given, for the report.
        watch: what was timed before.
        becomes_latest: let models/latest name the run.

    Returns:
        The result; None in a process that only helps the first one.

    Raises:
        PetclassifyError: see `errors`; the message says what to do.

    """
    processes = Processes(config.device)
    if not processes.is_first:
        _help(config, index, processes)
        return None
    require_outside(index, config.out or RUNS, "--out")
    watch = watch or Stopwatch()
    with watch.stage("index"):
        dataset = prepare_dataset(index, config)
    with watch.stage("backbone"):
        backbone, frozen = _load(config)
    with _run_folder(config, index) as folder, _way_on_told(config, folder.path, command):
        means = _Means(config, backbone, frozen, processes)
        result = _train_into(folder, dataset, means, watch, command)
        if becomes_latest:
            folder.mark_latest()
        return result


@dataclass(frozen=True)
class _Means:
    """What every stage works with; `frozen` is None from random weights."""

    config: TrainConfig
    backbone: Backbone
    frozen: FrozenPass | None
    processes: Processes


@dataclass(frozen=True)
class _Fitted:
    """What the fits found, and what of it ships."""

    search: HeadSearch | None
    tuned: FineTuned | None
    choice: Choice


def _train_into(
    folder: RunFolder, dataset: Dataset, means: _Means, watch: Stopwatch, command: str
) -> TrainResult:
    config, backbone, frozen = means.config, means.backbone, means.frozen
    with watch.stage("features"):
        dataset = read_and_split(dataset, config, backbone, frozen, folder.tell_data)
        folder.require_its_photos(dataset)
    fitted = _fit(folder, dataset, means, watch)
    shipped = fitted.choice.shipped
    with watch.stage("familiarity"):
        familiarity = familiarity_of(shipped, dataset, frozen, backbone.resize, config.seed)
    metrics = shipped.metrics(dataset.class_names)
    model = assemble(
        replace(backbone, extractor=shipped.extractor),
        shipped.head,
        shipped.calibration,
        familiarity,
        dataset.class_names,
        training_facts(config, dataset, metrics, shipped),
    )
    with watch.stage("files"):
        _write_files(folder, dataset, means, fitted)
        save_checkpoint(model, folder.checkpoint)
    with watch.stage("export"):
        _export(model, dataset, folder)
    with watch.stage("report"):
        write_run_report(folder, model, shipped, dataset, frozen, familiarity, command)
    folder.write_json("metrics.json", _figures(shipped, dataset) | {"seconds": watch.seconds()})
    return TrainResult(folder.path, metrics, watch.seconds())


def _fit(folder: RunFolder, dataset: Dataset, means: _Means, watch: Stopwatch) -> _Fitted:
    """Fit the head, fine-tune if asked, and choose between the two."""
    config, frozen = means.config, means.frozen
    search: HeadSearch | None = None
    head: Candidate | None = None
    with watch.stage("head"):
        if frozen is not None:
            search, head = frozen_candidate(dataset, frozen, config.seed)
    if config.fit.unfreeze == "none":
        return _Fitted(search, None, choose(head, None, None))
    start = _start(dataset, means.backbone, frozen, search)
    with (
        watch.stage("fine-tuning"),
        EpochLog(folder, search, tensorboard=config.tensorboard) as epoch_log,
    ):
        tuned = fine_tune(config, start, dataset, folder.state, means.processes, epoch_log)
    watch.add("fine-tuning", tuned.earlier_seconds)
    rival: Logits | None = None
    if frozen is not None and start.head is not None:
        rival = logits_on_val(dataset, frozen, start.head)
    return _Fitted(search, tuned, choose(head, tuned, rival))


def _write_files(folder: RunFolder, dataset: Dataset, means: _Means, fitted: _Fitted) -> None:
    folder.reopen()
    search, tuned, choice = fitted.search, fitted.tuned, fitted.choice
    shipped = choice.shipped
    engine = None if means.frozen is None else means.frozen.cache.engine
    facts = resolved(means.config, folder.path, means.backbone, engine, search, tuned, shipped)
    folder.write_json("config.json", facts)
    folder.write_json("data.json", dataset.to_dict())
    folder.write_photos(dataset)
    folder.write_history(search, () if tuned is None else tuned.state.epochs)
    state = None if tuned is None else tuned.state
    folder.draw_curves(search, state, choice.why, fit_ships=shipped.is_tuned)
    folder.write_predictions(dataset, shipped.members, shipped.probabilities)


def _figures(shipped: Candidate, dataset: Dataset) -> dict[str, object]:
    """By split, as JSON."""
    metrics = shipped.metrics(dataset.class_names)
    before = replace(shipped, calibration=UNCALIBRATED).metrics(dataset.class_names)
    return {
        split: metrics[split].to_dict()
        | {"before_calibration": {"log_loss": before[split].log_loss, "ece": before[split].ece}}
        for split in metrics
    }


def _help(config: TrainConfig, index: Index, processes: Processes) -> None:
    """Take part in the fit; the first process joins once all features are in the cache."""
    if config.fit.unfreeze == "none":
        return
    processes.join()
    dataset = prepare_dataset(index, config)
    backbone, frozen = _load(config)
    dataset = read_and_split(dataset, config, backbone, frozen, lambda _: None)
    search = None
    if frozen is not None:
        search, _ = frozen_candidate(dataset, frozen, config.seed)
    start = _start(dataset, backbone, frozen, search)
    fine_tune(config, start, dataset, None, processes, lambda _: None)


def _load(config: TrainConfig) -> tuple[Backbone, FrozenPass | None]:
    """The backbone, and the pass of all photos through it, unless its weights are random."""
    name, window = config.backbone, config.image_size
    if config.weights == "none":
        backbone = random_backbone(name, window, config.seed)
        # What cannot be exported could not ship: say so before hours of training.
        to_onnx(backbone.extractor, backbone.pixels_shape, ["features"])
        return backbone, None
    backbone = load_backbone(name, config.weights, window)
    return backbone, FrozenPass(backbone, FeatureCache.open(cache_folder(config.cache), backbone))


@contextmanager
def _run_folder(config: TrainConfig, index: Index) -> Iterator[RunFolder]:
    name = f"{index.root.resolve().name}-{config.backbone.replace('/', '-')}"
    if config.resume:
        place = place_to_resume(config.out, name, asked(config))
    else:
        place = new_place(config.out, name)
    with place as path:
        folder = RunFolder(path)
        if not (path / "config.json").exists():  # else it was asked the same, and may say more
            folder.write_json("config.json", asked(config))
        log.info("run: %s", path)
        yield folder


@contextmanager
def _way_on_told(config: TrainConfig, run: Path, command: str) -> Iterator[None]:
    """Say to whoever stops a run, by a signal, how it goes on."""
    try:
        yield
    except Exception:
        raise
    except BaseException:
        log.info("what is whole is kept; to go on: %s", _to_go_on(config, run, command))
        raise


def _to_go_on(config: TrainConfig, run: Path, command: str) -> str:
    """The line that goes on with this run, whatever others begin meanwhile.

    One of a comparison goes on when that is repeated.
    """
    if not command:
        return "repeat the command"
    resume = "" if config.resume else " --resume"
    return f"{command}{resume}" + ("" if config.out else f" --out {shlex.quote(str(run))}")


def _start(
    dataset: Dataset, backbone: Backbone, frozen: FrozenPass | None, search: HeadSearch | None
) -> Start:
    """From where fine-tuning starts."""
    if frozen is None or search is None:
        return Start(backbone, head=None, engine=None)
    return Start(backbone, head_on_train(dataset, frozen, search), frozen.cache.engine)


def _export(model: TrainedModel, dataset: Dataset, folder: RunFolder) -> None:
    val = [member.path for member in dataset.of("val")]
    train = [member.path for member in dataset.of("train")]
    write_whole(folder.model, export_model(model, val, train))
