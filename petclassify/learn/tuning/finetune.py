"""Fine-tuning: from a start on, open the backbone from the top.

    head on train -> phases of open stages -> the best epoch by validation

The head that starts is fitted on train alone, so that the validation loss of every epoch
can be held against its own. Only what beats it is worth shipping. From random weights there
is nothing to beat: all layers train, and the best epoch ships.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from scipy.special import log_softmax
from torch import nn

from petclassify.arrays import Logits
from petclassify.config import TrainConfig
from petclassify.errors import DataError, UsageError
from petclassify.learn.backbones.backbone import Backbone, FeatureExtractor
from petclassify.learn.backbones.stages import find_stages
from petclassify.learn.data.dataset import Dataset, Member
from petclassify.learn.frozen.cache_place import cache_folder
from petclassify.learn.head.logistic import Head
from petclassify.learn.tuning.fit import Fit
from petclassify.learn.tuning.fit_state import FitState, damaged, load_state
from petclassify.learn.tuning.fit_task import FitTask, Photos
from petclassify.learn.tuning.measured import measured_once
from petclassify.learn.tuning.memory import keep_freed_memory, memory_faults_named
from petclassify.learn.tuning.opened import Opened, Trainable, copied
from petclassify.learn.tuning.optimizers import default_lr
from petclassify.learn.tuning.precision import (
    ARITHMETIC,
    RACE_PHOTOS,
    Arithmetic,
    choose_arithmetic,
    choose_on_gpu,
)
from petclassify.learn.tuning.processes import Processes
from petclassify.learn.tuning.schedule import Phase, plan_phases
from petclassify.learn.tuning.views import Views, plain_views

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BestEpoch:
    """The epoch with the least validation loss.

    Attributes:
        number: counted from 1.
        extractor, head: with its weights.
        members, logits: val and test by them, (N,) and (N, classes).

    """

    number: int
    extractor: FeatureExtractor
    head: Head
    members: list[Member]
    logits: Logits


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning found.

    Attributes:
        state: the last, with the history.
        lr: of the head and the last stage.
        earlier_seconds: that epochs took before this process went on with them.
        best: None where no epoch beat the start.

    """

    state: FitState
    lr: float
    earlier_seconds: float
    best: BestEpoch | None


@dataclass(frozen=True)
class Start:
    """From where fine-tuning starts.

    Attributes:
        backbone: stays as it is; a copy is trained.
        head: fitted on train; None where the backbone's weights are random.
        engine: which ran the frozen pass, and will run what stays frozen.

    """

    backbone: Backbone
    head: Head | None
    engine: str | None


@memory_faults_named()
def fine_tune(
    config: TrainConfig,
    start: Start,
    dataset: Dataset,
    state_path: Path | None,
    processes: Processes,
    keep: Callable[[FitState], None],
) -> FineTuned:
    """Train the open layers; every process calls this.

    Args:
        config: the options.
        start: the backbone and the head.
        dataset: split.
        state_path: where the state is kept; given in the first process.
        processes: this one and its peers.
        keep: called in the first process with the state after each epoch.

    Raises:
        PetclassifyError: see `errors`; the message says what to do.

    """
    keep_freed_memory()
    fabric = processes.join()
    state_path = fabric.broadcast(state_path)
    state = load_state(state_path) if config.resume and state_path is not None else None
    earlier_seconds = 0.0 if state is None else sum(state.seconds)
    photos = dataset.digest()
    if state is not None:
        if state.photos != photos:
            raise UsageError(
                f"{dataset.root}: its photos are not those that this run began with, so it "
                "cannot go on. Train anew, without --resume"
            )
        start = replace(start, engine=state.engine)
    if fabric.broadcast(photos) != photos:
        raise DataError(
            f"{dataset.root}: its photos changed while the processes began, each of which would "
            "learn from others. Start them again"
        )
    task = _make_task(config, start, dataset, on_cpu=_on_cpu(fabric))
    if state is not None and state_path is not None and not _is_of(state, task):
        raise damaged(state_path)
    opened = task.open(_phase_after(task.phases, 0 if state is None else len(state.epochs)))
    if state is None:
        arithmetic = _choose(config, task, opened, fabric)
    else:
        arithmetic = ARITHMETIC[state.arithmetic]
        log.info(
            "resumed after epoch %d; layers that train: %s", len(state.epochs), arithmetic.name
        )
    fit = Fit(task, processes.join(arithmetic), arithmetic, opened)
    if state is None:
        state = _start(task, fit, arithmetic, photos)

    def keep_whole(state: FitState) -> None:
        if processes.is_first and state_path is not None:
            state.save(state_path)
            keep(state)

    state = fit.run(state, keep_whole)
    assert task.plan.lr is not None
    return FineTuned(state, task.plan.lr, earlier_seconds, _best_epoch(fit, task, state, dataset))


