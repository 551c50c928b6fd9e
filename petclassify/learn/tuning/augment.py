"""Random changes of training photos, by torchvision v2 on the project's own decoded images.

The geometry works on Pillow images, so a training photo is resized by the very filter
that prediction uses. Every draw comes from a generator that the caller seeds per photo and
epoch: threads and resumed runs see the same pictures. That is why the noise is NumPy's;
torchvision's draws from one generator for the whole process.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as v2

from petclassify.config import Augmentation, Resize
from petclassify.images.opening import check_size

_LOG_ASPECT = math.log(4 / 3)


def augment(
    image: Image.Image,
    resize: Resize,
    changes: Augmentation,
    fill: tuple[int, int, int],
    generator: np.random.Generator,
) -> NDArray[np.uint8]:
    """Fit one upright RGB photo to the network's window, changed at random.

    Args:
        image: the photo.
        resize: the window and the filter.
        changes: what may change, and how much.
        fill: colour of the corners that a turn leaves empty, 0 to 255.
        generator: of all draws.

    Returns:
        (crop, crop, 3), values 0 to 255.

    Raises:
        ImageError: the photo's sides differ more than 100-fold.

    Source: random resized crops, Szegedy et al. 2015, section 6; the other changes,
    Krizhevsky et al. 2012, section 4.1.

    """
    check_size(image.size)
    window = _draw_window(image.size, resize, changes, generator)
    image = image.resize(
        (resize.crop, resize.crop), Image.Resampling[resize.interpolation.upper()], box=window
    )
    if generator.random() < changes.hflip:
        image = v2.horizontal_flip(image)
    if generator.random() < changes.vflip:
        image = v2.vertical_flip(image)
    angle = generator.uniform(-changes.rotate, changes.rotate)
    if angle:
        image = v2.rotate(image, angle, InterpolationMode.BILINEAR, fill=list(fill))
    factors = generator.uniform(1 - changes.color_jitter, 1 + changes.color_jitter, size=3)
    if changes.color_jitter:
        for adjust, factor in zip(
            (v2.adjust_brightness, v2.adjust_contrast, v2.adjust_saturation), factors, strict=True
        ):
            image = adjust(image, max(0.0, float(factor)))
    pixels = np.asarray(image)
    if changes.noise:
        noise = generator.normal(0.0, 255 * changes.noise, pixels.shape)
        pixels = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
    return pixels


def _draw_window(
    size: tuple[int, int], resize: Resize, changes: Augmentation, generator: np.random.Generator
) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of what the window shows, in the photo's pixels."""
    width, height = size
    share, log_aspect = generator.uniform(changes.scale, 1), generator.uniform(-1, 1) * _LOG_ASPECT
    if changes.scale < 1:
        side = min(size) * math.sqrt(share)
        across = min(width, side * math.exp(log_aspect / 2))
        down = min(height, side / math.exp(log_aspect / 2))
    else:
        across = down = min(size) * min(1.0, resize.crop / resize.shorter_side)
    x, y = (changes.crop * shift for shift in generator.uniform(-1, 1, size=2))
    left, top = (width - across) / 2 * (1 + x), (height - down) / 2 * (1 + y)
    return left, top, left + across, top + down
