"""The shapes of drawn cats and dogs: what tells one from the other.

A pet is drawn in units of its own head: a head's radius is 1, x runs right, y runs down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Kind = Literal["cat", "dog"]
Colour = tuple[int, int, int]
Points = NDArray[np.float64]  # (n, 2), x and y

T = TypeVar("T")

_EYES: tuple[Colour, ...] = ((196, 168, 60), (122, 160, 84), (120, 78, 44), (112, 158, 190))
_NOSES: tuple[Colour, ...] = ((44, 36, 38), (44, 36, 38), (206, 128, 130))
_COLLARS: tuple[Colour, ...] = ((190, 50, 48), (48, 92, 168), (60, 132, 84), (224, 178, 52))
_PINK: Colour = (228, 138, 146)
_BLACK: Colour = (24, 20, 22)
_WHITE: Colour = (250, 250, 250)


def draw_shape(kind: Kind, pet: Sketch, rng: np.random.Generator) -> None:
    """Draw the pet in one of its poses, somewhere near the middle of the picture."""
    pick((_draw_bust, _draw_sitting, _draw_standing), rng)(kind, pet, rng)


def pick(options: Sequence[T], rng: np.random.Generator) -> T:
    """Choose one of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]


@dataclass(frozen=True)
class Sketch:
    """A picture being drawn, seen from the frame of one part of the pet.

    Attributes:
        picture: drawn on in place.
        coat: the fur, as large as the picture; a shape of fur is cut out of it.
        outline: colour of contours, mouth and whiskers.
        muzzle: colour of the fur around the nose, and often inside the ears.
        axes: (2, 2), the frame's x and y unit vectors as rows, in pixels.
        origin: (2,), the frame's zero, in pixels.

    """

    picture: Image.Image
    coat: Image.Image
    outline: Colour
    muzzle: Colour
    axes: NDArray[np.float64]
    origin: NDArray[np.float64]

    def moved(
        self, x: float, y: float, stretch: tuple[float, float] = (1, 1), tilt: float = 0
    ) -> Sketch:
        """Give the frame of a part at (x, y), stretched along its own axes, then tilted."""
        turned = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
        axes = np.array(stretch)[:, None] * turned @ self.axes
        return replace(self, axes=axes, origin=self.origin + np.array([x, y]) @ self.axes)

    def sides(self) -> Iterator[Sketch]:
        """Give the frame as it is, then its mirror image: for whatever comes in pairs."""
        yield self
        yield self.moved(0, 0, (-1, 1))

    def fill(self, shape: Points, colour: Colour) -> None:
        """Fill a closed shape."""
        ImageDraw.Draw(self.picture).polygon(self._to_pixels(shape), fill=colour)

    def fur(self, shape: Points, closed: bool = True) -> None:
        """Fill a shape with the coat and draw its contour, from end to end only if not closed."""
        mask = Image.new("L", self.picture.size)
        ImageDraw.Draw(mask).polygon(self._to_pixels(shape), fill=255)
        if box := mask.getbbox():
            self.picture.paste(self.coat.crop(box), box, mask.crop(box))
        self.stroke(np.vstack((shape, shape[:2])) if closed else shape, 0.04)

    def stroke(self, line: Points, thickness: float, colour: Colour | None = None) -> None:
        """Draw an open line, in the outline's colour by default."""
        pixels = max(1, round(thickness * float(np.sqrt(abs(np.linalg.det(self.axes))))))
        ImageDraw.Draw(self.picture).line(
            self._to_pixels(line), fill=colour or self.outline, width=pixels, joint="curve"
        )

    def _to_pixels(self, shape: Points) -> list[float]:
        pixels: list[float] = (self.origin + shape @ self.axes).ravel().tolist()
        return pixels


def _draw_bust(kind: Kind, pet: Sketch, rng: np.random.Generator) -> None:
    bust = _place(pet, rng, unit=0.27, centre=0.52)
    bust.fur(_symmetric((0.6, 0.3), (1.1, 1.3), (1.5, 4)))
    _draw_head(kind, bust.moved(0, -0.1), rng)


