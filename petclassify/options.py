"""Options that more than one command takes, and the long list of `train`.

Typer reads a command's signature; these are the types that stand there. The defaults of
fitting and of augmentation are those of `config`, named once.
"""

from __future__ import annotations

from dataclasses import fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from petclassify.config import NO_AUGMENTATION, Augmentation


class Unfreeze(StrEnum):
    """Which layers open."""

    NONE = "none"
    LAST = "last"
    GRADUAL = "gradual"
    ALL = "all"


class OptimizerName(StrEnum):
    """The rule of the steps."""

    ADAMW = "adamw"
    ADAM = "adam"
    SGD = "sgd"


class ScheduleName(StrEnum):
    """How the learning rate goes."""

    COSINE = "cosine"
    STEP = "step"
    PLATEAU = "plateau"
    CONSTANT = "constant"


class ClassWeights(StrEnum):
    """How much each class counts."""

    NONE = "none"
    BALANCED = "balanced"


class Augment(StrEnum):
    """Where augmentation starts from."""

    DEFAULT = "default"
    NONE = "none"


class Device(StrEnum):
    """Where open layers train."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Precision(StrEnum):
    """In which numbers open layers train."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


_USUAL = Augmentation()

ImageSizeOption = Annotated[
    int | None,
    typer.Option(min=16, max=2048, help="Side of the window. Default: the backbone's."),
]
SeedOption = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Decides splits, folds and all that is random.")
]

UnfreezeOption = Annotated[
    Unfreeze,
    typer.Option(
        help="Which layers train too: the last stage; one more per phase from the top; all.",
    ),
]
EpochsOption = Annotated[int, typer.Option(min=1, max=10_000, help="Over all phases.")]
BatchSizeOption = Annotated[int, typer.Option(min=1, max=65_536, help="Photos per step.")]
LrOption = Annotated[
    float | None,
    typer.Option(
        min=0, help="Learning rate of the head and the last stage. Default: by the optimizer."
    ),
]
LayerDecayOption = Annotated[
    float, typer.Option(min=0, max=1, help="Factor on the rate, per stage towards the stem.")
]
MomentumOption = Annotated[float, typer.Option(min=0, max=1, help="Of SGD.")]
WeightDecayOption = Annotated[
    float, typer.Option(min=0, help="L2 penalty; not on biases and norms.")
]
L1Option = Annotated[float, typer.Option("--l1", min=0, help="L1 penalty; likewise.")]
DropoutOption = Annotated[float, typer.Option(min=0, max=0.99, help="Before the head.")]
LabelSmoothingOption = Annotated[
    float, typer.Option(min=0, max=0.99, help="Share of the target spread over all classes.")
]
WarmupOption = Annotated[float, typer.Option(min=0, help="Epochs in which the rate rises.")]
PatienceOption = Annotated[
    int, typer.Option(min=0, help="Stop after so many epochs without a better one; 0: never.")
]
EmaOption = Annotated[
    float, typer.Option(min=0, max=0.99999, help="Decay of a running average of weights; 0: off.")
]
ClipGradOption = Annotated[float, typer.Option(min=0, help="Largest gradient norm; 0: off.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Go on with the interrupted run of the same options.")
]
TensorboardOption = Annotated[bool, typer.Option("--tensorboard", help="Log epochs for it too.")]

AugmentOption = Annotated[
    Augment, typer.Option(help="Random changes of training photos; those below alter it.")
]
HflipOption = Annotated[
    float | None,
    typer.Option(min=0, max=1, help=f"Probability of a mirror image. Default: {_USUAL.hflip:g}."),
]
VflipOption = Annotated[
    float | None,
    typer.Option(min=0, max=1, help=f"Of turning upside down. Default: {_USUAL.vflip:g}."),
]
RotateOption = Annotated[
    float | None,
    typer.Option(min=0, max=180, help=f"Up to so many degrees. Default: {_USUAL.rotate:g}."),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(
        min=0.01, max=1, help=f"Least share of the photo shown. Default: {_USUAL.scale:g}; 1: off."
    ),
]
CropOption = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help=f"How far the crop may leave the middle. Default: {_USUAL.crop:g}."
    ),
]
NoiseOption = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help=f"Gaussian noise, in shares of white. Default: {_USUAL.noise:g}."
    ),
]
ColorJitterOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help=f"Change of brightness, contrast, saturation. Default: {_USUAL.color_jitter:g}.",
    ),
]
CacheOption = Annotated[
    Path | None, typer.Option(help="Where features are kept. Default: the user's cache.")
]


def chosen_augmentation(preset: Augment, **given: float | None) -> Augmentation:
    """The preset with what was given in its place."""
    assert given.keys() <= {field.name for field in fields(Augmentation)}
    start = NO_AUGMENTATION if preset == Augment.NONE else _USUAL
    return replace(start, **{name: value for name, value in given.items() if value is not None})
