"""The trained whole in torch, and its checkpoint.

A checkpoint is a .safetensors file: tensors by name, and beside them in the header the
JSON that says how to build the network that they fill. Nothing in it can run.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from petclassify.config import Resize
from petclassify.errors import ModelError, UsageError, first_line
from petclassify.files import write_whole
from petclassify.learn.backbones.backbone import Backbone, FeatureExtractor, empty_backbone
from petclassify.learn.head.calibration import Calibration
from petclassify.learn.head.familiarity import NEAREST, Familiarity
from petclassify.learn.head.logistic import Head
from petclassify.runtime.model_file import refusals_named
from petclassify.runtime.model_info import ModelInfo

FORMAT_VERSION = 3
METADATA_KEY = "petclassify"


class Network(nn.Module):
    """Pixels to calibrated probabilities, and to how familiar they are.

    Shapes: uint8 (N, height, width, 3) -> float32 (N, classes), each row summing to 1, and
    float32 (N,), 0 to 1.
    """

    temperature: Tensor
    doubt: Tensor
    prototypes: Tensor
    typical: Tensor

    def __init__(
        self, extractor: FeatureExtractor, num_features: int, num_classes: int, num_prototypes: int
    ) -> None:
        super().__init__()
        self.extractor = extractor
        self.head = nn.Linear(num_features, num_classes)
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("doubt", torch.zeros(()))
        self.register_buffer("prototypes", torch.zeros(num_prototypes, num_features))
        self.register_buffer("typical", torch.ones(()))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.extractor(pixels)
        shares = torch.softmax(self.head(features) / self.temperature, dim=1)
        probabilities = shares + self.doubt * (1 / shares.shape[1] - shares)
        cosines = nn.functional.normalize(features, dim=1) @ self.prototypes.T
        near = cosines.topk(min(NEAREST, len(self.prototypes)), dim=1).values
        familiarity = (near.mean(dim=1) / self.typical).clamp(0, 1)
        return probabilities, familiarity


@dataclass(frozen=True)
class TrainedModel:
    """A network in eval mode, and what belongs to it.

    Attributes:
        backbone: from which it grew.
        network: pixels to probabilities.
        class_names: in the order of the probabilities.
        known_threshold: the familiarity from which on a photo is known.
        training: counts, metrics, versions and date, for the model file's metadata.

    """

    backbone: Backbone
    network: Network
    class_names: tuple[str, ...]
    known_threshold: float
    training: dict[str, Any]

    @property
    def calibration(self) -> Calibration:
        """As it is in the network."""
        return Calibration(float(self.network.temperature), float(self.network.doubt))


def assemble(
    backbone: Backbone,
    head: Head,
    calibration: Calibration,
    familiarity: Familiarity,
    class_names: tuple[str, ...],
    training: dict[str, Any],
) -> TrainedModel:
    """Put a fitted head on its backbone."""
    network = Network(
        backbone.extractor, backbone.num_features, len(class_names), len(familiarity.prototypes)
    )
    with torch.no_grad():
        network.head.weight.copy_(torch.from_numpy(head.weight))
        network.head.bias.copy_(torch.from_numpy(head.bias))
        network.temperature.fill_(calibration.temperature)
        network.doubt.fill_(calibration.doubt)
        network.prototypes.copy_(torch.from_numpy(familiarity.prototypes))
        network.typical.fill_(familiarity.typical)
    threshold = familiarity.threshold
    return TrainedModel(backbone, network.eval(), class_names, threshold, training)


def save_checkpoint(model: TrainedModel, path: Path) -> None:
    """Write the checkpoint, whole or not at all.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written.

    """
    about = {
        "format_version": FORMAT_VERSION,
        "backbone": model.backbone.name,
        "resize": asdict(model.backbone.resize),
        "class_names": model.class_names,
        "known_threshold": model.known_threshold,
        "training": model.training,
    }
    state = model.network.state_dict().items()
    # The format refuses memory that two names share, as tied weights do.
    tensors = {name: value.clone(memory_format=torch.contiguous_format) for name, value in state}
    content = safetensors.torch.save(tensors, metadata={METADATA_KEY: json.dumps(about)})
    write_whole(path, content)


def load_checkpoint(path: Path) -> TrainedModel:
    """Read what `save_checkpoint` wrote.

    Raises:
        ModelError: the file is missing, damaged, or not one of ours.

    """
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            header = (opened.metadata() or {}).get(METADATA_KEY)
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise ModelError(f"{path}: this checkpoint cannot be read: {error}") from error
    try:
        about = json.loads(header or "")
        if about["format_version"] != FORMAT_VERSION:
            raise ModelError(
                f"{path}: its format version is {about['format_version']}, "
                f"this petclassify reads {FORMAT_VERSION}. Train anew"
            )
        name, resize = str(about["backbone"]), Resize(**about["resize"])
        class_names = tuple(str(class_name) for class_name in about["class_names"])
        threshold = float(about["known_threshold"])
        training = dict(about["training"])
        with refusals_named(path):
            ModelInfo(class_names, resize, 1.0, threshold, name).check()
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path}: not a checkpoint that petclassify wrote") from error
    try:
        backbone = replace(empty_backbone(name, resize.crop), resize=resize)
        prototypes = len(tensors["prototypes"])
        if not prototypes:
            raise ModelError(f"{path}: not a checkpoint that petclassify wrote")
        network = Network(backbone.extractor, backbone.num_features, len(class_names), prototypes)
        network.load_state_dict(tensors)
    except (RuntimeError, UsageError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: its tensors do not fit {name}: {first_line(error)}") from error
    return TrainedModel(backbone, network.eval(), class_names, threshold, training)
