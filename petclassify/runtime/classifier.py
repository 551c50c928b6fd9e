"""The library's front door: load a model file, classify photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from petclassify.arrays import Pixels
from petclassify.config import Resize
from petclassify.errors import EnvironmentFault, ModelError, first_line
from petclassify.images.photo import read_image, to_pixels, upright_rgb_of
from petclassify.runtime.model_file import FAMILIARITY, INPUT, PROBABILITIES, file_of, load_model
from petclassify.runtime.model_info import ModelInfo

_SUM_TOLERANCE = 1e-3
_NO_MEMORY = "Failed to allocate memory"  # as ONNX Runtime says it

Photo = str | Path | bytes | Image.Image
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """What the model says of one photo.

    Attributes:
        label: the name of the most probable class.
        probability: its calibrated probability, 0 to 1.
        probabilities: of every class, in the model's order.
        known: whether the photo is like those that the model learned from. If it is not,
            the label is only the closest class.
        familiarity: how much it is, 0 to 1; the typical photo has 1.

    """

    label: str
    probability: float
    probabilities: dict[str, float]
    known: bool
    familiarity: float


class Classifier:
    """A model file, ready to classify. Safe to share between threads.

        classifier = Classifier.load("model.onnx")
        classifier.predict("img.jpg").label

    Attributes:
        info: what the model file says about itself.

    """

    def __init__(self, session: onnxruntime.InferenceSession, info: ModelInfo) -> None:
        self.info = info
        self._session = session

    def __repr__(self) -> str:
        return f"<Classifier {self.info.network}, {len(self.class_names)} classes>"

    @classmethod
    def load(cls, path: str | Path, threads: int = 0) -> Classifier:
        """Open a model file.

        Args:
            path: a model.onnx, or the run folder that holds one.
            threads: inside one run of the network; 0 lets ONNX Runtime decide.

        Raises:
            ModelError: the file is refused.

        """
        return cls(*load_model(file_of(Path(path)), threads))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.info.class_names

    def predict(self, photo: Photo) -> Prediction:
        """Classify one photo: a path, the bytes of an image file, or a Pillow image.

        Raises:
            ImageError: the photo cannot be used.
            ModelError: the network fails.
            EnvironmentFault: there is not enough memory for it.
            TypeError: it is none of these, such as a list of them.

        """
        probabilities, familiarity = self.run(self.pixels(photo)[np.newaxis])
        return self.describe(probabilities[0], familiarity[0])

    def pixels(self, photo: Photo) -> Pixels:
        """Make the network's input of one photo, (height, width, 3).

        Raises:
            ImageError: the photo cannot be used.

        """
        resize = self.info.preprocessing
        return to_pixels(read_photo(photo, resize), resize)

    def run(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Run the network.

        Args:
            pixels: (N, height, width, 3).

        Returns:
            Probabilities, (N, classes), each row summing to 1; familiarity, (N,), 0 to 1.

        Raises:
            ModelError: the network fails, or gives anything else.
            EnvironmentFault: there is not enough memory for it.

        """
        probabilities, familiarity = self.run_for(pixels, ())
        return probabilities, familiarity

    def run_for(self, pixels: Pixels, others: Sequence[str]) -> list[Floats]:
        """Run the network for what `run` gives, and for other outputs that its session has."""
        try:
            given = self._session.run([PROBABILITIES, FAMILIARITY, *others], {INPUT: pixels})
            outputs = [np.asarray(one, dtype=np.float32) for one in given]
        except Exception as error:  # ONNX Runtime's own exceptions share no narrower base
            if _NO_MEMORY in str(error):
                raise EnvironmentFault(
                    "the memory is too small for the model's network. Close other programs, or "
                    "allow more"
                ) from error
            raise ModelError(f"the model's network fails: {first_line(error)}") from error
        probabilities, familiarity = outputs[:2]
        if (
            probabilities.shape != (len(pixels), len(self.class_names))
            or familiarity.shape != (len(pixels),)
            or not np.all(probabilities >= 0)
            or not np.all(np.abs(probabilities.sum(axis=1) - 1) < _SUM_TOLERANCE)
            or not np.all((familiarity >= 0) & (familiarity <= 1))
        ):
            raise ModelError("the model gives numbers that are no probabilities; export it anew")
        return outputs

    def describe(self, probabilities: Floats, familiarity: float) -> Prediction:
        """Put the numbers of one photo into words; its probabilities are (classes,)."""
        best = int(probabilities.argmax())
        named = dict(zip(self.class_names, (float(p) for p in probabilities), strict=True))
        return Prediction(
            self.class_names[best],
            float(probabilities[best]),
            named,
            float(familiarity) >= self.info.known_threshold,
            float(familiarity),
        )


def read_photo(photo: Photo, resize: Resize) -> Image.Image:
    """Read one photo, upright and RGB, with the resolution that a window needs or more.

    Raises:
        ImageError: the photo cannot be used.
        TypeError: it is nothing that a photo can be.

    """
    if isinstance(photo, Image.Image):
        return upright_rgb_of(photo)
    if not isinstance(photo, str | Path | bytes):
        raise TypeError(
            f"a photo is a path, the bytes of an image file, or a Pillow image, not "
            f"{type(photo).__name__}; Image.fromarray makes one of an RGB array"
        )
    source = Path(photo) if isinstance(photo, str) else photo
    return read_image(source, shortest_side=resize.shorter_side)
