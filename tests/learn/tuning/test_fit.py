"""Each lever, alone, on a small network: the test fails if the lever does nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from petclassify.config import NO_AUGMENTATION, Augmentation, FitConfig
from petclassify.errors import DivergedError, EnvironmentFault, UsageError
from petclassify.images.index import read_index
from petclassify.learn.backbones.backbone import Backbone, load_backbone
from petclassify.learn.backbones.stages import find_stages
from petclassify.learn.tuning.fit import Fit
from petclassify.learn.tuning.fit_state import FitState, Tensors, load_state
from petclassify.learn.tuning.fit_task import FitTask, Photos
from petclassify.learn.tuning.memory import memory_faults_named
from petclassify.learn.tuning.opened import Trainable, copied
from petclassify.learn.tuning.precision import ARITHMETIC
from petclassify.learn.tuning.processes import Processes
from petclassify.learn.tuning.schedule import plan_phases
from tests.conftest import SMALL_DISK_BYTES
from tests.learn.conftest import BACKBONE


@dataclass(frozen=True)
class Fitted:
    """What a fit left."""

    before: Tensors
    after: Tensors
    state: FitState

    @property
    def moved(self) -> set[str]:
        """Names of the tensors that changed."""
        return {n for n, v in self.after.items() if not torch.equal(v, self.before[n])}

    def distance(self) -> float:
        """How far all weights moved."""
        return sum(
            float((v.float() - self.before[n].float()).norm()) for n, v in self.after.items()
        )


BASE = FitConfig(
    "last", epochs=2, batch_size=8, warmup_epochs=0, lr=1e-3, augmentation=NO_AUGMENTATION
)


@pytest.fixture
def fit(drawn_pets: Path, weights: Path) -> Callable[..., Fitted]:
    """Fit the last stage on 24 drawn pets, 8 others validate."""
    index = read_index(drawn_pets)
    samples = index.splits["train"]
    photos = [*samples[:16], *samples[30:46]]
    train, val = photos[:12] + photos[16:28], photos[12:16] + photos[28:]

    def run(
        keep: Callable[[FitState], None] = lambda _: None,
        start: FitState | None = None,
        few: int = 12,
        pretrained: bool = True,
        layout: str = "fp32",
        **levers: object,
    ) -> Fitted:
        plan = dataclasses.replace(BASE, **levers)
        backbone = load_backbone(BACKBONE, str(weights), 64)
        task = make_task(plan, backbone, [*train[:few], *train[12:]], val, pretrained=pretrained)
        opened = task.open(task.phases[0])
        arithmetic = ARITHMETIC[layout]
        fabric = Processes("cpu").join(arithmetic)
        everything = task.network.tensors(len(task.network.stages))
        before = copied(everything)
        average = copied(task.tensors()) if plan.ema else {}
        first = FitState((), (), float("inf"), arithmetic.name, None, "", {}, average, {}, {})
        state = Fit(task, fabric, arithmetic, opened).run(start or first, keep)
        return Fitted(before, copied(task.network.tensors(len(task.network.stages))), state)

    return run


def make_task(plan: FitConfig, backbone: Backbone, train, val, *, pretrained: bool) -> FitTask:
    torch.manual_seed(0)
    head = nn.Linear(backbone.num_features, 2)
    stages = find_stages(backbone.extractor.network)
    phases = plan_phases(plan.unfreeze, [stage.name for stage in stages], plan.epochs)
    network = Trainable(backbone.extractor, head, stages, pretrained, "torch-fp32")
    photos = [Photos([s.path for s in part], [s.label for s in part]) for part in (train, val)]
    return FitTask(plan, phases, 0, network, backbone.resize, *photos)


def stages_moved(fitted: Fitted) -> set[str]:
    names = ("conv1", "layer1", "layer2", "layer3", "layer4", "head")
    moved = {name.removeprefix("network.").split(".")[0] for name in fitted.moved}
    return {name for name in names if name in moved}


@pytest.mark.parametrize(
    ("unfreeze", "epochs", "expected"),
    [
        ("last", 1, {"layer4", "head"}),
        ("gradual", 2, {"layer3", "layer4", "head"}),
        ("all", 1, {"conv1", "layer1", "layer2", "layer3", "layer4", "head"}),
    ],
)
def test_only_open_stages_change(
    fit: Callable[..., Fitted], unfreeze: str, epochs: int, expected: set[str]
) -> None:
    fitted = fit(unfreeze=unfreeze, epochs=epochs)
    assert stages_moved(fitted) == expected
    assert not any("running_" in name for name in fitted.moved)


def test_gradual_opens_one_more_stage_per_phase(fit: Callable[..., Fitted]) -> None:
    moved: list[set[str]] = []
    before: Tensors = {}

    def keep(state: FitState) -> None:
        now = copied(state.weights)
        if before:
            moved.append({n.split(".")[1] for n, v in now.items() if not torch.equal(v, before[n])})
        before.update(now)

    fit(keep, unfreeze="gradual", epochs=3)
    assert [{"layer2", "layer3"} & names for names in moved] == [{"layer3"}, {"layer2", "layer3"}]


def test_lower_stages_move_less(fit: Callable[..., Fitted]) -> None:
    fitted = fit(unfreeze="all", epochs=1, optimizer="sgd", lr=1e-3, layer_decay=1.0)
    damped = fit(unfreeze="all", epochs=1, optimizer="sgd", lr=1e-3, layer_decay=0.1)

    def stem(one: Fitted) -> float:
        name = "network.conv1.0.weight"
        return float((one.after[name] - one.before[name]).norm())

    assert 0 < stem(damped) < 0.01 * stem(fitted)


def test_from_random_weights_norms_learn_their_statistics(fit: Callable[..., Fitted]) -> None:
    fitted = fit(unfreeze="all", epochs=1, pretrained=False)
    assert "network.layer1.0.bn1.running_mean" in fitted.moved


LEVERS = {
    "optimizer sgd": {"optimizer": "sgd"},
    "optimizer adam": {"optimizer": "adam"},
    "lr": {"lr": 5e-4},
    "batch_size": {"batch_size": 12},
    "weight_decay": {"weight_decay": 0.5},
    "l1": {"l1": 0.01},
    "dropout": {"dropout": 0.5},
    "label_smoothing": {"label_smoothing": 0.2},
    "warmup_epochs": {"warmup_epochs": 1.0},
    "schedule step": {"schedule": "step"},
    "schedule constant": {"schedule": "constant"},
    "ema": {"ema": 0.9},
    "clip_grad": {"clip_grad": 0.01, "optimizer": "sgd"},
    "augmentation": {"augmentation": Augmentation()},
}


@pytest.fixture(scope="module")
def plain_losses() -> dict[str, list[float]]:
    """Of fits without any lever, filled on first use."""
    return {}


@pytest.mark.parametrize("lever", LEVERS)
def test_each_lever_changes_the_fit(
    fit: Callable[..., Fitted], plain_losses: dict[str, list[float]], lever: str
) -> None:
    if not plain_losses:
        plain_losses["adamw"] = fit().state.val_losses[1:]
        plain_losses["sgd"] = fit(optimizer="sgd").state.val_losses[1:]
    base = plain_losses["sgd" if lever == "clip_grad" else "adamw"]
    changed = fit(**LEVERS[lever]).state.val_losses[1:]
    assert changed != base  # a seed gives the same fit again, to the last bit


def decayed_norm(fitted: Fitted, order: int) -> float:
    return sum(
        float(v.norm(order)) for n, v in fitted.after.items() if v.ndim > 1 and "layer4" in n
    )


def test_weight_decay_shrinks_weights_but_not_biases_and_norms(
    fit: Callable[..., Fitted],
) -> None:
    plain, decayed = (fit(optimizer="sgd", lr=1e-3, weight_decay=w) for w in (0.0, 30.0))
    assert decayed_norm(decayed, 2) < 0.9 * decayed_norm(plain, 2)
    name = "network.layer4.0.bn2.weight"
    assert torch.allclose(decayed.after[name], plain.after[name], atol=0.02)


def test_l1_shrinks_the_sum_of_weights(fit: Callable[..., Fitted]) -> None:
    plain, penalised = (fit(l1=penalty) for penalty in (0.0, 0.1))
    assert decayed_norm(penalised, 1) < 0.98 * decayed_norm(plain, 1)


def test_clipping_bounds_the_step(fit: Callable[..., Fitted]) -> None:
    levers = {"optimizer": "sgd", "lr": 1.0, "momentum": 0.0, "schedule": "constant", "epochs": 1}
    clipped = fit(clip_grad=1e-4, weight_decay=0.0, **levers)
    assert 0 < clipped.distance() < 1e-2


def test_momentum_carries_on(fit: Callable[..., Fitted]) -> None:
    still, moving = (fit(optimizer="sgd", momentum=momentum) for momentum in (0.0, 0.9))
    assert moving.distance() > 1.5 * still.distance()


def test_label_smoothing_enters_the_loss(fit: Callable[..., Fitted]) -> None:
    smoothed = fit(label_smoothing=0.5, epochs=1, lr=1e-12).state.epochs[0]
    plain = fit(epochs=1, lr=1e-12).state.epochs[0]
    assert smoothed.train_loss != pytest.approx(plain.train_loss, rel=1e-5)


def test_balanced_class_weights_lift_the_rare_class(fit: Callable[..., Fitted]) -> None:
    """With 2 cats and 12 dogs, each cat counts six times as much as a dog."""
    plain = fit(few=2, epochs=1, lr=1e-12).state.epochs[0].train_loss
    balanced = fit(few=2, epochs=1, lr=1e-12, class_weights="balanced").state.epochs[0].train_loss
    equal = fit(epochs=1, lr=1e-12, class_weights="balanced").state.epochs[0].train_loss
    unweighted = fit(epochs=1, lr=1e-12).state.epochs[0].train_loss
    assert balanced != pytest.approx(plain, rel=1e-3)
    assert equal == pytest.approx(unweighted, rel=1e-6)


def test_plateau_lowers_the_rate_when_nothing_gets_better(fit: Callable[..., Fitted]) -> None:
    epochs = fit(schedule="plateau", lr=1e-12, epochs=5, patience=0).state.epochs
    assert epochs[-1].lr < epochs[0].lr


def test_patience_ends_training_early(fit: Callable[..., Fitted]) -> None:
    levers = {"lr": 1e-12, "epochs": 6}  # after the first epoch nothing gets better
    assert len(fit(patience=2, **levers).state.epochs) < len(fit(patience=0, **levers).state.epochs)


def test_the_average_moves_less_than_the_weights(fit: Callable[..., Fitted]) -> None:
    fitted = fit(ema=0.95)
    name = "network.layer4.0.conv2.weight"
    own = (fitted.state.weights[name] - fitted.before[name]).norm()
    average = (fitted.state.average[name] - fitted.before[name]).norm()
    assert 0 < average < 0.99 * own


def test_a_seed_gives_the_same_fit_again(fit: Callable[..., Fitted]) -> None:
    levers = {"dropout": 0.3, "augmentation": Augmentation(), "ema": 0.9}
    first, second = fit(**levers), fit(**levers)
    assert first.state.epochs == second.state.epochs
    assert all(torch.equal(v, second.after[n]) for n, v in first.after.items())


@pytest.mark.parametrize("layout", ["fp32", "fp32, channels last"])
def test_an_interrupted_fit_goes_on_to_the_same_end(
    fit: Callable[..., Fitted], tmp_path: Path, layout: str
) -> None:
    levers = {"dropout": 0.3, "augmentation": Augmentation(), "ema": 0.9, "layout": layout}
    levers["unfreeze"] = "gradual"
    path = tmp_path / "resume" / "state.safetensors"
    unbroken = fit(epochs=3, **levers)

    class Killed(BaseException):
        pass

    def keep(state: FitState) -> None:
        state.save(path)
        raise Killed

    for number in (1, 2):
        with pytest.raises(Killed):
            fit(keep, start=load_state(path), epochs=3, **levers)
        state = load_state(path)
        assert state is not None
        assert len(state.epochs) == number
    resumed = fit(start=load_state(path), epochs=3, **levers)
    assert resumed.state.epochs == unbroken.state.epochs
    assert all(torch.equal(v, unbroken.after[n]) for n, v in resumed.after.items())
    assert all(torch.equal(v, unbroken.state.best[n]) for n, v in resumed.state.best.items())


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_state(
    fit: Callable[..., Fitted], tmp_path: Path
) -> None:
    path = tmp_path / "resume" / "state.safetensors"

    def keep_and_spoil(state: FitState) -> None:
        state.save(path)
        state.weights["head.bias"].fill_(torch.nan)

    with pytest.raises(DivergedError, match=r"the loss is nan in epoch 2, step 1\. The state of"):
        fit(keep_and_spoil)
    state = load_state(path)
    assert state is not None
    assert len(state.epochs) == 1
    assert torch.isfinite(state.weights["head.bias"]).all()


def test_a_first_epoch_that_diverges_leaves_no_state_and_promises_none(
    fit: Callable[..., Fitted],
) -> None:
    with pytest.raises(DivergedError, match=r"in epoch 1, step \d+\. Train anew"):
        fit(lr=1e30, clip_grad=0.0)


def test_a_batch_too_small_for_norms_is_refused(fit: Callable[..., Fitted]) -> None:
    with pytest.raises(UsageError, match="2 photos per step are needed"):
        fit(unfreeze="all", pretrained=False, batch_size=1)


def test_a_full_disk_keeps_the_state_before(fit: Callable[..., Fitted], small_disk: Path) -> None:
    path = small_disk / "state.safetensors"
    path.write_bytes(b"the state before")
    with pytest.raises(EnvironmentFault, match="the disk is full"):
        fit(lambda s: s.save(path))
    assert path.read_bytes() == b"the state before"
    assert len(list(small_disk.iterdir())) == 1
    assert SMALL_DISK_BYTES < 1 << 20


TOO_MUCH = 1 << 50


def test_want_of_memory_is_one_line_with_a_way_out() -> None:
    with (
        pytest.raises(EnvironmentFault, match="smaller --batch-size"),
        memory_faults_named(),
    ):
        torch.empty(TOO_MUCH, dtype=torch.uint8)
    with (
        pytest.raises(EnvironmentFault, match="smaller --batch-size"),
        memory_faults_named(),
    ):
        np.empty(TOO_MUCH, dtype=np.uint8)
    with pytest.raises(RuntimeError, match="memory location"), memory_faults_named():
        raise RuntimeError("more than one element refers to a single memory location")
    with pytest.raises(RuntimeError, match="size"), memory_faults_named():
        torch.ones(2) + torch.ones(3)
