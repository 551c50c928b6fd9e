"""The rows of history.csv: what training tried, and how each try did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StrengthTried:
    """One strength of the head's search.

    Attributes:
        strength: L2 penalty per photo on standardised features.
        train_loss, train_accuracy: on the photos that the heads were fitted on.
        val_loss, val_accuracy: on the photos held out.

    """

    strength: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True)
class Epoch:
    """One pass over the training photos.

    Attributes:
        phase: which stages were open, see `learn.tuning.schedule`.
        number: counted from 1.
        lr: of the head, at the end of the epoch.
        train_loss, train_accuracy: over the epoch, on changed photos, as the loss is taken.
        val_loss, val_accuracy: after it, on unchanged ones.

    """

    phase: str
    number: int
    lr: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
