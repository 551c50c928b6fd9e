"""Where a model looked: class activation maps, from the model file alone.

The features of most networks are the mean of a map over all positions, and the head on them is
linear. So each logit is itself a mean over positions, of the head applied at every one of
them, and that map says exactly how much each part of the photo spoke for the class. Adding one
number to all logits changes no probability; the map is therefore that of the class less the
mean of all classes. Only what speaks for the class is shown, the strongest place at full
strength.

Networks whose features are no such mean (VGG, AlexNet, vision transformers) need gradients, and
so torch: `learn.grad_cam`.

Source: Zhou et al. 2016, "Learning deep features for discriminative localization", section 2.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from petclassify.config import Resize
from petclassify.errors import ImageError, ModelError, UsageError
from petclassify.files import disk_faults_named, written_whole
from petclassify.images.photo import to_pixels, window_box
from petclassify.images.signed_png import SIGNED_AS, is_signed
from petclassify.images.walk import is_image_name
from petclassify.runtime.classifier import Classifier, Photo, Prediction, read_photo
from petclassify.runtime.model_file import HEAD_WEIGHT, file_of, load_model, parse_model
from petclassify.runtime.model_info import ModelInfo
from petclassify.runtime.photos import find_photos, is_stdin, is_stored
from petclassify.runtime.scoring import Scored, content_of

_SOFTWARE = "petclassify explain"
LONGEST_SIDE = 1024  # of an overlay
_OUTSIDE = 0.45  # how dark the part of a photo is drawn that the network did not see
_STRENGTH = 0.75  # of the colour where the heat is greatest
# From no heat to most: dark violet, red, orange, pale yellow; ever lighter, as in inferno.
_COLOURS = np.array([[40, 11, 84], [120, 28, 109], [212, 72, 66], [250, 160, 25], [252, 255, 164]])

Heat = NDArray[np.float32]


@dataclass(frozen=True)
class Explanation:
    """What a model says of a photo, and why.

    Attributes:
        prediction: as `predict` gives it.
        heat: (rows, columns) over the window that the network saw, 0 to 1: what spoke for the
            label, the strongest place 1.
        overlay: the photo, upright, with the heat over it.

    """

    prediction: Prediction
    heat: Heat
    overlay: Image.Image


class Explainer:
    """A model file, ready to classify and to show where it looked. Safe to share between threads.

    explainer = Explainer.load("model.onnx")
    explainer.explain("img.jpg").overlay.save("heat.png")
    """

    def __init__(self, classifier: Classifier, activations: str) -> None:
        self.classifier = classifier
        self._activations = activations

    @classmethod
    def load(cls, path: str | Path, threads: int = 0) -> Explainer:
        """Open a model file.

        Args:
            path: a model.onnx, or the run folder that holds one.
            threads: inside one run of the network; 0 lets ONNX Runtime decide.

        Raises:
            NoActivationMapsError: its network makes none.
            ModelError: the file is refused.

        """
        return cls._of(*load_model(file_of(Path(path)), threads, with_activations=True))

    @classmethod
    def parse(cls, content: bytes, threads: int = 0) -> Explainer:
        """Open a model file's bytes; see `load`."""
        return cls._of(*parse_model(content, threads, with_activations=True))

    @classmethod
    def _of(cls, session: onnxruntime.InferenceSession, info: ModelInfo) -> Explainer:
        assert info.activations is not None
        return cls(Classifier(session, info), info.activations)

    def explain(self, photo: Photo) -> Explanation:
        """Classify one photo and show where the network looked.

        Raises:
            ImageError: the photo cannot be used.

        """
        resize = self.classifier.info.preprocessing
        image = read_photo(photo, resize)
        pixels = to_pixels(image, resize)[np.newaxis]
        probabilities, familiarity, activations, weight = self.classifier.run_for(
            pixels, (self._activations, HEAD_WEIGHT)
        )
        prediction = self.classifier.describe(probabilities[0], familiarity[0])
        classes = len(self.classifier.class_names)
        if weight.shape[:1] != (classes,) or weight.ndim != 2 or activations.shape[:1] != (1,):
            raise ModelError(
                f"its activations are {activations.shape} and its head {weight.shape}, of one "
                f"photo and {classes} classes"
            )
        heat = class_activation_map(activations[0], weight, int(probabilities[0].argmax()))
        return Explanation(prediction, heat, draw_heat(image, heat, resize))


