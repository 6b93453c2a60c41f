"""Draws chibi portraits. `render(portrait, seed)` is the one entry; the same seed gives the same picture."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import skia
from numpy.typing import NDArray

from pretrain.painter.attributes import Portrait
from pretrain.painter.backgrounds import draw_background
from pretrain.painter.colours import light
from pretrain.painter.figure.accessories import draw_accessories
from pretrain.painter.figure.animal_ears import draw_animal_ears
from pretrain.painter.figure.back_hair import BACK_HAIR, FRONT_BRAIDS
from pretrain.painter.figure.body import draw_body, draw_raised_arms
from pretrain.painter.figure.face import draw_brows, draw_face
from pretrain.painter.figure.front_hair import draw_front_hair
from pretrain.painter.figure.shape import WHITE, Figure, Shape, sample_shape
from pretrain.painter.paths import ellipse
from pretrain.painter.pen import Pen
from pretrain.painter.places import PLAIN
from pretrain.painter.sheet import Sheet, finish, spoil

HEAD_DROP = 2.5


FRAMES = {  # framing: zoom, the point of the figure that is centred, where it lands
    "close-up": (1.30, (64, 66), (64, 67.5)),
    "portrait": (1.0, (64, 70), (64, 73)),
    "upper body": (0.84, (64, 88), (64, 71)),
    "cowboy shot": (0.72, (64, 95), (64, 67)),
}


def place_figure(canvas: skia.Canvas, a: Portrait, s: Shape) -> None:
    """Moves the canvas so that the figure fills the frame as its framing says."""
    zoom, (px, py), (tx, ty) = FRAMES[a.framing]
    zoom *= s.zoom
    zoom, ty = zoom * (1 - 0.08 * a.headroom), ty + 6 * a.headroom
    if a.hand_up or a.microphone:
        zoom *= 0.97
    canvas.translate(tx + s.dx * min(1, zoom), ty + s.dy)
    canvas.rotate(s.lean)
    canvas.scale(-zoom if s.flip else zoom, zoom)
    canvas.translate(-px, -py)


def draw_figure(f: Figure, seed: float) -> None:
    """All layers from back to front."""
    canvas = f.pen.canvas

    def layer(name: str, tilted: bool, paint: Callable[[], None]) -> None:
        """One layer with its own random numbers."""
        f.pen.rng = random.Random(f"{seed}-{name}")
        canvas.save()
        if tilted:  # everything of the head; it sits a little lower than its own coordinates say
            canvas.translate(0, HEAD_DROP)
            canvas.rotate(f.s.tilt, 64, 92)
        paint()
        canvas.restore()

    layer("back", True, lambda: BACK_HAIR[f.a.hair_style](f))
    layer("body", False, lambda: draw_body(f))
    layer("face", True, lambda: draw_face(f))
    if f.a.ears:
        layer("ears", True, lambda: draw_animal_ears(f))
    layer("front", True, lambda: draw_front_hair(f, random.Random(f"{seed}-fringe")))
    if f.a.hair_style in FRONT_BRAIDS:
        layer("braid", True, lambda: FRONT_BRAIDS[f.a.hair_style](f))
    if f.a.glasses != "sunglasses":
        layer("brows", True, lambda: draw_brows(f))
    layer("accessories", True, lambda: draw_accessories(f))
    layer("hands", False, lambda: draw_raised_arms(f))


def darken_for_night(pen: Pen, rng: random.Random) -> None:
    """Coloured half-light over the whole picture, for 'glow in the dark'."""
    if pen.style == "sketch style":
        return
    edge = rng.choice([(60, 40, 150), (40, 60, 160), (110, 30, 130)])
    shader = skia.GradientShader.MakeRadial(
        center=(64, 62),
        radius=96,
        colors=[
            skia.Color(*light(edge, 0.92)),
            skia.Color(*light(edge, 0.62)),
            skia.Color(*light(edge, 0.12)),
        ],
        positions=[0, 0.55, 1],
    )
    pen.canvas.drawPaint(skia.Paint(Shader=shader, BlendMode=skia.BlendMode.kMultiply))


def draw_glow(pen: Pen, rng: random.Random) -> None:
    """Bright sparks in front of everything, for 'glow in the dark'."""
    for _ in range(10):
        colour = rng.choice([(110, 255, 220), (255, 120, 220), (140, 190, 255)])
        x, y, r = rng.uniform(0, 128), rng.uniform(0, 128), rng.uniform(0.9, 1.7)
        pen.glow(ellipse(x, y, r * 2.4, r * 2.4), colour, 190, 1.4)
        pen.glow(ellipse(x, y, r * 0.8, r * 0.8), WHITE, 255, 0)


def render(a: Portrait, seed: float, size: int = 128) -> NDArray[np.uint8]:
    """The picture of a portrait as uint8 (size, size, 3)."""
    sheet = Sheet(size)
    canvas = sheet.canvas
    pen = Pen(canvas, a.style, random.Random(f"{seed}-scene"))
    ground = PLAIN.get(a.background, PLAIN[f"{a.background_colour} background"])
    draw_background(pen, a.background, ground, a.lights)
    shape = sample_shape(seed, a)
    canvas.save()
    place_figure(canvas, a, shape)
    draw_figure(Figure(pen, a, shape), seed)
    canvas.restore()
    if a.glow_in_the_dark:
        rng = random.Random(f"{seed}-glow")
        darken_for_night(pen, rng)
        draw_glow(pen, rng)
    picture = finish(sheet.array(), a.style, random.Random(f"{seed}-finish"))
    if a.fault:
        picture = spoil(picture, a.fault, a.fault_strength, random.Random(f"{seed}-fault"))
    return picture