def _is_of(state: FitState, task: FitTask) -> bool:
    return state.arithmetic in ARITHMETIC and state.is_of(task.tensors())


def _best_epoch(fit: Fit, task: FitTask, state: FitState, dataset: Dataset) -> BestEpoch | None:
    """The best epoch, and what its weights say of val and test."""
    number = min(range(len(state.val_losses)), key=state.val_losses.__getitem__)
    if number == 0:
        return None
    task.network.load(state.best)
    members = dataset.of("val", "test")
    read = plain_views([member.path for member in members], task.resize)
    linear = task.network.head
    # As it ships. With the frozen part in bf16, a test of 300 photos in 300 classes came out at
    # 85.7 %, and at 87.3 % by the model file.
    whole = nn.Sequential(task.network.extractor, linear)
    logits = fit.logits(Views(read, None, keep=False), len(members), whole)
    head = Head(linear.weight.detach().cpu().numpy(), linear.bias.detach().cpu().numpy())
    extractor = task.network.extractor.cpu().eval()
    return BestEpoch(number, extractor, head, members, logits)


def _make_task(config: TrainConfig, start: Start, dataset: Dataset, *, on_cpu: bool) -> FitTask:
    backbone, head = start.backbone, start.head
    extractor = copy.deepcopy(backbone.extractor)
    torch.manual_seed(config.seed)
    linear = nn.Linear(backbone.num_features, len(dataset.class_names))
    if head is not None:
        linear.load_state_dict(
            {"weight": torch.from_numpy(head.weight), "bias": torch.from_numpy(head.bias)}
        )
    stages = find_stages(extractor.network)
    plan = config.fit
    if plan.lr is None:
        lr = default_lr(plan.optimizer, config.backbone, pretrained=head is not None)
        plan = replace(plan, lr=lr)
    phases = plan_phases(plan.unfreeze, [stage.name for stage in stages], plan.epochs)
    engine = start.engine if on_cpu else None
    network = Trainable(extractor, linear, stages, head is not None, engine)
    train, val = (_photos(dataset.of(split)) for split in ("train", "val"))
    return FitTask(plan, phases, config.seed, network, backbone.resize, train, val)


def _photos(members: list[Member]) -> Photos:
    return Photos([m.path for m in members], [m.label for m in members])


def _phase_after(phases: Sequence[Phase], epochs_done: int) -> Phase:
    return next((p for p in phases if p.last_epoch > epochs_done), phases[-1])


def _choose(config: TrainConfig, task: FitTask, opened: Opened, fabric: Fabric) -> Arithmetic:
    """Let the first process choose for all."""
    if not _on_cpu(fabric):
        return choose_on_gpu(config.precision)

    def race() -> str:
        count = min(RACE_PHOTOS, len(task.train.paths))
        views = Views(plain_views(task.train.paths, task.resize), opened.frozen, keep=False)
        inputs = next(views.batches([range(count)]))
        opened.train_mode()  # else LeViT and its kin keep from one step what the next needs anew
        return choose_arithmetic(config.precision, opened.module, inputs).name

    name = ""
    if fabric.is_global_zero:
        question = (
            f"{config.precision} arithmetic of {config.backbone} at {task.resize.crop} pixels, "
            f"{opened.stages} stages open"
        )
        name = measured_once(cache_folder(config.cache), question, race)
        log.info("layers that train: %s", name)
    return ARITHMETIC.get(fabric.broadcast(name), ARITHMETIC["fp32"])


def _start(task: FitTask, fit: Fit, arithmetic: Arithmetic, photos: str) -> FitState:
    """The state before the first epoch, with the loss that has to be beaten."""
    loss = math.inf
    if task.network.pretrained:
        labels = np.asarray(task.val.labels)
        views = Views(plain_views(task.val.paths, task.resize), fit.opened.frozen, keep=False)
        logits = log_softmax(fit.logits(views, len(labels)), axis=1)
        loss = float(-np.mean(logits[np.arange(len(labels)), labels]))
        log.info(
            "fine-tuning starts from a head that saw no val photo: val loss %.4f, uncalibrated",
            loss,
        )
    average = copied(task.tensors()) if task.plan.ema else {}
    engine = task.network.engine
    return FitState(
        epochs=(),
        seconds=(),
        start_loss=loss,
        arithmetic=arithmetic.name,
        engine=engine,
        photos=photos,
        weights={},
        average=average,
        optimizer={},
        best={},
    )


def _on_cpu(fabric: Fabric) -> bool:
    return fabric.device.type == "cpu"