def _draw_sitting(kind: Kind, pet: Sketch, rng: np.random.Generator) -> None:
    body = _place(pet, rng, unit=0.165, centre=0.56)
    _draw_tail(kind, body.moved(1.0, 1.9, (0.9, 0.9), tilt=0.3))
    body.fur(_symmetric((0.55, -1), (0.95, 0.3), (1.4, 1.5), (1.1, 2.3)))
    for half in body.sides():
        half.fur(_oval(1.05, 2.2, 0.5, 0.26))
        half.fur(_tube(0.56, (0.5, 0.6), (0.42, 1.4), (0.42, 2.2)), closed=False)
    _draw_head(kind, body.moved(0, -1.5), rng)


def _draw_standing(kind: Kind, pet: Sketch, rng: np.random.Generator) -> None:
    body = _place(pet, rng, unit=0.14, centre=0.5)
    _draw_tail(kind, body.moved(1.9, 0.2))
    for x, foot in ((-1.0, 2.5), (2.0, 2.5), (-1.5, 2.7), (1.5, 2.7)):
        body.fur(_tube(0.52, (x, 0.8), (x + 0.1, 1.7), (x, foot)))
    back = ((-1.8, -0.5), (-0.6, -0.3), (1.6, -0.2), (2.3, 0.4))
    belly = ((1.9, 1.4), (0.2, 1.25), (-1.4, 1.5), (-2.0, 0.6))
    body.fur(_curve(*back, *belly))
    _draw_head(kind, body.moved(-1.6, -0.9), rng)


def _place(pet: Sketch, rng: np.random.Generator, unit: float, centre: float) -> Sketch:
    """Put the pet somewhere near the centre, leaning a little, facing either way."""
    width, height = pet.picture.size
    scale = unit * min(width, height) * rng.uniform(0.8, 1.15)
    x, y = width * rng.uniform(0.4, 0.6), height * (centre + rng.uniform(-0.06, 0.06))
    return pet.moved(x, y, (scale * rng.choice([-1, 1]), scale), rng.uniform(-0.16, 0.16))


def _draw_tail(kind: Kind, root: Sketch) -> None:
    if kind == "cat":
        root.fur(_tube(0.32, (0, 0), (0.9, -0.1), (1.3, -1.0), (1.0, -1.9), (1.5, -2.5)))
    else:
        root.fur(_tube(0.46, (0, 0), (0.6, -0.35), (0.95, -0.95), (0.85, -1.4)))


