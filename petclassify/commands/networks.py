"""`petclassify networks`, and `compare`, which sets some side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from petclassify.commands.shared import (
    TRAIN_MODULES,
    FigureFormat,
    collect_from_now_on,
    located,
    require_extra,
    show,
    show_as,
)
from petclassify.config import DEFAULT_BACKBONE, Augmentation
from petclassify.errors import ExitCode, UsageError
from petclassify.options import (
    DATA_ROOT,
    DataRootOption,
    MaxBadOption,
    SeedOption,
    require_numbers,
    takes_augmentation,
)
from petclassify.printing import catalogue_lines, comparison_lines, layer_lines

DEFAULT_NETWORKS = (
    "zoo/lenet5,zoo/alexnet,zoo/vgg11,zoo/nin,zoo/googlenet,zoo/resnet18,zoo/densenet121,"
    + DEFAULT_BACKBONE
)


@takes_augmentation
def compare(
    data: Annotated[Path, typer.Argument(help="Data set, as for train.")],
    augmentation: Augmentation,
    networks: Annotated[
        str,
        typer.Option(
            show_default=False,
            help=f"With commas between. Default: the zoo and {DEFAULT_BACKBONE}.",
        ),
    ] = DEFAULT_NETWORKS,
    epochs: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Of networks from scratch. Default: 10.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="For each network from scratch, not epochs.")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(min=16, max=2048, help="Window of networks from scratch. Default: their own."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=65_536, help="Photos per step.")] = 32,
    max_bad: MaxBadOption = 0.01,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder; goes on there. Default: models/DATA-comparison.")
    ] = None,
    data_root: DataRootOption = DATA_ROOT,
) -> None:
    """Train networks the same way on the same split, and set them side by side.

    Example: petclassify compare data/catsdogs --networks zoo/resnet18,resnet18 --minutes 2
    """
    require_extra("train", TRAIN_MODULES)
    if epochs and minutes:
        raise UsageError("--epochs and --minutes are two budgets. Give one of them")
    require_numbers(minutes=minutes or 0, max_bad=max_bad)
    from petclassify.learn.compare import CompareConfig, parse_networks
    from petclassify.learn.compare import compare as run

    data = located(data, data_root)
    config = CompareConfig(
        data,
        parse_networks(networks),
        epochs,
        minutes,
        image_size,
        batch_size,
        augmentation,
        seed,
        max_bad,
        out or Path("models") / f"{data.resolve().name}-comparison",
    )
    collect_from_now_on()
    comparison = run(config)
    show(comparison_lines(comparison))
    show(["", f"files  {config.out}/comparison.csv, .json, .png"])
    if comparison.failures:
        raise typer.Exit(ExitCode.SOME_IMAGES_FAILED)


def networks(
    name: Annotated[
        str | None, typer.Argument(help="A timm name or zoo/NAME; 'resnet*' lists names.")
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option("--input", help="CxHxW. Default: colour, the network's window.")
    ] = None,
    num_classes: Annotated[int, typer.Option(min=1, help="Of the classifier.")] = 1000,
    depth: Annotated[
        int | None, typer.Option(min=1, help="Show layers within layers so far. Default: all.")
    ] = None,
    output_format: Annotated[FigureFormat, typer.Option("--format")] = FigureFormat.TABLE,
) -> None:
    """List networks, or show the layers of one: shapes, parameters, multiply-accumulates.

    Examples: petclassify networks

    petclassify networks zoo/resnet18 --input 1x224x224 --depth 1
    """
    require_extra("train", TRAIN_MODULES)
    from petclassify.learn.backbones import catalogue
    from petclassify.learn.backbones.layer_table import describe_network, parse_shape

    if name is None:
        found = catalogue.read_catalogue()
        show_as(output_format, found.to_dict(), catalogue_lines(found))
    elif set(name) & set("*?["):
        names = catalogue.matching(name)
        show_as(output_format, names, names)
    else:
        shape = None if input_shape is None else parse_shape(input_shape)
        table = describe_network(name, shape, num_classes)
        show_as(output_format, table.to_dict(), layer_lines(table, depth))
