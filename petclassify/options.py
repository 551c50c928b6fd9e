"""The options of `train`, and those that other commands take too.

Typer reads a command's signature; these are the types that stand there. Their defaults are
those of `config`, named once. Levers are left out of `--help`, so that it fits a screen;
`--help-levers` shows them.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from petclassify.completion import backbones, data_sets, weights
from petclassify.config import (
    NO_AUGMENTATION,
    Augmentation,
    ClassWeights,
    Device,
    OptimizerName,
    Precision,
    ScheduleName,
    Unfreeze,
)
from petclassify.errors import UsageError
from petclassify.help import HelpfulCommand

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
_CHANGES_OF_PHOTOS = "Random changes of training photos"

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

Preset = Literal["default", "none"]

_USUAL = Augmentation()


def _lever(text: str, group: str, least: float = 0, most: float | None = None) -> Any:  # noqa: ANN401
    return typer.Option(hidden=True, rich_help_panel=group, min=least, max=most, help=text)


def _choice(text: str, group: str) -> Any:  # noqa: ANN401
    return typer.Option(hidden=True, rich_help_panel=group, metavar="NAME", help=text)


def _change(text: str, name: str, least: float = 0, most: float = 1) -> Any:  # noqa: ANN401
    usual = getattr(_USUAL, name)
    return _lever(f"{text} Default: {usual:g}.", _CHANGES_OF_PHOTOS, least, most)


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
    typer.Option(rich_help_panel=TRAINING, min=1, max=10_000, help="Default: 4; of zoo/NAME, 10."),
]
MinutesOption = Annotated[float, _lever("Time for all epochs, not their number.", _STEPS)]
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
PresetOption = Annotated[
    Preset,
    typer.Option(
        "--augment",
        rich_help_panel=TRAINING,
        metavar="NAME",
        show_default=False,
        help="Random changes of photos: default, or none at all.",
    ),
]

BatchSizeOption = Annotated[int, _lever("Photos per step.", _STEPS, 1, 65_536)]
OptimizerOption = Annotated[OptimizerName, _choice("adamw, adam or sgd.", _STEPS)]
LrOption = Annotated[
    float | None,
    _lever("Of the head and the last stage. Default: by optimizer.", _STEPS, 1e-12),
]
LayerDecayOption = Annotated[float, _lever("Factor on the rate per stage down.", _STEPS, 0, 1)]
MomentumOption = Annotated[float, _lever("Of SGD.", _STEPS, 0, 1)]
WeightDecayOption = Annotated[float, _lever("L2; not on biases and norms.", _AGAINST_OVERFITTING)]
L1Option = Annotated[float, _lever("L1; not on biases and norms.", _AGAINST_OVERFITTING)]
DropoutOption = Annotated[float, _lever("Before the head.", _AGAINST_OVERFITTING, 0, 0.99)]
LabelSmoothingOption = Annotated[
    float, _lever("Share spread over all classes.", _AGAINST_OVERFITTING, 0, 0.99)
]
ClassWeightsOption = Annotated[
    ClassWeights,
    _choice("none; balanced counts rare ones more.", _AGAINST_OVERFITTING),
]
ScheduleOption = Annotated[
    ScheduleName,
    _choice("cosine, step, plateau or constant.", _SCHEDULE),
]
WarmupOption = Annotated[float, _lever("Epochs in which the rate rises.", _SCHEDULE)]
PatienceOption = Annotated[int, _lever("Epochs without gain, then stop; 0: never.", _SCHEDULE)]
EmaOption = Annotated[
    float, _lever("Decay of an average of weights; 0: off.", _AGAINST_OVERFITTING, 0, 0.99999)
]
ClipGradOption = Annotated[float, _lever("Largest gradient norm; 0: off.", _STEPS)]
PrecisionOption = Annotated[Precision, _choice("Of open layers: auto, fp32 or bf16.", _STEPS)]

HflipOption = Annotated[float | None, _change("Probability of a mirror image.", "hflip")]
VflipOption = Annotated[float | None, _change("Of turning upside down.", "vflip")]
RotateOption = Annotated[float | None, _change("Up to so many degrees.", "rotate", 0, 180)]
ScaleOption = Annotated[float | None, _change("Least share shown; 1: off.", "scale", 0.01)]
CropOption = Annotated[float | None, _change("How far off the middle; 0: off.", "crop")]
NoiseOption = Annotated[float | None, _change("Gaussian, in shares of white.", "noise")]
ColorJitterOption = Annotated[
    float | None, _change("Of brightness, contrast, saturation.", "color_jitter")
]


def chosen_augmentation(preset: Preset, changes: dict[str, float | None]) -> Augmentation:
    """The preset with what was given in its place."""
    start = NO_AUGMENTATION if preset == "none" else _USUAL
    return replace(start, **{name: value for name, value in changes.items() if value is not None})


def require_numbers(**given: float) -> None:
    """Refuse nan and infinity, which pass every bound that typer checks."""
    for name, value in given.items():
        if not math.isfinite(value):
            raise UsageError(f"--{name.replace('_', '-')} needs a number, not {value}")


def _show_levers(context: typer.Context, asked: bool) -> None:
    if asked and isinstance(context.command, HelpfulCommand):
        typer.echo(context.command.levers_page(context))
        raise typer.Exit


HelpLeversOption = Annotated[
    bool,
    typer.Option(
        "--help-levers",
        callback=_show_levers,
        is_eager=True,
        help="Show the rest, of training and its random changes.",
    ),
]


_CHANGES: dict[str, Any] = {
    "hflip": HflipOption,
    "vflip": VflipOption,
    "rotate": RotateOption,
    "scale": ScaleOption,
    "crop": CropOption,
    "noise": NoiseOption,
    "color_jitter": ColorJitterOption,
}


def takes_augmentation(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for every random change; it gets them as one `augmentation`."""
    own = inspect.signature(command, eval_str=True)
    options = [_option("augment", PresetOption, "default")]
    options += [_option(name, annotation, None) for name, annotation in _CHANGES.items()]
    options += [_option("help_levers", HelpLeversOption, False)]
    kept = [parameter for name, parameter in own.parameters.items() if name != "augmentation"]

    @functools.wraps(command)
    def run(augment: Preset = "default", help_levers: bool = False, **given: Any) -> None:  # noqa: ANN401, ARG001
        changes = {name: given.pop(name) for name in _CHANGES}
        require_numbers(**{name: value or 0 for name, value in changes.items()})
        command(**given, augmentation=chosen_augmentation(augment, changes))

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*kept, *options)]
    # Typer reads both.
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _option(name: str, annotation: Any, default: object) -> inspect.Parameter:  # noqa: ANN401
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )
