"""`petclassify train`, and `export`, which makes its model file anew."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from petclassify.augmentation_options import takes_augmentation
from petclassify.commands.shared import (
    TRAIN_MODULES,
    collect_from_now_on,
    command_line,
    located,
    require_extra,
    show,
)
from petclassify.config import (
    DEFAULT_BACKBONE,
    UNBOUNDED_EPOCHS,
    Augmentation,
    FitConfig,
    ModelForm,
    TrainConfig,
    default_fit,
    default_weights,
)
from petclassify.errors import UsageError
from petclassify.options import (
    DATA,
    DATA_ROOT,
    MODEL,
    RUN,
    BackboneOption,
    BatchSizeOption,
    CacheOption,
    ClassWeightsOption,
    ClipGradOption,
    DataArgument,
    DataRootOption,
    DeviceOption,
    DropoutOption,
    EmaOption,
    EpochsOption,
    ExcludeOption,
    ImageSizeOption,
    L1Option,
    LabelSmoothingOption,
    LayerDecayOption,
    LrOption,
    MaxBadOption,
    MinutesOption,
    MomentumOption,
    OptimizerOption,
    PatienceOption,
    PrecisionOption,
    ResumeOption,
    ScheduleOption,
    SeedOption,
    TensorboardOption,
    UnfreezeOption,
    WarmupOption,
    WeightDecayOption,
    WeightsOption,
    require_numbers,
)
from petclassify.printing import figure_lines, time_line

if TYPE_CHECKING:
    from petclassify.images.index import Index
    from petclassify.learn.train import TrainResult

FIT = FitConfig()


@takes_augmentation
def train(
    data: DataArgument,
    augmentation: Augmentation,
    backbone: BackboneOption = DEFAULT_BACKBONE,
    weights: WeightsOption = None,
    image_size: ImageSizeOption = None,
    unfreeze: UnfreezeOption = None,
    epochs: EpochsOption = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None,
        typer.Option(rich_help_panel=RUN, help="Run folder. Default: models/DATA-BACKBONE."),
    ] = None,
    max_bad: MaxBadOption = 0.01,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", rich_help_panel=DATA, help="Refuse a photo that lies in two splits."
        ),
    ] = False,
    cache: CacheOption = None,
    data_root: DataRootOption = DATA_ROOT,
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
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    resume: ResumeOption = False,
    tensorboard: TensorboardOption = False,
    exclude: ExcludeOption = None,
) -> None:
    """Train a classifier on a folder of photos, judge it, and export it.

    Examples:
        petclassify train photos                  # fit the head, in seconds
        petclassify train photos --unfreeze last  # fine-tune the last stage too

    """
    require_extra("train", TRAIN_MODULES)
    if tensorboard:
        require_extra("train,tensorboard", ("tensorboard",))
    weights = weights or default_weights(backbone)
    usual = FitConfig() if unfreeze == "none" else default_fit(backbone, weights)
    fit = FitConfig(
        unfreeze=unfreeze or usual.unfreeze,
        epochs=epochs or (UNBOUNDED_EPOCHS if minutes else usual.epochs),
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        layer_decay=layer_decay,
        momentum=momentum,
        weight_decay=weight_decay,
        l1=l1,
        dropout=dropout,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        schedule=schedule,
        warmup_epochs=warmup_epochs,
        patience=patience,
        ema=ema,
        clip_grad=clip_grad,
        augmentation=augmentation,
        minutes=minutes,
    )
    numbers = {name: value for name, value in vars(fit).items() if isinstance(value, float)}
    require_numbers(max_bad=max_bad, **numbers)
    config = TrainConfig(
        data=located(data, data_root),
        backbone=backbone,
        weights=weights,
        image_size=image_size,
        seed=seed,
        out=out,
        max_bad=max_bad,
        strict=strict,
        cache=cache,
        fit=fit,
        device=device,
        precision=precision,
        resume=resume,
        tensorboard=tensorboard,
        exclude=exclude,
    )
    run_training(config, command_line())


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", rich_help_panel=RUN, help="Run folder, as petclassify train made it."
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=RUN, help="Where the run's data set lies now, if it was moved."
        ),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8", rich_help_panel=MODEL, help="Compute in 8 bits: a third of the size."
        ),
    ] = False,
    fp16_weights: Annotated[
        bool,
        typer.Option(
            "--fp16-weights",
            rich_help_panel=MODEL,
            help="Store weights in 16 bits: half the size.",
        ),
    ] = False,
    standalone: Annotated[
        bool,
        typer.Option(
            "--standalone",
            rich_help_panel=MODEL,
            help="Resize and crop in the graph, for other languages.",
        ),
    ] = False,
) -> None:
    """Make a run's model file anew, checked on real photos.

    Examples:
        petclassify export models/latest               # from its checkpoint
        petclassify export models/latest --standalone  # for any language

    """
    if int8 and fp16_weights:
        raise UsageError("--int8 and --fp16-weights are two forms of one file. Choose one")
    require_extra("train", TRAIN_MODULES)
    from petclassify.learn.export.export_run import export_run
    from petclassify.runtime.model_file import named_run

    collect_from_now_on()
    form = ModelForm("int8" if int8 else "fp16" if fp16_weights else "fp32", standalone)
    path = export_run(named_run(run), data, form)
    show([f"{path} ({path.stat().st_size / 1e6:.1f} MB)"])


def run_training(
    config: TrainConfig, command: str, *, becomes_latest: bool = True
) -> TrainResult | None:
    """Check, train, and print what came of it; `command` is the line that does the same."""
    from petclassify.learn.preflight import check_request
    from petclassify.learn.runs.stopwatch import Stopwatch

    watch = Stopwatch()
    with watch.stage("start-up"):
        index = check_request(config)
        _tell_who_waits(index)
        from petclassify.learn.train import train as run

    collect_from_now_on()
    result = run(config, index, command, watch, becomes_latest=becomes_latest)
    if result is not None:
        _show_result(result)
    return result


def _tell_who_waits(index: Index) -> None:
    """Say on a terminal what was found: torch takes seconds to load, without a word."""
    if sys.stderr.isatty():
        photos = sum(map(len, index.splits.values()))
        typer.echo(f"data: {photos:,} photos of {len(index.class_names):,} classes", err=True)


def _show_result(result: TrainResult) -> None:
    show(figure_lines({str(split): figures for split, figures in result.metrics.items()}))
    model = result.run / "model.onnx"
    show(
        [
            "",
            f"model   {model} ({model.stat().st_size / 1e6:.1f} MB)",
            f"report  {result.run / 'report.html'}",
            f"time    {time_line(result.seconds)}",
            f"next    petclassify predict IMAGE --model {shlex.quote(str(result.run))}",
        ]
    )
