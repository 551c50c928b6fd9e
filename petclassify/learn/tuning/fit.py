"""The fit loop: epochs over changed photos, judged on unchanged ones, one state after each.

Everything random is drawn from the seed, the epoch and the photo, so a run that goes on
from a saved state does what the unbroken one did. With several processes each takes every
n-th photo of a batch and of the validation set: each photo counts once.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric
from scipy.special import log_softmax
from torch import Tensor, nn
from torch.optim import Optimizer

from petclassify.arrays import Logits
from petclassify.config import FitConfig
from petclassify.errors import DivergedError
from petclassify.learn.progress import track
from petclassify.learn.tuning.batches import chunks
from petclassify.learn.tuning.fit_state import FitState, Tensors
from petclassify.learn.tuning.fit_task import FitTask
from petclassify.learn.tuning.objective import Objective, Tally
from petclassify.learn.tuning.opened import Opened, copied, follow
from petclassify.learn.tuning.optimizers import (
    l1_norm,
    lay_out_moments,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
    set_lr,
)
from petclassify.learn.tuning.precision import Arithmetic
from petclassify.learn.tuning.schedule import Phase, is_over, lr_factor, within_budget
from petclassify.learn.tuning.views import Views, is_off, plain_views
from petclassify.learn.tuning.workplace import Workplace
from petclassify.report.history import Epoch

log = logging.getLogger(__name__)

LOWER_LR = "Train anew with a lower --lr, or with --clip-grad 1"
_EVAL_BATCH_SIZE = 32


class Fit:
    """A task on this machine.

    Args:
        task: what is fitted.
        fabric: the device, the precision, the other processes.
        arithmetic: of the open layers.
        opened: the network, open as in the phase that comes next.

    """

    def __init__(
        self, task: FitTask, fabric: Fabric, arithmetic: Arithmetic, opened: Opened
    ) -> None:
        self.opened = opened
        self._task = task
        self._here = Workplace(fabric, arithmetic.layout)
        num_classes = task.network.head.out_features
        self._objective = Objective(task.plan, task.train.labels, num_classes, fabric.device)
        self._optimizer = make_optimizer(task.plan, task.network, task.open_stages)

    def run(self, state: FitState, keep: Callable[[FitState], None]) -> FitState:
        """Train to the end.

        Args:
            state: where to start.
            keep: called with the state after each epoch.

        Returns:
            The last state.

        Raises:
            DivergedError: the loss is not finite.
            EnvironmentFault: memory does not suffice, or what `keep` raises.

        """
        if state.epochs:
            self._here.place(self.opened.module)  # first, so that the optimizer's state follows
            load_optimizer_tensors(self._optimizer, state.optimizer)
            self._task.network.load(state.weights)
        for phase in self._task.phases:
            if phase.last_epoch <= len(state.epochs) or self._is_over(phase, state):
                continue
            if phase.open_stages != self.opened.stages:
                self.opened = self._task.open(phase)
            state = self._run_phase(phase, state, keep)
        return state

    def logits(self, views: Views, count: int, whole: nn.Module | None = None) -> Logits:
        """Those of the first `count` photos, (count, classes), each counted in one process.

        Args:
            views: of the photos.
            count: how many.
            whole: from pixels, in float32, as it ships; None takes the open part, in the
                number format that it trains in.

        """
        here = self._here
        mine = chunks(range(here.rank, count, here.size), _EVAL_BATCH_SIZE)
        found = torch.zeros(count, self._task.network.head.out_features)
        module = here.place(whole or self.opened.module).eval()
        with torch.no_grad(), nullcontext() if whole else here.fabric.autocast():
            for batch, inputs in zip(mine, views.batches(mine), strict=True):
                found[batch] = module(here.placed(inputs)).float().cpu()
        return here.summed(found).double().numpy()

    def _run_phase(
        self, phase: Phase, state: FitState, keep: Callable[[FitState], None]
    ) -> FitState:
        task, opened, here = self._task, self.opened, self._here
        module = here.fabric.setup_module(here.place(opened.module))
        lay_out_moments(self._optimizer)
        optimizer = cast(Optimizer, here.fabric.setup_optimizers(self._optimizer))
        val = Views(plain_views(task.val.paths, task.resize), opened.frozen, keep=True)
        average = {n: v.to(here.device) for n, v in state.average.items()}
        views: Views | None = None
        for number in range(len(state.epochs) + 1, phase.last_epoch + 1):
            if self._is_over(phase, state):
                break
            plan = within_budget(task.plan, state.seconds)
            if views is None or not is_off(task.plan.augmentation):
                views = task.train_views(number, opened)
            start = time.perf_counter()
            opened.train_mode()
            lr, loss, accuracy = self._train_epoch(
                module, optimizer, views, plan, number, state.val_losses, average
            )
            train_seconds = time.perf_counter() - start
            with task.holding(average):
                val_loss, val_accuracy = self._judge(val, number)
                is_best = val_loss < min(state.val_losses)
                best = copied(task.tensors()) if is_best else state.best
            epoch = Epoch(phase.name, number, lr, loss, accuracy, val_loss, val_accuracy)
            state = FitState(
                epochs=(*state.epochs, epoch),
                # One clock for all processes, or --minutes would end them in different epochs.
                seconds=(
                    *state.seconds,
                    here.fabric.broadcast(round(time.perf_counter() - start, 3)),
                ),
                start_loss=state.start_loss,
                arithmetic=state.arithmetic,
                engine=state.engine,
                photos=state.photos,
                weights=task.tensors(),
                average=average,
                optimizer=optimizer_tensors(self._optimizer),
                best=best,
            )
            keep(state)
            _tell(epoch, _count(plan, number), len(task.train.paths) / train_seconds, is_best)
        return state

    def _train_epoch(
        self,
        module: nn.Module,
        optimizer: Optimizer,
        views: Views,
        plan: FitConfig,
        number: int,
        val_losses: Sequence[float],
        average: Tensors,
    ) -> tuple[float, float, float]:
        """One pass over the training photos; returns the last lr, the loss, the accuracy."""
        task, here = self._task, self._here
        batches = task.batches(number, here.size)
        mine = [batch[here.rank :: here.size] for batch in batches]
        labels = torch.tensor(task.train.labels, device=here.device)
        torch.manual_seed(_mixed(task.seed, number, here.rank))  # of the dropout
        tally, lr, done = Tally(), 0.0, 0
        with track(len(task.train.paths), _count(plan, number), "photos") as advance:
            for step, inputs in enumerate(views.batches(mine)):
                position = number - 1 + (step + 0.5) / len(batches)
                lr = set_lr(optimizer, lr_factor(plan, position, val_losses))
                # The mean over the batch of all processes, whose gradients are averaged.
                weight = self._objective.weight(labels[batches[step]]) / here.size
                loss = self._step(module, optimizer, inputs, labels[mine[step]], weight, tally)
                _require_finite(loss, number, step + 1)
                if average:
                    steps = (number - 1) * len(batches) + step
                    follow(average, task.tensors(), plan.ema, steps)
                done += len(batches[step])
                advance(done, str(tally))
        here.agree_on_statistics(task.network.extractor, average)
        total, weighed, right = here.summed(tally.sums).tolist()
        return lr, total / weighed, right / done

    def _step(
        self,
        module: nn.Module,
        optimizer: Optimizer,
        inputs: Tensor,
        labels: Tensor,
        weight: Tensor,
        tally: Tally,
    ) -> float:
        """Go one step; returns the loss, after which no step is taken if it is not finite."""
        plan = self._task.plan
        logits = module(self._here.placed(inputs)).float()
        total = self._objective.total(logits, labels)
        loss = total / weight
        if plan.l1:
            loss = loss + plan.l1 * l1_norm(optimizer)
        tally.add(total.item(), self._objective.weight(labels).item(), logits, labels)
        if not torch.isfinite(loss):
            return float(loss.item())
        optimizer.zero_grad()
        self._here.fabric.backward(loss)
        if plan.clip_grad:
            self._here.fabric.clip_gradients(
                module, optimizer, max_norm=plan.clip_grad, error_if_nonfinite=False
            )
        optimizer.step()
        return float(loss.item())

    def _is_over(self, phase: Phase, state: FitState) -> bool:
        return is_over(within_budget(self._task.plan, state.seconds), phase, state.val_losses)

    def _judge(self, val: Views, number: int) -> tuple[float, float]:
        """Validation loss and accuracy."""
        labels = np.asarray(self._task.val.labels)
        logits = self.logits(val, len(labels))
        loss = float(-np.mean(log_softmax(logits, axis=1)[np.arange(len(labels)), labels]))
        _require_finite(loss, number, None)
        return loss, float(np.mean(logits.argmax(axis=1) == labels))


def _require_finite(loss: float, number: int, step: int | None) -> None:
    if not math.isfinite(loss):
        where = f"epoch {number}" if step is None else f"epoch {number}, step {step}"
        kept = "The state of the epoch before is kept in the run folder. " if number > 1 else ""
        raise DivergedError(f"training diverged: the loss is {loss} in {where}. {kept}{LOWER_LR}")


def _count(plan: FitConfig, number: int) -> str:
    """The epoch's number, of how many; within minutes the first one is to tell that."""
    return f"epoch {number}" if plan.minutes and number == 1 else f"epoch {number}/{plan.epochs}"


def _tell(epoch: Epoch, count: str, rate: float, is_best: bool) -> None:
    log.info(
        "%s (%s): train loss %.4f, val loss %.4f, val accuracy %.2f %%, %.0f photos/s%s",
        count,
        epoch.phase,
        epoch.train_loss,
        epoch.val_loss,
        100 * epoch.val_accuracy,
        rate,
        ", best so far" if is_best else "",
    )


def _mixed(*numbers: int) -> int:
    """One seed from several, by NumPy's mixing."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
