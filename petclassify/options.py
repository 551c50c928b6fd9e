"""The options of `train`, and those that other commands take too.

Typer reads a command's signature; these are the types that stand there. Their defaults are
those of `config`, named once. Levers are left out of `--help`, so that it fits a screen;
`--help-levers` shows them.
"""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from petclassify.completion import backbones, data_sets, weights
from petclassify.config import (
    ClassWeights,
    Device,
    OptimizerName,
    Precision,
    ScheduleName,
    Unfreeze,
)
from petclassify.errors import UsageError

DATA_ROOT = Path("data")

# The groups of `--help`.
DATA = "Data"
NETWORK = "Network"
TRAINING = "Training"
MODEL = "Model"
RUN = "Run"
OUTPUT = "Output"
_STEPS = "Steps"
_SCHEDULE = "Schedule"
_AGAINST_OVERFITTING = "Against overfitting"

DataArgument = Annotated[
    Path,
    typer.Argument(
        metavar="DATA",
        rich_help_panel=DATA,
        help="DIR/<class>/..., DIR/{train,val,test}/<class>/... or the name of a public set.",
        autocompletion=data_sets,
    ),
]

ImagesArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE...",
        rich_help_panel="Photos",
        help="Files, folders, or - for stdin.",
    ),
]

ModelOption = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=MODEL,
        help="Model file, run folder, or catsdogs, which ships with petclassify. Default: the "
        "model last trained under ./models, else catsdogs.",
    ),
]


def lever(text: str, group: str, least: float = 0, most: float | None = None) -> Any:  # noqa: ANN401
    """A number that `--help-levers` shows, within bounds."""
    return typer.Option(hidden=True, rich_help_panel=group, min=least, max=most, help=text)


def choice(text: str, group: str) -> Any:  # noqa: ANN401
    """A word that `--help-levers` shows."""
    return typer.Option(hidden=True, rich_help_panel=group, metavar="NAME", help=text)


ImageSizeOption = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=NETWORK,
        min=16,
        max=2048,
        help="Side of the window in pixels. Default: the backbone's.",
    ),
]
SeedOption = Annotated[
    int,
    typer.Option(
        rich_help_panel=RUN,
        min=0,
        max=2**32 - 1,
        help="Decides splits and all that is random.",
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(rich_help_panel=RUN, help="Folder of features. Default: the user's own."),
]

DataRootOption = Annotated[
    Path, typer.Option(rich_help_panel=DATA, help="Folder of public data sets.")
]

MaxBadOption = Annotated[
    float,
    typer.Option(
        rich_help_panel=DATA, min=0, max=1, help="Share of photos that may be unreadable."
    ),
]

ExcludeOption = Annotated[
    Path | None,
    typer.Option(rich_help_panel=DATA, help="List of photos to leave out, see data check."),
]
BackboneOption = Annotated[
    str,
    typer.Option(
        rich_help_panel=NETWORK,
        help="As petclassify networks lists them.",
        autocompletion=backbones,
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=NETWORK,
        metavar="FILE",
        help="pretrained, none, or a .safetensors or .pth file. Default: pretrained; of "
        "zoo/NAME, none.",
        autocompletion=weights,
    ),
]


class FigureFormat(StrEnum):
    """How figures are printed."""

    TABLE = "table"
    JSON = "json"


FigureFormatOption = Annotated[
    FigureFormat,
    typer.Option("--format", rich_help_panel=OUTPUT, help="For people, or for programs."),
]

UnfreezeOption = Annotated[
    Unfreeze | None,
    typer.Option(
        rich_help_panel=TRAINING,
        metavar="NAME",
        help="Layers trained too: none, last (the last stage), gradual (stage by stage), all. "
        "Default: none; of zoo/NAME, all.",
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option(
        rich_help_panel=TRAINING, min=1, max=10_000, help="With --unfreeze, 4; zoo/NAME, 10."
    ),
]
MinutesOption = Annotated[float, lever("Time for all epochs, not their number.", _STEPS)]
ResumeOption = Annotated[
    bool, typer.Option("--resume", rich_help_panel=RUN, help="Go on with an interrupted run.")
]
TensorboardOption = Annotated[
    bool,
    typer.Option("--tensorboard", rich_help_panel=RUN, help="Log epochs for TensorBoard too."),
]
DeviceOption = Annotated[
    Device,
    typer.Option(
        rich_help_panel=TRAINING,
        metavar="NAME",
        help="Where layers train: auto, cpu, cuda or mps.",
    ),
]
BatchSizeOption = Annotated[int, lever("Photos per step.", _STEPS, 1, 65_536)]
OptimizerOption = Annotated[OptimizerName, choice("adamw, adam or sgd.", _STEPS)]
LrOption = Annotated[
    float | None,
    lever("Of the head and the last stage. Default: by optimizer.", _STEPS, 1e-12),
]
LayerDecayOption = Annotated[float, lever("Factor on the rate per stage down.", _STEPS, 0, 1)]
MomentumOption = Annotated[float, lever("Of SGD.", _STEPS, 0, 1)]
WeightDecayOption = Annotated[float, lever("L2; not on biases and norms.", _AGAINST_OVERFITTING)]
L1Option = Annotated[float, lever("L1; not on biases and norms.", _AGAINST_OVERFITTING)]
DropoutOption = Annotated[float, lever("Before the head.", _AGAINST_OVERFITTING, 0, 0.99)]
LabelSmoothingOption = Annotated[
    float, lever("Share spread over all classes.", _AGAINST_OVERFITTING, 0, 0.99)
]
ClassWeightsOption = Annotated[
    ClassWeights,
    choice("none; balanced counts rare ones more.", _AGAINST_OVERFITTING),
]
ScheduleOption = Annotated[
    ScheduleName,
    choice("cosine, step, plateau or constant.", _SCHEDULE),
]
WarmupOption = Annotated[float, lever("Epochs in which the rate rises.", _SCHEDULE)]
PatienceOption = Annotated[int, lever("Epochs without gain, then stop; 0: never.", _SCHEDULE)]
EmaOption = Annotated[
    float, lever("Decay of an average of weights; 0: off.", _AGAINST_OVERFITTING, 0, 0.99999)
]
ClipGradOption = Annotated[float, lever("Largest gradient norm; 0: off.", _STEPS)]
PrecisionOption = Annotated[
    Precision, choice("Of the layers that train: auto, fp32 or bf16.", _STEPS)
]


def require_numbers(**given: float) -> None:
    """Refuse nan and infinity, which pass every bound that typer checks."""
    for name, value in given.items():
        if not math.isfinite(value):
            raise UsageError(f"--{name.replace('_', '-')} needs a number, not {value}")
