"""`petclassify networks`, and `compare`, which sets some side by side."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from petclassify.augmentation_options import takes_augmentation
from petclassify.commands.shared import (
    TRAIN_MODULES,
    collect_from_now_on,
    located,
    require_extra,
    show,
    show_as,
    terminal_width,
)
from petclassify.completion import backbones, several_backbones
from petclassify.config import DEFAULT_BACKBONE, Augmentation
from petclassify.errors import ExitCode, UsageError
from petclassify.options import (
    DATA_ROOT,
    NETWORK,
    OUTPUT,
    RUN,
    DataArgument,
    DataRootOption,
    ExcludeOption,
    FigureFormat,
    FigureFormatOption,
    MaxBadOption,
    SeedOption,
    require_numbers,
)
from petclassify.printing import catalogue_lines, comparison_lines, layer_lines

DEFAULT_NETWORKS = (
    "zoo/lenet5,zoo/alexnet,zoo/vgg11,zoo/nin,zoo/googlenet,zoo/resnet18,zoo/densenet121,"
    + DEFAULT_BACKBONE
)

SCRATCH = "Networks from scratch"
_WILDCARDS = set("*?[")


@takes_augmentation
def compare(
    data: DataArgument,
    augmentation: Augmentation,
    networks: Annotated[
        str,
        typer.Option(
            rich_help_panel=NETWORK,
            metavar="A,B,...",
            show_default=False,
            help=f"Names. Default: the zoo and {DEFAULT_BACKBONE}.",
            autocompletion=several_backbones,
        ),
    ] = DEFAULT_NETWORKS,
    epochs: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=SCRATCH, min=1, max=10_000, help="Passes over the photos. Default: 10."
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=SCRATCH, min=0.01, help="For each network, in place of epochs."
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=SCRATCH,
            min=16,
            max=2048,
            help="Side of the window in pixels. Default: each one's own.",
        ),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(rich_help_panel=SCRATCH, min=1, max=65_536, help="Photos per step."),
    ] = 32,
    max_bad: MaxBadOption = 0.01,
    exclude: ExcludeOption = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=RUN,
            help="Folder; goes on there. Default: models/DATA-comparison.",
        ),
    ] = None,
    data_root: DataRootOption = DATA_ROOT,
) -> None:
    """Train several networks the same way, and set them side by side.

    Examples:
        petclassify compare photos --minutes 2  # all of the zoo, and the default
        petclassify compare photos --networks zoo/lenet5,tf_efficientnet_lite0

    """
    require_extra("train", TRAIN_MODULES)
    if epochs and minutes:
        raise UsageError("--epochs and --minutes are two budgets. Give one of them")
    require_numbers(minutes=minutes or 0, max_bad=max_bad)
    from petclassify.learn.compare import compare as run
    from petclassify.learn.compare import parse_networks
    from petclassify.learn.compare_folder import CompareConfig

    data = located(data, data_root)
    config = CompareConfig(
        data=data,
        networks=parse_networks(networks),
        epochs=epochs,
        minutes=minutes,
        image_size=image_size,
        batch_size=batch_size,
        augmentation=augmentation,
        seed=seed,
        max_bad=max_bad,
        exclude=exclude,
        out=out or Path("models") / f"{Path(os.path.realpath(data)).name}-comparison",
    )
    collect_from_now_on()
    comparison = run(config)
    show(comparison_lines(comparison, terminal_width()))
    show(["", f"files  {config.out}/comparison.csv, .json, .png"])
    if comparison.failures:
        raise typer.Exit(ExitCode.SOME_IMAGES_FAILED)


def networks(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            rich_help_panel=NETWORK,
            help="A timm name or zoo/NAME; 'resnet*' lists names.",
            autocompletion=backbones,
        ),
    ] = None,
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input",
            rich_help_panel=NETWORK,
            metavar="CxHxW",
            help="One image. Default: colour, the network's window.",
        ),
    ] = None,
    num_classes: Annotated[
        int,
        typer.Option(rich_help_panel=NETWORK, min=1, max=10_000_000, help="Of the classifier."),
    ] = 1000,
    depth: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=OUTPUT, min=1, help="Show layers within layers so far. Default: all."
        ),
    ] = None,
    output_format: FigureFormatOption = FigureFormat.TABLE,
) -> None:
    """List networks, or show the layers of one.

    Of each layer: output shape, parameters, multiply-accumulates.

    Examples:
        petclassify networks                         # what --backbone takes
        petclassify networks 'resnet*'               # names like these
        petclassify networks zoo/resnet18 --depth 1  # its layers

    """
    if (input_shape or depth) and (name is None or set(name) & _WILDCARDS):
        raise UsageError("--input and --depth are for the layers of one network: give its NAME")
    require_extra("train", TRAIN_MODULES)
    from petclassify.learn.backbones import catalogue
    from petclassify.learn.backbones.layer_table import describe_network, parse_shape

    if name is None:
        found = catalogue.read_catalogue()
        show_as(output_format, found.to_dict(), catalogue_lines(found, terminal_width()))
    elif set(name) & _WILDCARDS:
        names = catalogue.matching(name)
        show_as(output_format, names, names)
    else:
        shape = None if input_shape is None else parse_shape(input_shape)
        table = describe_network(name, shape, num_classes)
        show_as(output_format, table.to_dict(), layer_lines(table, depth))
