from __future__ import annotations

import pytest

from petclassify.config import FitConfig
from petclassify.learn.tuning.schedule import is_over, lr_factor, plan_phases, within_budget

STAGES = ["stem", "one", "two", "three"]


def opened(unfreeze: str, epochs: int) -> list[int]:
    """How many stages are open in each epoch."""
    phases = plan_phases(unfreeze, STAGES, epochs)
    return [p.open_stages for p in phases for _ in range(p.first_epoch, p.last_epoch + 1)]


@pytest.mark.parametrize(
    ("unfreeze", "epochs", "expected"),
    [
        ("last", 3, [1, 1, 1]),
        ("all", 2, [4, 4]),
        ("gradual", 4, [1, 2, 3, 4]),
        ("gradual", 2, [1, 2]),
        ("gradual", 6, [1, 2, 2, 3, 4, 4]),
        ("gradual", 1, [1]),
    ],
)
def test_stages_open_from_the_top(unfreeze: str, epochs: int, expected: list[int]) -> None:
    assert opened(unfreeze, epochs) == expected


def test_the_phase_names_the_stage_that_opens() -> None:
    names = [phase.name for phase in plan_phases("gradual", STAGES, 3)]
    assert names == ["gradual: three", "gradual: two", "gradual: one"]


@pytest.mark.parametrize("schedule", ["cosine", "step", "plateau", "constant"])
def test_the_rate_rises_over_the_warm_up(schedule: str) -> None:
    plan = FitConfig(schedule=schedule, epochs=9, warmup_epochs=2)
    assert [lr_factor(plan, p, []) for p in (0, 0.5, 1)] == [0, 0.25, 0.5]
    assert lr_factor(plan, 2, []) == 1


def test_cosine_ends_at_zero() -> None:
    plan = FitConfig(schedule="cosine", epochs=4, warmup_epochs=0)
    assert lr_factor(plan, 2, []) == pytest.approx(0.5)
    assert lr_factor(plan, 4, []) == pytest.approx(0)


def test_step_falls_tenfold_after_each_third() -> None:
    plan = FitConfig(schedule="step", epochs=6, warmup_epochs=0)
    factors = [lr_factor(plan, position, []) for position in (0, 1.9, 2, 3.9, 4, 5.9)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_plateau_falls_when_two_epochs_brought_nothing() -> None:
    plan = FitConfig(schedule="plateau", epochs=9, warmup_epochs=0)
    losses = [1.0, 0.9, 0.95, 0.91, 0.92, 0.93]
    factors = [lr_factor(plan, n, losses[:n]) for n in range(1, 7)]
    assert factors == pytest.approx([1, 1, 1, 0.3, 0.3, 0.09])


def test_training_ends_with_the_epochs_or_when_patience_does() -> None:
    plan = FitConfig(epochs=3, patience=2)
    (only,) = plan_phases("last", STAGES, 3)
    assert not is_over(plan, only, [1.0, 0.9, 0.95])
    assert is_over(plan, only, [1.0, 0.9, 0.8, 0.7])
    assert is_over(plan, only, [1.0, 1.1, 1.2])
    assert not is_over(FitConfig(epochs=3, patience=0), only, [1.0, 1.1, 1.2])


def test_patience_counts_in_the_last_phase_only() -> None:
    plan = FitConfig(epochs=8, patience=2)
    *earlier, last = plan_phases("gradual", STAGES, 8)
    flat = [1.0] + [1.1] * 6
    assert not is_over(plan, earlier[-1], flat)
    assert not is_over(plan, last, flat)
    assert is_over(FitConfig(epochs=8, patience=1), last, [*flat, 1.1])


def test_the_first_epoch_tells_how_many_fit_into_the_minutes() -> None:
    plan = FitConfig("all", epochs=100, minutes=2)
    assert within_budget(plan, []).epochs == 100
    assert within_budget(plan, [25.0]).epochs == 4
    assert within_budget(plan, [25.0, 28.0]).epochs == 4, "a little slower is let pass"
    assert within_budget(plan, [25.0, 60.0]).epochs == 2, "a third one would not fit"
    assert within_budget(plan, [40.0, 20.0]).epochs == 5, "the first one read the val photos too"
    assert within_budget(plan, [500.0]).epochs == 1
    assert within_budget(plan, [0.1]).epochs == 100
    assert within_budget(FitConfig("all", epochs=7), [1e6]).epochs == 7


def test_any_number_of_minutes_is_a_number_of_epochs() -> None:
    plan = FitConfig("all", epochs=100, minutes=1e308)
    assert within_budget(plan, [25.0]).epochs == 100
    assert within_budget(plan, [25.0, 28.0]).epochs == 100


def test_within_minutes_the_rate_ends_at_zero_too() -> None:
    plan = within_budget(FitConfig("all", epochs=10_000, minutes=1), [20.0])
    assert lr_factor(plan, 2.999, []) < 0.001