def explain_photos(
    explain: Callable[[Path | bytes], Explanation], inputs: Sequence[str], out: Path
) -> Iterator[Scored]:
    """Write the overlay of each photo into a folder, as NAME.png.

    Args:
        explain: of an `Explainer`, or of `learn.grad_cam.GradCam`.
        inputs: as for `predict`.
        out: the folder. Pictures that an earlier run made there are replaced, others are not.

    Yields:
        The prediction of each photo, named by its overlay and itself; of one that fails, why.

    Raises:
        UsageError: the folder holds photos to explain, lies in a folder of them, or is called as
            a picture is.
        EnvironmentFault: it cannot be written.

    """
    stored = next(filter(is_stored, inputs), None)
    if stored is not None:
        raise UsageError(f"{stored}: photos in object stores cannot be explained. Fetch them first")
    if is_image_name(out.name) and not out.is_dir():
        raise UsageError(f"--out {out} is called as a picture is. Name a folder for all of them")
    folder = Path(os.path.realpath(out))  # unlike Path.resolve, it takes a link to itself
    for given in inputs:
        if os.path.isdir(given) and folder.is_relative_to(os.path.realpath(given)):  # noqa: PTH112
            raise UsageError(
                f"--out {out} lies in {given}, among the photos to explain, where the pictures "
                "would pass for more of them. Name another"
            )
    photos = list(find_photos(inputs))
    for name, place in photos:
        if isinstance(place, Path) and Path(os.path.realpath(place)).parent == folder:
            raise UsageError(f"--out {out} holds {name}, which is to be explained. Name another")
    with disk_faults_named(out):
        out.mkdir(parents=True, exist_ok=True)
    taken: set[Path] = set()
    for name, place in photos:
        try:
            explanation = explain(content_of(place))
        except ImageError as error:
            yield Scored(name, error.alone())
            continue
        path = _free_path(out, "stdin" if is_stdin(name) else Path(name).stem, taken)
        taken.add(path)
        with written_whole(path) as temporary:
            explanation.overlay.save(temporary, format="png", pnginfo=_signature())
        yield Scored(f"{path} of {name}", explanation.prediction)


def _free_path(out: Path, stem: str, taken: set[Path]) -> Path:
    """The first of STEM.png, STEM-2.png, ... that this run did not write, nor anybody else."""
    for number in itertools.count(1):
        path = out / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png")
        if path not in taken and (not os.path.lexists(path) or is_signed(path, _SOFTWARE)):
            return path
    raise AssertionError("unreachable: the numbers do not end")


def _signature() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text(SIGNED_AS, _SOFTWARE)
    return info


def class_activation_map(activations: Heat, weight: Heat, label: int) -> Heat:
    """What each position speaks for a class, against the mean of all classes.

    Args:
        activations: (features, rows, columns), or (rows, columns, features).
        weight: (classes, features), of the head.
        label: the class.

    Returns:
        (rows, columns), 0 to 1.

    Raises:
        ModelError: the activations do not fit the head, or are no numbers.

    """
    features = weight.shape[1]
    fits = activations.ndim == 3 and features in (activations.shape[0], activations.shape[2])
    if not fits or not activations.size:
        raise ModelError(f"its activations are {activations.shape}, its head takes {features}")
    first = activations.shape[0] == features
    maps = activations if first else activations.transpose(2, 0, 1)
    with np.errstate(all="ignore"):  # a stranger's file may hold anything
        contrast = weight[label] - weight.mean(axis=0)
        evidence = np.tensordot(contrast, maps, axes=1)
    if not np.isfinite(evidence).all():
        raise ModelError("its activations, or its head, hold what is no number")
    return to_heat(evidence)


def to_heat(evidence: Heat) -> Heat:
    """Keep what speaks for the class, the strongest place as 1: (rows, columns) of any sign."""
    positive = np.maximum(evidence, 0).astype(np.float32)
    heat: Heat = positive / (positive.max() or np.float32(1))
    return heat


def draw_heat(image: Image.Image, heat: Heat, resize: Resize) -> Image.Image:
    """Lay the heat over a photo; what the network's window left out is darkened.

    Args:
        image: upright, RGB.
        heat: (rows, columns) over the window, 0 to 1.
        resize: which part of the photo the window is.

    Returns:
        RGB, no longer than LONGEST_SIDE.

    """
    shrunk = _shrunk(image)
    left, top, right, bottom = (round(edge) for edge in window_box(shrunk.size, resize))
    size = (max(right - left, 1), max(bottom - top, 1))
    smooth = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    strength = np.clip(np.asarray(smooth), 0, 1)
    seen = np.asarray(shrunk, np.float32)[top : top + size[1], left : left + size[0]]
    stops = np.linspace(0, 1, len(_COLOURS))
    colour = np.stack([np.interp(strength, stops, channel) for channel in _COLOURS.T], axis=-1)
    cover = _STRENGTH * strength[..., np.newaxis]
    drawn = shrunk.point(lambda value: value * _OUTSIDE)
    blended = (seen * (1 - cover) + colour * cover).round().astype(np.uint8)
    drawn.paste(Image.fromarray(blended), (left, top))
    return drawn


def _shrunk(image: Image.Image) -> Image.Image:
    """A copy no longer than LONGEST_SIDE; of a large photo none is made as large first."""
    if max(image.size) <= LONGEST_SIDE:
        return image.copy()
    return ImageOps.contain(image, (LONGEST_SIDE, LONGEST_SIDE))
