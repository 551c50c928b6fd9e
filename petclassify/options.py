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
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperOption

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

DATA_ROOT = Path("data")

ModelOption = Annotated[
    Path | None,
    typer.Option(
        help="Model file or run folder. Default: the model last trained under ./models, "
        "else the cats and dogs that ship with petclassify."
    ),
]

Preset = Literal["default", "none"]

_USUAL = Augmentation()


def _lever(text: str, least: float = 0, most: float | None = None) -> Any:  # noqa: ANN401
    return typer.Option(hidden=True, min=least, max=most, help=text)


def _change(text: str, name: str, least: float = 0, most: float = 1) -> Any:  # noqa: ANN401
    return _lever(f"{text} Default: {getattr(_USUAL, name):g}.", least, most)


ImageSizeOption = Annotated[
    int | None,
    typer.Option(min=16, max=2048, help="Window. Default: the backbone's."),
]
SeedOption = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Decides splits, folds and all that is random.")
]
CacheOption = Annotated[
    Path | None, typer.Option(help="Folder of features. Default: the user's own.")
]

DataRootOption = Annotated[Path, typer.Option(help="Folder of public data sets.")]

MaxBadOption = Annotated[
    float, typer.Option(min=0, max=1, help="Share of photos that may be unreadable.")
]

ExcludeOption = Annotated[Path | None, typer.Option(help="List of photos to leave out.")]
BackboneOption = Annotated[str, typer.Option(help="As petclassify networks lists them.")]

UnfreezeOption = Annotated[
    Unfreeze | None, typer.Option(help="Layers that train too: last stage; stage by stage; all.")
]
EpochsOption = Annotated[
    int | None,
    typer.Option(min=1, max=10_000, help="Default: 4; of zoo/NAME, 10."),
]
MinutesOption = Annotated[float, _lever("Time for all epochs, in place of their number.", 0)]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
TensorboardOption = Annotated[
    bool, typer.Option("--tensorboard", help="Log epochs for TensorBoard too.")
]
DeviceOption = Annotated[Device, typer.Option(help="Where open layers train.")]
PresetOption = Annotated[
    Preset, typer.Option("--augment", help="Random changes of training photos.")
]

BatchSizeOption = Annotated[int, _lever("Photos per step.", 1, 65_536)]
OptimizerOption = Annotated[OptimizerName, typer.Option(hidden=True, help="Rule of the steps.")]
LrOption = Annotated[
    float | None, _lever("Of the head and the last stage. Default: by the optimizer.", 1e-12)
]
LayerDecayOption = Annotated[float, _lever("Factor on the rate per stage to the stem.", 0, 1)]
MomentumOption = Annotated[float, _lever("Of SGD.", 0, 1)]
WeightDecayOption = Annotated[float, _lever("L2; not on biases and norms.")]
L1Option = Annotated[float, _lever("L1; not on biases and norms.")]
DropoutOption = Annotated[float, _lever("Before the head.", 0, 0.99)]
LabelSmoothingOption = Annotated[float, _lever("Share spread over all classes.", 0, 0.99)]
ClassWeightsOption = Annotated[
    ClassWeights, typer.Option(hidden=True, help="balanced: rare classes count more.")
]
ScheduleOption = Annotated[
    ScheduleName, typer.Option(hidden=True, help="How the rate falls after the warm-up.")
]
WarmupOption = Annotated[float, _lever("Epochs in which the rate rises.")]
PatienceOption = Annotated[int, _lever("Epochs without a better one, then stop; 0: never.")]
EmaOption = Annotated[float, _lever("Decay of an average of weights; 0: off.", 0, 0.99999)]
ClipGradOption = Annotated[float, _lever("Largest gradient norm; 0: off.")]
PrecisionOption = Annotated[
    Precision, typer.Option(hidden=True, help="Of open layers; auto measures.")
]

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
    if asked:
        for parameter in context.command.params:
            if isinstance(parameter, TyperOption):
                parameter.hidden = not parameter.hidden
        typer.echo(context.get_help())
        raise typer.Exit


HelpLeversOption = Annotated[
    bool,
    typer.Option(
        "--help-levers",
        callback=_show_levers,
        is_eager=True,
        help="Show the levers of fine-tuning and augmentation.",
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
