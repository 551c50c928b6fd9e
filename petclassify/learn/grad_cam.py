"""Where a model looked, for networks that have no class activation maps: by gradients, in torch.

VGG and AlexNet have layers between the last map and the head; vision transformers have no map
but tokens. For these, Captum (PyTorch's own library for this) gives Grad-CAM on the last map
that the network makes, or, on tokens, gradient times activation of the last ones that the
answer depends on.

Sources: Selvaraju et al. 2017, "Grad-CAM", section 3; for tokens Draelos and Carin 2020, "Use
HiResCAM instead of Grad-CAM", section 3.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import torch
from captum.attr import LayerGradCam, LayerGradientXActivation
from torch import Tensor, nn

from petclassify.arrays import Pixels
from petclassify.errors import ModelError
from petclassify.images.photo import to_pixels
from petclassify.learn.network import Network, TrainedModel, load_checkpoint
from petclassify.runtime.classifier import Classifier, Photo, read_photo
from petclassify.runtime.explain import Explanation, Heat, draw_heat, to_heat


class GradCam:
    """A run's model, ready to classify and to show where it looked."""

    def __init__(self, model: TrainedModel, classifier: Classifier) -> None:
        self.classifier = classifier
        self._network = model.network
        self._resize = model.backbone.resize

    @classmethod
    def load(cls, checkpoint: Path, model: Path) -> GradCam:
        """Open a run's checkpoint, and the model file whose predictions are explained.

        Raises:
            ModelError: one of them is missing or refused, or they are of two runs.

        """
        trained, classifier = load_checkpoint(checkpoint), Classifier.load(model)
        about = classifier.info
        of_file = about.class_names, about.preprocessing, about.network, about.training
        resize, name = trained.backbone.resize, trained.backbone.name
        if of_file != (trained.class_names, resize, name, trained.training):
            raise ModelError(
                f"{model}: its network needs gradients to be explained, and {checkpoint} is of "
                "another run. Give the folder of the model's own run with --model"
            )
        return cls(trained, classifier)

    def explain(self, photo: Photo) -> Explanation:
        """Classify one photo and show where the network looked.

        Raises:
            ImageError: the photo cannot be used.
            ModelError: the network makes no map to show.

        """
        image = read_photo(photo, self._resize)
        pixels = to_pixels(image, self._resize)
        probabilities, familiarity = self.classifier.run(pixels[np.newaxis])
        prediction = self.classifier.describe(probabilities[0], familiarity[0])
        heat = gradient_map(self._network, pixels, int(probabilities[0].argmax()))
        return Explanation(prediction, heat, draw_heat(image, heat, self._resize))


def gradient_map(network: Network, pixels: Pixels, label: int) -> Heat:
    """What each position speaks for a class, against the mean of all classes.

    Args:
        network: in eval mode.
        pixels: (height, width, 3).
        label: the class.

    Returns:
        (rows, columns), 0 to 1; all 0 where nothing speaks for it.

    Raises:
        ModelError: no layer has positions.

    """
    images = torch.from_numpy(pixels.astype(np.float32)).unsqueeze(0)

    def contrasts(images: Tensor) -> Tensor:
        logits: Tensor = network.head(network.extractor(images))
        return logits - logits.mean(dim=1, keepdim=True)

    heat: Heat | None = None
    for layer, shape in reversed(_layers_with_positions(network, images)):
        channels_first = len(shape) == 4 and shape[2] == shape[3]
        method = LayerGradCam if channels_first else LayerGradientXActivation
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Captum tells of hooks that it sets and removes
            found = method(contrasts, layer).attribute(images, target=label).detach()
        evidence = found[0, 0] if channels_first else _on_grid(found[0])
        heat = to_heat(evidence.numpy())
        if heat.any():
            return heat
    if heat is not None:  # nothing speaks for the class anywhere: dead units
        return heat
    raise ModelError("no layer of its network keeps positions, so where it looked cannot be shown")


def _layers_with_positions(network: Network, images: Tensor) -> list[tuple[nn.Module, torch.Size]]:
    """Modules with the shape that they give, in the order in which they ran.

    (N, features, side, side), (N, side, side, features) or (N, tokens, features), with more
    than one position. The window is square, so other shapes of four axes are no maps.
    """
    ran: list[tuple[nn.Module, torch.Size]] = []

    def note(module: nn.Module, _: object, output: object) -> None:
        if not isinstance(output, Tensor):
            return
        side = output.shape[2] if output.ndim == 4 else 0
        is_map = side > 1 and side in (output.shape[1], output.shape[3])
        if is_map or (output.ndim == 3 and output.shape[1] > 1):
            ran.append((module, output.shape))

    inner = list(network.extractor.network.modules())[1:]
    hooks = [module.register_forward_hook(note) for module in inner]
    with torch.inference_mode():
        network.extractor(images)
    for hook in hooks:
        hook.remove()
    return ran


def _on_grid(tokens: Tensor) -> Tensor:
    """(side, side, features), or (tokens, features) with the tokens of no place first."""
    places = tokens.sum(dim=-1).flatten()
    side = math.isqrt(len(places))
    return places[len(places) - side * side :].view(side, side)