def _draw_head(kind: Kind, neck: Sketch, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:
        chin = 0.84 if kind == "cat" else 1.02
        collar = _curve((-0.6, chin - 0.1), (0, chin + 0.2), (0.6, chin - 0.1), closed=False)
        neck.stroke(collar, 0.22, pick(_COLLARS, rng))
    stretch = (rng.uniform(0.92, 1.08), rng.uniform(0.92, 1.08))
    head = neck.moved(0, 0, stretch, tilt=rng.uniform(-0.25, 0.25))
    turn = rng.uniform(-1, 1)
    if kind == "cat":
        _draw_cat_head(head, turn, rng)
    else:
        _draw_dog_head(head, turn, rng)


def _draw_cat_head(head: Sketch, turn: float, rng: np.random.Generator) -> None:
    """Draw upright pointed ears, slit pupils, a short face and whiskers."""
    ear = np.array([(0.94, -0.2), (rng.uniform(0.68, 0.95), rng.uniform(-1.5, -1.2)), (0.16, -0.7)])
    inside = _PINK if rng.random() < 0.3 else head.muzzle
    for half in head.sides():
        half.fur(ear)
        half.fill(0.55 * ear + 0.45 * ear.mean(axis=0), inside)
    head.fur(_symmetric((0, -0.82), (0.62, -0.68), (1.02, 0.14), (0.62, 0.74), (0, 0.86)))
    iris, slit = pick(_EYES, rng), rng.uniform(0.2, 0.38)
    for half in head.moved(0.1 * turn, 0).sides():
        _draw_eye(half.moved(0.42, -0.08, (0.25, 0.2), tilt=0.2), iris, pupil=(slit, 0.8))
    face = head.moved(0.16 * turn, 0)
    for half in face.sides():
        half.fill(_oval(0.19, 0.45, 0.27, 0.22), face.muzzle)
        half.stroke(_curve((0, 0.42), (0.08, 0.55), (0.26, 0.52), closed=False), 0.045)
        for y in (0.18, 0.42, 0.66):
            half.stroke(_curve((0.3, 0.42), (0.8, y - 0.03), (1.35, y + 0.06), closed=False), 0.03)
    face.fill(_symmetric((0.13, 0.25), (0, 0.41)), pick(_NOSES, rng))


def _draw_dog_head(head: Sketch, turn: float, rng: np.random.Generator) -> None:
    """Draw hanging or folded ears, round eyes, a long muzzle with a big nose, often a tongue."""
    head.fur(_symmetric((0, -0.95), (0.58, -0.78), (0.78, -0.05), (0.42, 0.92), (0, 1.05)))
    iris = pick(_EYES, rng)
    for half in head.moved(0.1 * turn, 0).sides():
        _draw_eye(half.moved(0.34, -0.2, (0.19, 0.19)), iris, pupil=(0.45, 0.45))
    face = head.moved(0.26 * turn, 0)
    if rng.random() < 0.5:
        face.fill(_symmetric((0.17, 0.75), (0.17, 1.15), (0, 1.28)), _PINK)
        face.stroke(np.array([(0, 0.8), (0, 1.12)]), 0.03)
    face.fill(_symmetric((0.24, 0.02), (0.46, 0.5), (0.36, 0.85), (0, 0.84)), face.muzzle)
    for half in face.sides():
        half.stroke(_curve((0, 0.42), (0.02, 0.68), (0.2, 0.78), (0.38, 0.7), closed=False), 0.05)
    face.fill(_symmetric((0, 0.08), (0.24, 0.15), (0.15, 0.38), (0, 0.44)), pick(_NOSES, rng))
    face.fill(_oval(-0.07, 0.18, 0.06, 0.03), _WHITE)
    ear = pick((_hanging_ear, _hanging_ear, _folded_ear), rng)(rng.uniform(0.8, 1.15))
    for half in head.sides():
        half.fur(ear)


def _hanging_ear(length: float) -> Points:
    down = np.array([1, length])
    outside = ((0.4, -0.86), (0.8, -0.85), (1.12, -0.3), (1.18, 0.35), (0.95, 0.7))
    ear: Points = _curve(*outside, (0.75, 0.3), (0.68, -0.3)) * down + 0.86 * (down - 1)
    return ear


def _folded_ear(length: float) -> Points:
    rim = ((0.24, -0.84), (0.45, -1.2), (0.85, -1.15), (1.2, -0.75), (1.14, -0.5), (0.7, -0.5))
    return _curve(*rim) * (length, 1)


def _draw_eye(eye: Sketch, iris: Colour, pupil: tuple[float, float]) -> None:
    eye.fill(_oval(0, 0, 1, 1), _BLACK)
    eye.fill(_oval(0, 0, 0.82, 0.82), iris)
    eye.fill(_oval(0, 0, *pupil), _BLACK)
    eye.fill(_oval(0.15, -0.4, 0.22, 0.22), _WHITE)


def _oval(x: float, y: float, radius_x: float, radius_y: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack((x + radius_x * np.cos(angle), y + radius_y * np.sin(angle)), axis=1)


def _curve(*through: tuple[float, float], closed: bool = True) -> Points:
    """Draw a smooth line through the given points.

    Source: Catmull and Rom 1974, the uniform spline.
    """
    knots = np.array(through, dtype=np.float64)
    padded = np.pad(knots, ((1, 2 if closed else 1), (0, 0)), mode="wrap" if closed else "edge")
    before, start, end, after = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, 8)[:, None]
    bend = (2 * before - 5 * start + 4 * end - after) * t**2
    twist = (3 * start - before - 3 * end + after) * t**3
    points: Points = (start + ((end - before) * t + bend + twist) / 2).reshape(-1, 2)
    return points


def _symmetric(*right: tuple[float, float]) -> Points:
    """Draw a smooth closed shape, of which the right half is given from top to bottom."""
    return _curve(*right, *((-x, y) for x, y in reversed(right) if x))


def _tube(thickness: float, *through: tuple[float, float]) -> Points:
    """Draw a limb or a tail of even thickness along a smooth line, its end rounded."""
    spine = _curve(*through, closed=False)
    spine = spine[np.append(True, np.any(np.diff(spine, axis=0) != 0, axis=1))]
    along = np.gradient(spine, axis=0)
    along *= thickness / 2 / np.linalg.norm(along, axis=1, keepdims=True)
    across = along[:, ::-1] * (-1, 1)
    angle = np.linspace(0, np.pi, 10)[:, None]
    tip = spine[-1] + across[-1] * np.cos(angle) + along[-1] * np.sin(angle)
    return np.vstack((spine + across, tip, (spine - across)[::-1]))
