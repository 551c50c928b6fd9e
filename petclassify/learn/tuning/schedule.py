"""The freezing schedule and the learning rate, as functions of where training stands.

Neither keeps state of its own: what is open and how fast it moves follow from the epoch,
the step and the validation losses so far. So a resumed run has nothing to restore here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from petclassify.config import FitConfig, Unfreeze

STEP_EVERY = 1 / 3  # of all epochs
STEP_FACTOR = 0.1
PLATEAU_EPOCHS = 2
PLATEAU_FACTOR = 0.3
_BUDGET_SLACK = 1.1


@dataclass(frozen=True)
class Phase:
    """Epochs in which the same stages are open.

    Attributes:
        name: as in history.csv.
        open_stages: how many, counted from the top.
        first_epoch, last_epoch: counted from 1, both inside.

    """

    name: str
    open_stages: int
    first_epoch: int
    last_epoch: int


def plan_phases(unfreeze: Unfreeze, stage_names: Sequence[str], epochs: int) -> list[Phase]:
    """Say which stages are open when.

    `gradual` opens one more stage per phase from the top and shares the epochs out evenly,
    the later phases taking what is left over. With fewer epochs than stages, each epoch is
    a phase, and the stages nearest the stem stay frozen.

    Source: gradual unfreezing, Howard and Ruder 2018, section 3.3.

    Args:
        unfreeze: "last", "gradual" or "all".
        stage_names: stem first.
        epochs: in all.

    """
    if unfreeze == "last":
        return [Phase(f"last: {stage_names[-1]}", 1, 1, epochs)]
    if unfreeze == "all":
        return [Phase("all", len(stage_names), 1, epochs)]
    count = min(len(stage_names), epochs)
    ends = [epochs * number // count for number in range(1, count + 1)]
    starts = [1] + [end + 1 for end in ends[:-1]]
    return [
        Phase(f"gradual: {stage_names[-number]}", number, start, end)
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), start=1)
    ]


def within_budget(plan: FitConfig, seconds: Sequence[float]) -> FitConfig:
    """The plan with as many epochs as fit into its minutes, once the first ones are timed.

    Until then the epochs of the plan stand, so the first one has the lr of a long fit; it is
    done however long it takes. The second one tells more: the first also reads what is kept
    from then on. Later ones may turn out slower: what does not fit is left out.

    Args:
        plan: the levers.
        seconds: of each epoch done.

    """
    if not plan.minutes or not seconds:
        return plan
    allowed = 60 * plan.minutes
    fitting = max(1, allowed / seconds[0])
    if len(seconds) > 1:
        fitting = max(2, 2 + (allowed - seconds[0] - seconds[1]) / seconds[1])
    if sum(seconds) + seconds[-1] > _BUDGET_SLACK * allowed:
        fitting = min(fitting, len(seconds))
    return replace(plan, epochs=int(min(plan.epochs, fitting)))  # of 1e308 minutes, infinity fit


def lr_factor(plan: FitConfig, position: float, val_losses: Sequence[float]) -> float:
    """What every learning rate is multiplied by.

    Rises linearly over the warm-up. Then `cosine` falls to zero at the end of the last
    epoch, `step` falls tenfold after each third of the epochs, `plateau` falls to 0.3 of
    itself whenever two epochs brought no better validation loss.

    Source: cosine, Loshchilov and Hutter 2017, section 3; warm-up, Goyal et al. 2017,
    section 2.2.

    Args:
        plan: the schedule, its epochs and its warm-up.
        position: epochs done, parts counted.
        val_losses: the loss before the first epoch, then of each epoch done.

    """
    if position < plan.warmup_epochs:
        return position / plan.warmup_epochs
    return _FACTORS[plan.schedule](plan, position, val_losses)


def _constant(_plan: FitConfig, _position: float, _val_losses: Sequence[float]) -> float:
    return 1.0


def _cosine(plan: FitConfig, position: float, _val_losses: Sequence[float]) -> float:
    length = max(plan.epochs - plan.warmup_epochs, 1e-9)
    return (1 + math.cos(math.pi * min(1.0, (position - plan.warmup_epochs) / length))) / 2


def _step(plan: FitConfig, position: float, _val_losses: Sequence[float]) -> float:
    return float(STEP_FACTOR ** math.floor(position / (plan.epochs * STEP_EVERY) + 1e-9))


def _plateau(_plan: FitConfig, _position: float, val_losses: Sequence[float]) -> float:
    factor, best, waited = 1.0, math.inf, 0
    for loss in val_losses:
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == PLATEAU_EPOCHS:
            factor, waited = factor * PLATEAU_FACTOR, 0
    return factor


_FACTORS = {"constant": _constant, "cosine": _cosine, "step": _step, "plateau": _plateau}


def is_over(plan: FitConfig, phase: Phase, val_losses: Sequence[float]) -> bool:
    """Whether all epochs are done, or `patience` of them brought no better validation loss.

    Patience counts in the last phase only: what a phase with few open layers cannot learn,
    the next one may.

    Args:
        plan: the epochs and the patience.
        phase: where training stands.
        val_losses: the loss before the first epoch, then of each epoch done.

    """
    if len(val_losses) > plan.epochs:
        return True
    if phase.last_epoch < plan.epochs:
        return False
    best = min(range(len(val_losses)), key=val_losses.__getitem__)
    waited = len(val_losses) - 1 - max(best, phase.first_epoch - 1)
    return 0 < plan.patience <= waited
