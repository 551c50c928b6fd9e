"""The options of `train`'s random changes of photos, which `data preview` and `compare` take too.

Each names one field of `config.Augmentation`. A command asks for all of them by
`takes_augmentation`, and gets what was asked for as one `augmentation`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import typer

from petclassify.config import NO_AUGMENTATION, Augmentation
from petclassify.help import HelpfulCommand
from petclassify.options import TRAINING, lever, require_numbers

_CHANGES_OF_PHOTOS = "Random changes of training photos"

Preset = Literal["default", "none"]

_USUAL = Augmentation()


def _change(text: str, name: str, least: float = 0, most: float = 1) -> Any:  # noqa: ANN401
    usual = getattr(_USUAL, name)
    option = lever(f"{text} Default: {usual:g}.", _CHANGES_OF_PHOTOS, least, most)
    return Annotated[float | None, option]


_CHANGES: dict[str, Any] = {
    "hflip": _change("Probability of a mirror image.", "hflip"),
    "vflip": _change("Of mirroring from top to bottom.", "vflip"),
    "rotate": _change("Up to so many degrees.", "rotate", 0, 180),
    "scale": _change("Least share shown; 1: off.", "scale", 0.01),
    "crop": _change("How far off the middle; 0: off.", "crop"),
    "noise": _change("Gaussian, in shares of white.", "noise"),
    "color_jitter": _change("Of brightness, contrast, saturation.", "color_jitter"),
}

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


def chosen_augmentation(preset: Preset, changes: dict[str, float | None]) -> Augmentation:
    """The preset with what was given in its place."""
    start = NO_AUGMENTATION if preset == "none" else _USUAL
    return replace(start, **{name: value for name, value in changes.items() if value is not None})


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
