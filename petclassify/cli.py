"""The command line: options -> config -> one call -> print.

Rooms are imported inside the commands, so that `predict` never loads what only `train`
needs. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import petclassify
from petclassify.config import (
    DEFAULT_BACKBONE,
    UNBOUNDED_EPOCHS,
    FitConfig,
    TrainConfig,
    default_fit,
    default_weights,
)
from petclassify.errors import EnvironmentFault, ExitCode, UsageError
from petclassify.options import (
    BatchSizeOption,
    CacheOption,
    ClassWeightsOption,
    ClipGradOption,
    ColorJitterOption,
    CropOption,
    DataRootOption,
    DeviceOption,
    DropoutOption,
    EmaOption,
    EpochsOption,
    HelpLeversOption,
    HflipOption,
    ImageSizeOption,
    L1Option,
    LabelSmoothingOption,
    LayerDecayOption,
    LrOption,
    MaxBadOption,
    MinutesOption,
    MomentumOption,
    NoiseOption,
    OptimizerOption,
    PatienceOption,
    PrecisionOption,
    PresetOption,
    ResumeOption,
    RotateOption,
    ScaleOption,
    ScheduleOption,
    SeedOption,
    TensorboardOption,
    UnfreezeOption,
    VflipOption,
    WarmupOption,
    WeightDecayOption,
    chosen_augmentation,
)
from petclassify.printing import (
    catalogue_lines,
    class_lines,
    comparison_lines,
    figure_lines,
    layer_lines,
)
from petclassify.runtime.output import printable

if TYPE_CHECKING:
    from petclassify.learn.train import TrainResult

app = typer.Typer(
    help="From a folder of photos to a classifier you can deploy anywhere.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(
    help="Data sets: drawn, public, and a look at your own.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")

TRAIN_MODULES = (
    *("torch", "torchvision", "timm", "huggingface_hub", "onnx", "safetensors", "lightning_fabric"),
    *("sklearn", "threadpoolctl", "matplotlib", "platformdirs", "rich"),
)

ModelOption = Annotated[
    Path | None,
    typer.Option(
        help="Model file or run folder. Default: the model last trained under ./models, "
        "else the cats and dogs that ship with petclassify."
    ),
]


DATA_ROOT = Path("data")
FIT = FitConfig()
DEFAULT_NETWORKS = (
    "zoo/lenet5,zoo/alexnet,zoo/vgg11,zoo/nin,zoo/googlenet,zoo/resnet18,zoo/densenet121,"
    + DEFAULT_BACKBONE
)


class RowFormat(StrEnum):
    """How predictions are written."""

    TABLE = "table"
    JSONL = "jsonl"
    CSV = "csv"


class FigureFormat(StrEnum):
    """How figures are printed."""

    TABLE = "table"
    JSON = "json"


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"petclassify {petclassify.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """From a folder of photos to a classifier you can deploy anywhere."""


@app.command()
def train(
    data: Annotated[
        Path,
        typer.Argument(help="DIR/<class>/..., DIR/{train,val,test}/<class>/... or a name."),
    ],
    backbone: Annotated[
        str, typer.Option(help="As petclassify networks lists them.")
    ] = DEFAULT_BACKBONE,
    weights: Annotated[
        str | None, typer.Option(help="'pretrained', 'none', or a .safetensors or .pth file.")
    ] = None,
    image_size: ImageSizeOption = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option(help="Run folder. Default: models/DATA-BACKBONE.")
    ] = None,
    max_bad: MaxBadOption = 0.01,
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a photo that lies in two splits.")
    ] = False,
    cache: CacheOption = None,
    data_root: DataRootOption = DATA_ROOT,
    unfreeze: UnfreezeOption = None,
    epochs: EpochsOption = None,
    minutes: MinutesOption = FIT.minutes,
    batch_size: BatchSizeOption = FIT.batch_size,
    optimizer: OptimizerOption = FIT.optimizer,
    lr: LrOption = None,
    layer_decay: LayerDecayOption = FIT.layer_decay,
    momentum: MomentumOption = FIT.momentum,
    weight_decay: WeightDecayOption = FIT.weight_decay,
    l1: L1Option = FIT.l1,
    dropout: DropoutOption = FIT.dropout,
    label_smoothing: LabelSmoothingOption = FIT.label_smoothing,
    class_weights: ClassWeightsOption = FIT.class_weights,
    schedule: ScheduleOption = FIT.schedule,
    warmup_epochs: WarmupOption = FIT.warmup_epochs,
    patience: PatienceOption = FIT.patience,
    ema: EmaOption = FIT.ema,
    clip_grad: ClipGradOption = FIT.clip_grad,
    augment: PresetOption = "default",
    hflip: HflipOption = None,
    vflip: VflipOption = None,
    rotate: RotateOption = None,
    scale: ScaleOption = None,
    crop: CropOption = None,
    noise: NoiseOption = None,
    color_jitter: ColorJitterOption = None,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    resume: ResumeOption = False,
    tensorboard: TensorboardOption = False,
    _help_levers: HelpLeversOption = False,
) -> None:
    """Train a classifier on a folder of photos, judge it, and export it.

    Examples: petclassify train data/catsdogs

    petclassify train data/catsdogs --unfreeze last --epochs 4
    """
    _require_extra("train", TRAIN_MODULES)
    if tensorboard:
        _require_extra("train,tensorboard", ("tensorboard",))
    changes = {"hflip": hflip, "vflip": vflip, "rotate": rotate, "scale": scale}
    changes |= {"crop": crop, "noise": noise, "color_jitter": color_jitter}
    _require_numbers(
        max_bad=max_bad,
        **{name: value or 0 for name, value in changes.items()},
        **{"lr": lr or 0, "weight_decay": weight_decay, "l1": l1, "dropout": dropout},
        **{"label_smoothing": label_smoothing, "warmup_epochs": warmup_epochs, "ema": ema},
        **{
            "minutes": minutes,
            "clip_grad": clip_grad,
            "layer_decay": layer_decay,
            "momentum": momentum,
        },
    )
    weights = weights or default_weights(backbone)
    usual = FitConfig() if unfreeze == "none" else default_fit(backbone, weights)
    fit = FitConfig(
        unfreeze or usual.unfreeze,
        epochs or (UNBOUNDED_EPOCHS if minutes else usual.epochs),
        batch_size,
        optimizer,
        lr,
        layer_decay,
        momentum,
        weight_decay,
        l1,
        dropout,
        label_smoothing,
        class_weights,
        schedule,
        warmup_epochs,
        patience,
        ema,
        clip_grad,
        chosen_augmentation(augment, changes),
        minutes,
    )
    config = TrainConfig(
        _located(data, data_root),
        backbone,
        weights,
        image_size,
        seed,
        out,
        max_bad,
        strict,
        cache,
        fit,
        device,
        precision,
        resume,
        tensorboard,
    )
    _train(config)


@app.command()
def predict(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Files, folders, or - for stdin.")
    ],
    model: ModelOption = None,
    output_format: Annotated[
        RowFormat, typer.Option("--format", help="A table for people, rows for programs.")
    ] = RowFormat.TABLE,
    output: Annotated[Path | None, typer.Option(help="File to write. Default: stdout.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Label unknown photos by their closest class.")
    ] = False,
) -> None:
    """Say what is on photos, or that it is unlike anything the model learned from.

    Example: petclassify predict img.jpg holiday/ --format jsonl
    """
    from petclassify.runtime.predict import predict as run

    _collect_from_now_on()
    tally = run(images, _chosen(model), output_format.value, output, force=force)
    if tally.failed:
        typer.echo(f"{tally.failed} of {tally.predicted + tally.failed} images failed", err=True)
        raise typer.Exit(ExitCode.SOME_IMAGES_FAILED)


@app.command()
def evaluate(
    data: Annotated[
        Path, typer.Argument(help="Labelled folder; of splits, test is judged, else all of it.")
    ],
    model: ModelOption = None,
    data_root: DataRootOption = DATA_ROOT,
    output_format: Annotated[FigureFormat, typer.Option("--format")] = FigureFormat.TABLE,
) -> None:
    """Measure a model file on labelled photos.

    Example: petclassify evaluate data/catsdogs --model models/latest
    """
    from petclassify.images.public_sets import fetched_folder
    from petclassify.report.evaluate import evaluate as run

    _collect_from_now_on()
    found = run(fetched_folder(data, data_root), _chosen(model))
    lines = [*figure_lines({"photos": found.metrics}), "", *class_lines(found.metrics)]
    lines += ["", f"known   {found.known_share:.2%} of the photos; figures are of all"]
    figures = found.metrics.to_dict() | {"known_share": found.known_share}
    _print_as(output_format, figures, lines)
    for error in found.unreadable:
        typer.echo(f"left out: {printable(str(error))}", err=True)
    if found.unreadable:
        raise typer.Exit(ExitCode.SOME_IMAGES_FAILED)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    data: Annotated[
        Path | None, typer.Option(help="Where the run's data set lies now, if it was moved.")
    ] = None,
) -> None:
    """Make a run's model.onnx anew from its checkpoint, checked on real photos.

    Example: petclassify export models/latest
    """
    _require_extra("train", TRAIN_MODULES)
    from petclassify.learn.export import export_run

    _collect_from_now_on()
    typer.echo(export_run(run, data))


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Data set, as for train.")],
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
    augment: PresetOption = "default",
    hflip: HflipOption = None,
    vflip: VflipOption = None,
    rotate: RotateOption = None,
    scale: ScaleOption = None,
    crop: CropOption = None,
    noise: NoiseOption = None,
    color_jitter: ColorJitterOption = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder; goes on there. Default: models/DATA-comparison.")
    ] = None,
    data_root: DataRootOption = DATA_ROOT,
    _help_levers: HelpLeversOption = False,
) -> None:
    """Train networks the same way on the same split, and set them side by side.

    Example: petclassify compare data/catsdogs --networks zoo/resnet18,resnet18 --minutes 2
    """
    _require_extra("train", TRAIN_MODULES)
    if epochs and minutes:
        raise UsageError("--epochs and --minutes are two budgets. Give one of them")
    changes = {"hflip": hflip, "vflip": vflip, "rotate": rotate, "scale": scale}
    changes |= {"crop": crop, "noise": noise, "color_jitter": color_jitter}
    _require_numbers(
        minutes=minutes or 0,
        max_bad=max_bad,
        **{name: value or 0 for name, value in changes.items()},
    )
    from petclassify.learn.compare import CompareConfig, parse_networks
    from petclassify.learn.compare import compare as run

    data = _located(data, data_root)
    config = CompareConfig(
        data,
        parse_networks(networks),
        epochs,
        minutes,
        image_size,
        batch_size,
        chosen_augmentation(augment, changes),
        seed,
        max_bad,
        out or Path("models") / f"{data.resolve().name}-comparison",
    )
    _collect_from_now_on()
    comparison = run(config)
    _print(comparison_lines(comparison))
    _print(["", f"files  {config.out}/comparison.csv, .json, .png"])
    if comparison.failures:
        raise typer.Exit(ExitCode.SOME_IMAGES_FAILED)


@app.command()
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
    _require_extra("train", TRAIN_MODULES)
    from petclassify.learn import catalogue
    from petclassify.learn.layer_table import describe_network, parse_shape

    if name is None:
        found = catalogue.read_catalogue()
        _print_as(output_format, found.to_dict(), catalogue_lines(found))
    elif set(name) & set("*?["):
        names = catalogue.matching(name)
        _print_as(output_format, names, names)
    else:
        shape = None if input_shape is None else parse_shape(input_shape)
        table = describe_network(name, shape, num_classes)
        _print_as(output_format, table.to_dict(), layer_lines(table, depth))


@data_app.command()
def draw(
    folder: Annotated[Path, typer.Argument(help="New folder to fill.")] = Path("data/drawn-pets"),
    count: Annotated[int, typer.Option(min=2, max=100_000, help="Pictures in all.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same pets.")] = 0,
) -> None:
    """Draw cats and dogs, to try things on without photos.

    Example: petclassify data draw data/drawn-pets
    """
    from petclassify.images.drawn_pets import draw_pets

    draw_pets(folder, count, seed)
    typer.echo(f"{count} pictures in {folder}")


@data_app.command()
def fetch(
    name: Annotated[
        str, typer.Argument(help="fashion-mnist, mnist, cifar10, oxford-pets or cats-vs-dogs.")
    ],
    data_root: DataRootOption = DATA_ROOT,
) -> None:
    """Fetch a public data set, checked by its SHA-256; a broken download goes on.

    Example: petclassify data fetch fashion-mnist
    """
    _require_extra("train", TRAIN_MODULES)
    from petclassify.learn.public_data import fetch as run

    typer.echo(run(name, data_root))


@data_app.command()
def preview(
    data: Annotated[Path, typer.Argument(help="Folder, as for train.")],
    augment: PresetOption = "default",
    hflip: HflipOption = None,
    vflip: VflipOption = None,
    rotate: RotateOption = None,
    scale: ScaleOption = None,
    crop: CropOption = None,
    noise: NoiseOption = None,
    color_jitter: ColorJitterOption = None,
    image_size: ImageSizeOption = None,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(help="PNG to write.")] = Path("preview.png"),
    data_root: DataRootOption = DATA_ROOT,
    _help_levers: HelpLeversOption = False,
) -> None:
    """Show what augmentation does to a data set's photos, as a picture.

    Example: petclassify data preview data/catsdogs --rotate 30
    """
    _require_extra("train", TRAIN_MODULES)
    from petclassify.images.index import read_index
    from petclassify.learn.preview import preview as run

    changes = {"hflip": hflip, "vflip": vflip, "rotate": rotate, "scale": scale}
    changes |= {"crop": crop, "noise": noise, "color_jitter": color_jitter}
    _require_numbers(**{name: value or 0 for name, value in changes.items()})
    plan = chosen_augmentation(augment, changes)
    run(read_index(_located(data, data_root)), plan, image_size or 224, seed, out)
    typer.echo(out)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--data", help="Where the drawn pets go.")] = Path(
        "data/drawn-pets"
    ),
) -> None:
    """Go the whole way on drawn pets: draw, train, export, predict. A minute, offline."""
    from petclassify.images.drawn_pets import draw_pets

    if not folder.exists():
        typer.echo(f"$ petclassify data draw {folder}")
        draw_pets(folder, count=200, seed=0)
    typer.echo(f"$ petclassify train {folder}")
    _require_extra("train", TRAIN_MODULES)
    _train(TrainConfig(folder))
    example = sorted(folder.glob("*/*"))[0]
    typer.echo(f"\n$ petclassify predict {example}")
    predict([str(example)])
    typer.echo(
        "\nNow with your own photos, in folders named after what they show:\n"
        "  petclassify train DIR       where DIR/<class>/<image>.jpg\n"
        "  petclassify predict IMAGE"
    )


def _train(config: TrainConfig) -> None:
    from petclassify.learn.preflight import check_request

    index = check_request(config)
    from petclassify.learn.train import train as run

    _collect_from_now_on()
    result = run(config, index)
    if result is not None:
        _print_result(result)


def _located(data: Path, data_root: Path) -> Path:
    """The folder that DATA names; of a public set the pictures, fetched if they are not there."""
    from petclassify.learn.public_data import prepare

    return prepare(data, data_root)


def _collect_from_now_on() -> None:
    """Call it when all is imported: `__main__` starts with the garbage collector off.

    Collections while torch is imported take a second of 4.6 s; `predict` gains a tenth.
    """
    gc.freeze()
    gc.enable()


def _require_extra(extra: str, modules: Sequence[str]) -> None:
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise EnvironmentFault(
            f"this command needs {', '.join(missing)}, which the base install leaves out. "
            f"Run: pip install 'petclassify[{extra}]'"
        )


def _require_numbers(**given: float) -> None:
    """Refuse nan and infinity, which pass every bound that typer checks."""
    for name, value in given.items():
        if not math.isfinite(value):
            raise UsageError(f"--{name.replace('_', '-')} needs a number, not {value}")


def _chosen(model: Path | None) -> Path:
    """The model asked for, else the default one, which is named on stderr."""
    if model is not None:
        return model
    from petclassify.runtime.predict import default_model

    found = default_model()
    typer.echo(f"model: {found}", err=True)
    return found


def _print_as(output_format: FigureFormat, content: object, lines: Iterable[str]) -> None:
    if output_format == FigureFormat.JSON:
        typer.echo(json.dumps(content, indent=2))
    else:
        _print(lines)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(printable(line))


def _print_result(result: TrainResult) -> None:
    _print(figure_lines({str(split): figures for split, figures in result.metrics.items()}))
    model = result.run / "model.onnx"
    typer.echo(f"\nmodel   {model} ({model.stat().st_size / 1e6:.1f} MB)")
    typer.echo(f"curves  {result.run / 'curves.png'}")
    typer.echo(f"time    {result.seconds['total']:.1f} s")
    typer.echo(f"next    petclassify predict IMAGE --model {result.run}")
