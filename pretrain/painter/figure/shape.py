"""The geometry and the colours of one figure.

The named attributes are in `attributes.Portrait`. Shape details without a name (head width, eye size, turn of
the head, ...) are drawn from the seed, so that two portraits with one seed differ only where their attributes differ.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import skia

from pretrain.painter.attributes import Portrait
from pretrain.painter.colours import Colour, dark, light
from pretrain.painter.paths import intersection, mirrored, outline
from pretrain.painter.pen import Pen
from pretrain.painter.words import CLOTH_COLOURS, HAIR_COLOURS, SKINS

GOLD: Colour = (250, 210, 84)


WHITE: Colour = (255, 255, 255)


FRILL: Colour = (250, 250, 255)


LASH: Colour = (50, 30, 46)


@dataclass
class Shape:
    """The unnamed geometry of one figure."""

    face: float  # half width of the face
    chin: float  # height of the chin line
    jaw: float  # 0 round, 1 pointed
    eye_rx: float
    eye_ry: float
    eye_gap: float  # distance of an eye from the middle line
    eye_y: float
    slant: float  # outer corner of the eye: up (+) or down (-)
    volume: float  # thickness of the hair
    turn: float  # head turned to the left (-1) or right (+1)
    tilt: float  # degrees
    lean: float  # degrees, the whole figure
    zoom: float
    dx: float
    dy: float
    flip: bool
    lock: float  # length of the side locks

    @property
    def hair(self) -> float:
        """Half width of the hair."""
        return self.face + 4 + self.volume

    @property
    def top(self) -> float:
        """Height of the crown."""
        return 20 - self.volume * 1.3

    def x(self, offset: float) -> float:
        """A point of the face, moved with the turn of the head; far points move less."""
        squeeze = 1 - 0.10 * self.turn * (1 if offset > 0 else -1)
        return 64 + self.turn * 3.4 + offset * squeeze


def sample_shape(seed: float, a: Portrait) -> Shape:
    """Random geometry; the gaze down also lowers the head a little."""
    rng = random.Random(f"{seed}-shape")
    size = rng.uniform(0.92, 1.10)
    shape = Shape(
        face=rng.uniform(27.5, 31.5),
        chin=rng.uniform(88, 92.5),
        jaw=rng.random(),
        eye_rx=6.9 * size * rng.uniform(0.92, 1.08),
        eye_ry=8.6 * size * rng.uniform(0.9, 1.08),
        eye_gap=rng.uniform(12.6, 14.4),
        eye_y=rng.uniform(66.2, 69),
        slant=rng.uniform(-1.3, 1.5),
        volume=rng.uniform(0, 4.5),
        turn=rng.uniform(-1, 1),
        tilt=rng.uniform(-7, 7),
        lean=rng.uniform(-4, 4),
        zoom=rng.uniform(0.95, 1.04),
        dx=rng.uniform(-4, 4),
        dy=rng.uniform(-1, 3),
        flip=rng.random() < 0.5,
        lock=rng.uniform(82, 98),
    )
    if a.boy:
        shape.eye_ry *= 0.86
        shape.eye_rx *= 0.94
    if a.gaze == "down":
        shape.tilt += math.copysign(4, shape.tilt)
        shape.eye_y += 1.5
    if a.second_eye_colour or a.cheek_star:
        shape.flip = False  # sides matter
    if a.dynamic_angle:
        shape.lean = math.copysign(rng.uniform(13, 21), shape.lean)
    return shape


class Figure:
    """One portrait on its way: the pen, the attributes, the geometry and the colours in use."""

    def __init__(self, pen: Pen, a: Portrait, shape: Shape):
        self.pen, self.a, self.s = pen, a, shape
        self.hair = HAIR_COLOURS[a.hair_colour]
        self.hair_dark, self.hair_light = dark(self.hair, 0.28), light(self.hair, 0.42)
        self.inner = HAIR_COLOURS[a.inner_colour] if a.inner_colour else dark(self.hair, 0.38)
        self.skin = SKINS[a.skin]
        self.cloth = CLOTH_COLOURS[a.clothes_colour]
        self.ribbon = CLOTH_COLOURS[a.ribbon_colour]
        self.glove = FRILL
        if a.clothes_colour == "white" or a.skin == "pale skin":  # white gloves would not show
            self.glove = light(self.ribbon, 0.1) if a.ribbon_colour != "white" else (74, 66, 90)

    def accent(self) -> Colour:
        """The colour of hair ties and of things worn on the head."""
        return CLOTH_COLOURS[self.a.accessory_colour]

    def tail_colour(self) -> Colour:
        """The colour of the ends of the hair."""
        return HAIR_COLOURS[self.a.tips_colour] if self.a.tips_colour else self.hair

    def both(self, path: skia.Path, colour: Colour, line: bool = True, width: float | None = None) -> None:
        """A shape and its mirror image."""
        self.pen.shape(path, colour, line, width=width)
        self.pen.shape(mirrored(path), colour, line, width=width)

    def strands(self, path: skia.Path, shade: skia.Path | None = None) -> None:
        """A mass of hair with a darker part."""
        self.pen.shape(path, self.hair, gloss=True)
        if shade is not None:
            self.pen.tone(shade, self.hair_dark, 170, path)
        self.tips(path)

    def tips(self, path: skia.Path) -> None:
        """Colours the lower part of a mass of hair, where the hair has a second colour."""
        if self.a.tips_colour is None:
            return
        box = path.getBounds()
        level = box.top() + 0.52 * (min(box.bottom(), 128) - box.top())
        band = outline(
            f"M{box.left() - 2},{level + 4} L{box.left() + box.width() * 0.3},{level - 2} "
            f"L{box.left() + box.width() * 0.6},{level + 5} L{box.right() + 2},{level - 3} "
            f"L{box.right() + 2},{box.bottom() + 2} L{box.left() - 2},{box.bottom() + 2} Z"
        )
        self.pen.shape(intersection(path, band), HAIR_COLOURS[self.a.tips_colour], line=self.pen.colourless)
