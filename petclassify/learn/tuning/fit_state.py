"""The last whole state of a fit, from which `--resume` goes on.

One .safetensors file, replaced at once: tensors by name, and in its header, as JSON, the
epochs done and all that was decided by measuring. So no kill can leave weights of one epoch
beside the history of another. No random state is kept, for there is none to keep: every draw
is made from the seed, the epoch and the photo, or for dropout the process. Nor a schedule's:
see `learn.tuning.schedule`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from petclassify.errors import ModelError
from petclassify.files import disk_faults_named, write_whole
from petclassify.report.history import Epoch

METADATA_KEY = "petclassify-resume"
FORMAT_VERSION = 2

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class FitState:
    """Where a fit stands at the end of an epoch.

    Attributes:
        epochs: those done, in order.
        seconds: that each of them took.
        start_loss: the validation loss before the first of them.
        arithmetic: of the open layers, as chosen at the start.
        engine: of the frozen part; None where it runs in torch.
        photos: digest of the photos, their labels and splits.
        weights: of what may change in this fit, batch norm statistics included.
        average: the running average of the same; empty without one.
        optimizer: its moments.
        best: the weights of the best epoch; empty while none was better than the head.

    """

    epochs: tuple[Epoch, ...]
    seconds: tuple[float, ...]
    start_loss: float
    arithmetic: str
    engine: str | None
    photos: str
    weights: Tensors
    average: Tensors
    optimizer: Tensors
    best: Tensors

    @property
    def val_losses(self) -> list[float]:
        """Before the first epoch, then after each."""
        return [self.start_loss, *(epoch.val_loss for epoch in self.epochs)]

    def is_of(self, tensors: Tensors) -> bool:
        """Whether these are the tensors that it keeps, by name and shape."""
        kept = [self.weights, *(part for part in (self.average, self.best) if part)]
        shapes = {name: value.shape for name, value in tensors.items()}
        return all({n: v.shape for n, v in part.items()} == shapes for part in kept)

    def save(self, path: Path) -> None:
        """Write it, whole or not at all.

        Raises:
            EnvironmentFault: the disk is full. The state that was there before still is.

        """
        about = {
            "format_version": FORMAT_VERSION,
            "epochs": [asdict(epoch) for epoch in self.epochs],
            "seconds": self.seconds,
            "start_loss": self.start_loss,
            "arithmetic": self.arithmetic,
            "engine": self.engine,
            "photos": self.photos,
        }
        tensors: Tensors = {}
        places: set[int] = set()
        for part in _PARTS:
            for name, value in getattr(self, part).items():
                kept = value.detach().cpu().contiguous()
                # The format refuses memory that two names share, as tied weights do.
                tensors[f"{part}:{name}"] = kept.clone() if kept.data_ptr() in places else kept
                places.add(kept.data_ptr())
        with disk_faults_named(path.parent):
            path.parent.mkdir(exist_ok=True)
        # The library's own writing hides a full disk among its errors.
        write_whole(path, safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(about)}))


_PARTS = ("weights", "average", "optimizer", "best")
_NUMBERS = [field.name for field in fields(Epoch) if field.name != "phase"]


def load_state(path: Path) -> FitState | None:
    """Read what `FitState.save` wrote; None where there is nothing yet.

    Raises:
        ModelError: the file is damaged, or not one of ours.

    """
    if not path.exists():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            about = json.loads((opened.metadata() or {})[METADATA_KEY])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if about["format_version"] != FORMAT_VERSION:
            raise ModelError(f"{path}: written by another version of petclassify. Train anew")
        parts: dict[str, Tensors] = {part: {} for part in _PARTS}
        for key, value in tensors.items():
            part, _, name = key.partition(":")
            parts[part][name] = value
        epochs = tuple(_epoch_of(epoch) for epoch in about["epochs"])
        return FitState(
            epochs,
            tuple(float(seconds) for seconds in about["seconds"]),
            float(about["start_loss"]),
            str(about["arithmetic"]),
            about["engine"],
            str(about["photos"]),
            **parts,
        )
    except (
        *(safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError),
        *(OverflowError, RecursionError),
    ) as error:
        raise damaged(path) from error


def _epoch_of(told: dict[str, Any]) -> Epoch:
    if not all(isinstance(told[name], int | float) for name in _NUMBERS):
        raise ValueError(f"not all of {', '.join(_NUMBERS)} are numbers")
    if not isinstance(told["phase"], str):
        raise TypeError("its phase is no text")
    for name in _NUMBERS:
        float(told[name])  # which an integer of JSON may be too large for
    return Epoch(**told)


def damaged(path: Path) -> ModelError:
    """What to raise where a state cannot be what `FitState.save` wrote."""
    return ModelError(
        f"{path}: not a state that petclassify wrote, or damaged. Train anew, without --resume"
    )
