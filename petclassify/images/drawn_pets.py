"""Drawn cats and dogs, to try every command on without a single photo.

The two kinds share their coats, eyes, poses, backgrounds and light, each drawn from the
same distribution, so that colour says nothing of the class: a classifier must see shape.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from petclassify.errors import UsageError
from petclassify.files import disk_faults_named
from petclassify.images.pet_shapes import Colour, Kind, Sketch, draw_shape, pick

Size = tuple[int, int]  # width and height

_KINDS: tuple[Kind, ...] = ("cat", "dog")
_OVERSAMPLING = 2
_JPEG_QUALITY = 90
_SIDES = (0.88, 1.25)

_COATS: tuple[tuple[Colour, Colour, Colour], ...] = (  # fur, markings, muzzle
    ((216, 142, 74), (166, 90, 40), (248, 224, 192)),
    ((148, 148, 154), (88, 90, 98), (220, 220, 224)),
    ((66, 60, 62), (38, 34, 36), (140, 130, 126)),
    ((238, 234, 226), (176, 160, 140), (252, 250, 246)),
    ((134, 92, 62), (80, 54, 38), (214, 184, 152)),
    ((228, 202, 160), (180, 138, 92), (250, 240, 220)),
)


def draw_pets(folder: Path, count: int, seed: int) -> None:
    """Fill a new folder: `cats/cat-0001.jpg`, `dogs/dog-0001.jpg` and so on, half of each.

    A picture depends on the seed, its kind and its number only: a larger count adds
    pictures and changes none. Of an odd count, the odd one is a cat. The folder appears
    when all of it is drawn.

    Raises:
        UsageError: the folder already holds something, which is left as it is, or it is a file.
        EnvironmentFault: the disk is full or the folder cannot be written.

    """
    if folder.is_symlink():  # it stays, what it names is filled
        folder = Path(os.path.realpath(folder))
    _refuse_taken(folder)
    with disk_faults_named(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
        try:
            _fill(unfinished, count, seed)
            with suppress(OSError):  # see files.written_whole
                unfinished.chmod(0o755)
            _put_in_place(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _put_in_place(drawn: Path, folder: Path) -> None:
    try:
        os.replace(drawn, folder)
    except OSError:
        _refuse_taken(folder)  # meanwhile, by another command
        raise


def _fill(folder: Path, count: int, seed: int) -> None:
    for label, kind in enumerate(_KINDS):
        class_folder = folder / f"{kind}s"
        class_folder.mkdir()
        for number in range(1, (count + 1 - label) // 2 + 1):
            picture = draw_pet(kind, np.random.default_rng((seed, label, number)))
            (class_folder / f"{kind}-{number:04}.jpg").write_bytes(_to_jpeg(picture))


def draw_pet(kind: Kind, rng: np.random.Generator, size: int = 256) -> Image.Image:
    """Draw one pet, as a small photo might show it.

    Args:
        kind: what to draw.
        rng: decides everything else.
        size: the typical side in pixels. Width and height each lie between 0.88 and 1.25 times it.

    """
    width, height = (_OVERSAMPLING * size * rng.uniform(*_SIDES, size=2)).astype(int).tolist()
    canvas = (width, height)
    fur, markings, muzzle = (_vary(colour, rng) for colour in pick(_COATS, rng))
    pet = Sketch(
        picture=pick((_draw_backdrop, _draw_backdrop, _draw_meadow, _draw_room), rng)(canvas, rng),
        coat=_paint_coat(canvas, fur, markings, rng),
        outline=_shade(markings, 0.45),
        muzzle=muzzle if rng.random() < 0.6 else _shade(fur, 1.15),
        axes=np.eye(2),
        origin=np.zeros(2),
    )
    draw_shape(kind, pet, rng)
    return _photograph(pet.picture.reduce(_OVERSAMPLING), rng)


def _refuse_taken(folder: Path) -> None:
    with disk_faults_named(folder):
        for place in (folder, *folder.parents):
            if os.path.lexists(place) and not place.is_dir():
                raise UsageError(f"{place}: is a file, and the pets need a folder. Name a new one")
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(
                f"{folder}: is not empty, and drawn pets do not mix with other files. "
                "Name a new folder, or delete this one first"
            )
        if folder.is_dir() and folder.samefile(os.curdir):
            raise UsageError(
                f"{folder}: is the folder that you are in, and a new one would take its place. "
                "Name one within it"
            )


def _to_jpeg(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=_JPEG_QUALITY)
    return stream.getvalue()


def _paint_coat(size: Size, fur: Colour, markings: Colour, rng: np.random.Generator) -> Image.Image:
    """Paint plain, striped or patched fur over the whole canvas."""
    row, column = np.mgrid[0:96, 0:96] / 96
    angle = rng.uniform(0, np.pi)
    across = column * np.cos(angle) + row * np.sin(angle)
    stripes = np.sin(2 * np.pi * (rng.uniform(7, 12) * across + _clouds(6, rng)))
    share = 6 * pick((stripes - 0.3, 6 * (_clouds(5, rng) - 0.6), np.full((96, 96), -1.0)), rng)
    share = np.clip(share, 0, 1)[..., None] + 0.25 * (_clouds(48, rng)[..., None] - 0.5)
    pixels = np.array(fur) * (1 - share) + np.array(markings) * share
    return _to_image(pixels).resize(size, Image.Resampling.BICUBIC)


def _draw_backdrop(size: Size, rng: np.random.Generator) -> Image.Image:
    """Draw a plain or graded wall, or lights out of focus."""
    top = _any_colour(rng)
    small = _grade((80, 80), top, pick((top, _any_colour(rng)), rng))
    brush = ImageDraw.Draw(small)
    for _ in range(pick((0, 12), rng)):
        (x, y), radius = rng.uniform(0, 80, size=2), rng.uniform(4, 18)
        brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_any_colour(rng))
    small = small.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 5)))
    return small.resize(size, Image.Resampling.BICUBIC)


def _draw_meadow(size: Size, rng: np.random.Generator) -> Image.Image:
    width, height = size
    horizon = int(height * rng.uniform(0.35, 0.7))
    grass = _vary((98, 146, 72), rng)
    scene = _grade(size, _vary((120, 172, 222), rng), _vary((214, 230, 240), rng))
    scene.paste(_grade((width, height - horizon), grass, _shade(grass, 0.75)), (0, horizon))
    brush = ImageDraw.Draw(scene)
    for x, y, lean in rng.uniform((0, horizon, -6), (width, height, 6), size=(150, 3)).tolist():
        tint = _shade(grass, rng.uniform(0.7, 1.25))
        brush.line((x, y, x + lean, y - 0.04 * height), fill=tint, width=3)
    return scene


def _draw_room(size: Size, rng: np.random.Generator) -> Image.Image:
    width, height = size
    skirting = int(height * rng.uniform(0.55, 0.85))
    wall, floor = _any_colour(rng), _any_colour(rng)
    scene = _grade(size, wall, _shade(wall, 0.85))
    brush = ImageDraw.Draw(scene)
    x, y = width * rng.uniform(0, 0.75), height * rng.uniform(0, 0.2)
    frame = (x, y, x + width * rng.uniform(0.15, 0.4), y + height * rng.uniform(0.15, 0.35))
    brush.rectangle(frame, fill=_any_colour(rng), outline=_shade(wall, 0.5), width=8)
    brush.rectangle((0, skirting, width, height), fill=floor)
    brush.rectangle((0, skirting - 14, width, skirting), fill=_shade(wall, 1.2))
    return scene


def _photograph(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Blur a little, light with a gamma, a colour cast and a vignette, add sensor noise."""
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.9)))
    light = np.asarray(picture, dtype=np.float32) / 255
    height, width, _ = light.shape
    row = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    column = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
    light = light ** np.float32(rng.uniform(0.75, 1.35))
    light *= rng.uniform(0.93, 1.07, size=3).astype(np.float32)
    light *= 1 - np.float32(rng.uniform(0, 0.2)) * (row**2 + column**2)
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    return _to_image(255 * (light + np.float32(rng.uniform(0.005, 0.03)) * noise))


def _clouds(cells: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Smooth noise, (96, 96), values around 0 to 1; more cells make smaller clouds."""
    coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
    return np.asarray(coarse.resize((96, 96), Image.Resampling.BICUBIC), dtype=np.float64)


def _grade(size: Size, top: Colour, bottom: Colour) -> Image.Image:
    column = np.linspace(top, bottom, 32)[:, None]
    return _to_image(column).resize(size, Image.Resampling.BILINEAR)


def _to_image(pixels: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _any_colour(rng: np.random.Generator) -> Colour:
    return _shade(_vary((150, 145, 140), rng, spread=45), rng.uniform(0.5, 1.4))


def _vary(colour: Colour, rng: np.random.Generator, spread: float = 7) -> Colour:
    red, green, blue = np.clip(colour + rng.uniform(-spread, spread, size=3), 0, 255)
    return int(red), int(green), int(blue)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(255, int(channel * factor)) for channel in colour)
    return red, green, blue
