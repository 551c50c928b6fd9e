"""What a run is asked to do, and the formats that more than one room speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]

Unfreeze = Literal["none", "last", "gradual", "all"]
OptimizerName = Literal["adamw", "adam", "sgd"]
ScheduleName = Literal["cosine", "step", "plateau", "constant"]
ClassWeights = Literal["none", "balanced"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16"]

DEFAULT_BACKBONE = "tf_efficientnet_lite0"
UNBOUNDED_EPOCHS = 10_000  # where minutes are the limit
ZOO_PREFIX = "zoo/"  # of the networks that are trained from scratch


@dataclass(frozen=True)
class Resize:
    """How a photo becomes the network's window.

    Attributes:
        shorter_side: pixels that the photo's shorter side is brought to.
        crop: side in pixels of the square that is kept from its middle.
        interpolation: the resampling filter, antialiased, in Pillow's words.

    """

    shorter_side: int
    crop: int
    interpolation: Interpolation


@dataclass(frozen=True)
class Augmentation:
    """How training photos are changed at random, each time they are shown.

    Attributes:
        hflip: probability of a mirror image.
        vflip: probability of mirroring it from top to bottom.
        rotate: largest turn, in degrees, either way.
        scale: least share of the photo's middle square that the window shows; 1 shows
            what prediction shows. Below 1 the aspect ratio varies too, from 3:4 to 4:3.
        crop: how far the window may leave the middle, as a share of the room there is.
        noise: standard deviation of Gaussian noise, in shares of white.
        color_jitter: how much brightness, contrast and saturation vary, as a share.

    """

    hflip: float = 0.5
    vflip: float = 0.0
    rotate: float = 10.0
    scale: float = 0.5
    crop: float = 1.0
    noise: float = 0.0
    color_jitter: float = 0.1


NO_AUGMENTATION = Augmentation(0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class FitConfig:
    """How the layers of a network are trained, once some of them are open.

    The defaults fine-tune pretrained weights. `petclassify train data/catsdogs --unfreeze
    last` (2,000 photos, two cores) takes about 90 seconds; the README's table has the figures.

    Attributes:
        unfreeze: which layers open: none, the last stage, one more stage per phase from the
            top, or all.
        epochs: over all phases.
        batch_size: photos per step, over all processes.
        optimizer: the rule of the steps.
        lr: of the head and the last stage; None takes `learn.tuning.optimizers.default_lr`.
        layer_decay: by which the lr is multiplied for each stage towards the stem.
        momentum: of SGD.
        weight_decay: L2, not on biases and norms; decoupled from the gradient in AdamW.
        l1: penalty on absolute weights, not on biases and norms.
        dropout: share of the features that is zeroed before the head.
        label_smoothing: share of the target that is spread over all classes.
        class_weights: "balanced" weighs each class by the inverse of its frequency.
        schedule: of the lr, see `learn.tuning.schedule.lr_factor`.
        warmup_epochs: in which the lr rises from zero; parts of an epoch count.
        patience: epochs without a better validation loss after which training stops;
            0 never stops early.
        ema: decay per step of the running average of weights that is judged and kept; 0 is off.
        clip_grad: largest norm of the gradient; 0 is off.
        augmentation: of the training photos.
        minutes: how long all epochs may take, judging on val included; the first one, which
            is always done, and the second tell how many fit, if fewer than `epochs`. 0 is no
            limit.

    """

    unfreeze: Unfreeze = "none"
    epochs: int = 4
    batch_size: int = 32
    optimizer: OptimizerName = "adamw"
    lr: float | None = None
    layer_decay: float = 0.75
    momentum: float = 0.9
    weight_decay: float = 0.01
    l1: float = 0.0
    dropout: float = 0.0
    label_smoothing: float = 0.0
    class_weights: ClassWeights = "none"
    schedule: ScheduleName = "cosine"
    warmup_epochs: float = 0.5
    patience: int = 5
    ema: float = 0.0
    clip_grad: float = 0.0
    augmentation: Augmentation = Augmentation()
    minutes: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """One `petclassify train`. Every field is an option of that command.

    `petclassify train data/catsdogs` (2,000 photos, two cores) takes about half a
    minute and reaches 99 % test accuracy; the README's table has the figures.

    Attributes:
        data: the data set, a folder of class folders or of split folders.
        backbone: a timm name, or `zoo/NAME`.
        weights: "pretrained", "none", or a .safetensors or .pth file.
        image_size: side of the network's window in pixels; None takes the backbone's own.
        seed: decides the splits, the folds, and everything random in fitting.
        out: the run folder; None numbers one under ./models.
        max_bad: share of the photos that may be unreadable before the set is refused.
        strict: refuse a set in which one photo lies in two splits.
        cache: where features are kept; None takes the user's cache folder.
        fit: how open layers are trained.
        device: "auto" takes CUDA or Apple's GPU where there is one.
        precision: of the open layers; "auto" times the candidates.
        resume: go on with the run in `out`, or with the last one of this name.
        tensorboard: log epochs for TensorBoard into the run folder.
        exclude: list of photos to leave out, as `data check --write-exclude` makes it.

    """

    data: Path
    backbone: str = DEFAULT_BACKBONE
    weights: str = "pretrained"
    image_size: int | None = None
    seed: int = 0
    out: Path | None = None
    max_bad: float = 0.01
    strict: bool = False
    cache: Path | None = None
    fit: FitConfig = FitConfig()
    device: Device = "auto"
    precision: Precision = "auto"
    resume: bool = False
    tensorboard: bool = False
    exclude: Path | None = None


@dataclass(frozen=True)
class ModelForm:
    """Which of its forms a model file takes.

    Attributes:
        weights: as what they are stored; int8 computes in 8 bits too.
        standalone: resizes and crops in the graph, for users of other languages.

    """

    weights: Literal["fp32", "fp16", "int8"] = "fp32"
    standalone: bool = False

    @property
    def file_name(self) -> str:
        """In the run folder; `model.onnx` is the plain form."""
        standalone = ".standalone" if self.standalone else ""
        weights = "" if self.weights == "fp32" else f".{self.weights}"
        return f"model{standalone}{weights}.onnx"


FLOAT_MODEL = ModelForm()


def default_weights(backbone: str) -> str:
    """Pretrained ones, which the zoo's networks do not have."""
    return "none" if backbone.startswith(ZOO_PREFIX) else "pretrained"


def default_fit(backbone: str, weights: str) -> FitConfig:
    """Only the head; of a network of the zoo, which starts from random weights, everything."""
    if backbone.startswith(ZOO_PREFIX) and weights == "none":
        return FitConfig("all", epochs=10)
    return FitConfig()
