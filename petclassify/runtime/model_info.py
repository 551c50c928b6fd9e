"""What a model file says of itself, and what of it cannot be true."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, get_args

from petclassify.config import Interpolation, Resize
from petclassify.errors import ModelError

FORMAT_VERSION = 2


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about itself.

    Attributes:
        class_names: in the order of the probabilities.
        preprocessing: how a photo becomes the input.
        temperature: by which the graph divides the logits.
        doubt: the share of probability that it spreads over all classes alike.
        known_threshold: the familiarity from which on a photo is known.
        network: the backbone's name.
        training: counts, metrics, versions, date; for people.
        activations: the tensor in the graph whose mean over all positions is the features, which
            the head's weights turn into class activation maps; None where there is none.
        format_version: of this metadata.

    """

    class_names: tuple[str, ...]
    preprocessing: Resize
    temperature: float
    known_threshold: float
    network: str
    doubt: float = 0.0
    training: dict[str, Any] = field(default_factory=dict)
    activations: str | None = None
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """The text that goes into the model file."""
        resize = self.preprocessing
        written = vars(self) | {
            "preprocessing": {
                "resize": resize.shorter_side,
                "crop": resize.crop,
                "interpolation": resize.interpolation,
            }
        }
        return json.dumps(written, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelInfo:
        """Read what `to_json` wrote.

        Raises:
            ModelError: the text says something that cannot be.

        """
        try:
            read = json.loads(text)
            if read["format_version"] != FORMAT_VERSION:
                raise ModelError(
                    f"its format version is {read['format_version']}, this petclassify reads "
                    f"{FORMAT_VERSION}. Train anew, or install the version that made it"
                )
            given = read["preprocessing"]
            if not isinstance(read["class_names"], list):
                raise ModelError("its metadata has no list of class names")
            info = cls(
                class_names=tuple(str(name) for name in read["class_names"]),
                preprocessing=Resize(
                    int(given["resize"]), int(given["crop"]), given["interpolation"]
                ),
                temperature=float(read["temperature"]),
                known_threshold=float(read["known_threshold"]),
                doubt=float(read.get("doubt", 0.0)),
                network=str(read["network"]),
                training=dict(read["training"]),
                activations=None if (name := read.get("activations")) is None else str(name),
            )
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise ModelError(f"its metadata cannot be read ({error!r})") from error
        info.check()
        _check_writable(read)
        return info

    def check(self) -> None:
        """Raise ModelError for what cannot be.

        Raises:
            ModelError: so it is.

        """
        resize = self.preprocessing
        if len(self.class_names) < 2 or len(set(self.class_names)) < len(self.class_names):
            raise ModelError("its metadata names fewer than two distinct classes")
        if not 1 <= resize.crop <= 4096 or not 1 <= resize.shorter_side <= 8192:
            raise ModelError(f"its metadata asks for an impossible window: {resize}")
        if not 0 <= self.known_threshold <= 1:
            raise ModelError(f"its metadata has the threshold {self.known_threshold}, not 0 to 1")
        if not (0 < self.temperature < math.inf and 0 <= self.doubt < 1):
            raise ModelError(
                f"its metadata has the temperature {self.temperature} and the doubt {self.doubt}, "
                "which calibrate nothing"
            )
        if resize.interpolation not in get_args(Interpolation):
            raise ModelError(f"its metadata asks for the filter {resize.interpolation!r}")


def _check_writable(said: object) -> None:
    """Refuse what JSON reads, but answers over HTTP, CSV and pages cannot hold.

    Raises:
        ModelError: numbers that are none, or text that is none and names no file either.

    """
    try:
        json.dumps(said, ensure_ascii=False, allow_nan=False).encode(errors="surrogateescape")
    except (ValueError, RecursionError) as error:
        raise ModelError(f"its metadata cannot be handed on ({error})") from error


def largest_probability(doubt: float, num_classes: int) -> float:
    """What a calibration with this doubt never passes, see `learn.head.calibration`.

    Rounded as it is told, so that every place tells the same.
    """
    return round(1 - doubt + doubt / num_classes, 4)
