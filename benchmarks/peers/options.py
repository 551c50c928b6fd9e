"""The options that every peer's script takes, and the photos it is given."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

NETWORK = "tf_efficientnet_lite0"


@dataclass(frozen=True)
class Options:
    """`train` makes `model` from data and weights; `predict` says what is on photos."""

    verb: str
    model: Path
    data: Path
    weights: Path | None
    journal: Path | None
    epochs: int
    budget_s: float
    frozen: bool


def read_options(epochs: int = 0) -> Options:
    """Read the command line; `epochs` is what the peer's documentation teaches."""
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["train", "predict"])
    parser.add_argument("model", type=Path, help="file to write, or to predict with")
    parser.add_argument("data", type=Path, help="data set; for predict a photo or a folder")
    parser.add_argument("--weights", type=Path, help="a state dict by timm's names")
    parser.add_argument("--journal", type=Path)
    parser.add_argument("--epochs", type=int, default=epochs, help="0: export, untrained")
    parser.add_argument("--budget", type=float, default=500.0, dest="budget_s", help="seconds")
    parser.add_argument("--frozen", action="store_true", help="train the last layer only")
    return Options(**vars(parser.parse_args()))


def photos_of(data: Path) -> list[Path]:
    """One photo, or those of a folder of class folders."""
    return [data] if data.is_file() else sorted(data.glob("*/*.jpg"))
