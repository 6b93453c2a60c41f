"""Fruit, plants, moon, star."""

from __future__ import annotations

import math

from pretrain.painter.colours import Colour, dark, light
from pretrain.painter.paths import crescent, ellipse, heart, mirrored, outline, polygon, star, union
from pretrain.painter.patterns import draw_sparkle
from pretrain.painter.pen import Pen
from pretrain.painter.things.parts import COLOURS, CREAM, GOLD, LEAF, WHITE, WOOD, draw_cute_face, ink_on


def paint_apple(pen: Pen, colour: Colour) -> None:
    """A thing: apple."""
    body = outline("M64,38 C46,24 18,34 20,66 C22,98 46,112 64,105 C82,112 106,98 108,66 C110,34 82,24 64,38 Z")
    pen.shape(body, colour, gloss=True)
    pen.tone(outline("M86,38 C108,52 104,96 74,110 L114,112 L116,38 Z"), dark(colour, 0.24), 200, body)
    pen.stroke(outline("M64,40 Q61,26 69,14"), WOOD, 3.6)
    pen.shape(outline("M67,28 C75,10 94,10 99,16 C94,31 78,34 67,28 Z"), LEAF)
    pen.tone(ellipse(40, 56, 6, 10), light(colour, 0.7), 230)


def paint_strawberry(pen: Pen, colour: Colour) -> None:
    """A thing: strawberry."""
    body = outline("M64,40 C88,26 112,42 104,66 C98,90 80,108 64,116 C48,108 30,90 24,66 C16,42 40,26 64,40 Z")
    pen.shape(body, colour, gloss=True)
    seed_colour = (255, 236, 150) if sum(colour) < 620 else (200, 130, 60)
    for x, y in (
        (44, 58),
        (64, 56),
        (84, 58),
        (38, 72),
        (54, 74),
        (74, 74),
        (90, 72),
        (50, 90),
        (78, 90),
        (64, 98),
    ):
        pen.shape(ellipse(x, y, 1.8, 2.6), seed_colour, line=False)
    pen.shape(outline("M64,40 L34,42 L48,30 L38,22 L58,26 L64,12 L70,26 L90,22 L80,30 L94,42 Z"), LEAF)


def paint_flower(pen: Pen, colour: Colour) -> None:
    """A thing: flower."""
    pen.stroke(outline("M64,66 Q60,100 64,128"), LEAF, 4.5)
    leaf = outline("M63,114 C48,114 38,104 34,94 C50,92 60,102 63,114 Z")
    pen.shape(leaf, LEAF)
    pen.shape(mirrored(leaf), LEAF)
    for k in range(6):
        angle = k * math.pi / 3 + 0.3
        pen.shape(ellipse(64 + 23 * math.cos(angle), 50 + 23 * math.sin(angle), 15, 15), colour)
    pen.shape(ellipse(64, 50, 15, 15), GOLD if colour != COLOURS["yellow"] else (240, 140, 60))
    draw_cute_face(pen, 48, 6, 0.7)


def paint_tree(pen: Pen, colour: Colour) -> None:
    """A thing: tree."""
    pen.shape(outline("M54,126 Q59,104 57,78 L71,78 Q69,104 74,126 Z"), WOOD)
    crown = union(ellipse(64, 42, 33, 30), ellipse(38, 64, 23, 20), ellipse(90, 64, 23, 20), ellipse(64, 70, 26, 18))
    pen.shape(crown, colour, gloss=True)
    pen.tone(ellipse(76, 82, 46, 22), dark(colour, 0.24), 210, crown)
    for x, y in ((48, 40), (80, 50), (58, 64)):
        pen.stroke(outline(f"M{x - 5},{y} Q{x},{y - 6} {x + 5},{y}"), light(colour, 0.4), 1.5)


def paint_star(pen: Pen, colour: Colour) -> None:
    """A thing: star."""
    points = star(64, 68, 52, 0.54)
    pen.shape(points, colour, gloss=True)
    pen.tone(polygon([(64, 68), (124, 46), (104, 124)]), dark(colour, 0.2), 130, points)
    draw_cute_face(pen, 66, 12, 1.0, ink_on(colour))


def paint_heart(pen: Pen, colour: Colour) -> None:
    """A thing: heart."""
    shape = heart(64, 66, 39)
    pen.shape(shape, colour, gloss=True)
    pen.tone(outline("M100,30 C110,70 80,100 64,108 L120,110 L124,30 Z"), dark(colour, 0.22), 170, shape)
    pen.tone(ellipse(40, 46, 9, 7), light(colour, 0.7), 230)


def paint_moon(pen: Pen, colour: Colour) -> None:
    """A thing: moon."""
    pen.shape(crescent(60, 66, 50), colour, gloss=True)
    for x, y, r in ((92, 40, 10), (106, 66, 6), (84, 66, 5)):
        draw_sparkle(pen, x, y, r, (255, 236, 150))


def paint_mushroom(pen: Pen, colour: Colour) -> None:
    """A thing: mushroom."""
    pen.shape(outline("M46,66 L82,66 C84,90 90,106 86,114 C76,121 52,121 42,114 C38,106 44,90 46,66 Z"), CREAM)
    cap = outline("M10,70 C10,32 36,16 64,16 C92,16 118,32 118,70 C92,80 36,80 10,70 Z")
    pen.shape(cap, colour, gloss=True)
    dots = WHITE if sum(colour) < 680 else (214, 80, 80)
    for x, y, r in ((36, 50, 8), (66, 36, 9), (94, 54, 8), (62, 62, 5)):
        pen.shape(ellipse(x, y, r, r * 0.9), dots, False)
    draw_cute_face(pen, 92, 9)
