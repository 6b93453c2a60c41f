"""Animal ears, which are never in the base set."""

from __future__ import annotations

import skia

from pretrain.painter.colours import dark
from pretrain.painter.figure.shape import Figure
from pretrain.painter.paths import mirrored, outline, rectangle
from pretrain.painter.words import HAIR_COLOURS


def draw_animal_ears(f: Figure) -> None:
    """Ears on the head; drawn before the front hair, which covers their roots."""
    colour = HAIR_COLOURS[f.a.ears_colour] if f.a.ears_colour else f.hair
    r, top, kind = f.s.hair, f.s.top, f.a.ears
    if kind == "cat ears":
        ear = (
            f"M{64 - r},42 C{64 - r - 3},24 {64 - r - 2},8 {64 - r + 1},{top - 16} "
            f"C{64 - r + 11},{top - 11} {64 - r + 20},{top - 3} {64 - r + 26},{top + 6} Z"
        )
        inside = (
            f"M{64 - r + 3},36 C{64 - r + 1},24 {64 - r + 1},12 {64 - r + 3.5},{top - 9} "
            f"C{64 - r + 10},{top - 6} {64 - r + 15},{top - 1} {64 - r + 19},{top + 6} Z"
        )
        pink, fluff_at = (255, 178, 190), (64 - r + 9, top + 7)
    elif kind == "fox ears":
        ear = (
            f"M{64 - r - 1},46 C{64 - r - 9},26 {64 - r - 9},4 {64 - r - 3},{top - 25} "
            f"C{64 - r + 10},{top - 17} {64 - r + 21},{top - 5} {64 - r + 27},{top + 6} Z"
        )
        inside = (
            f"M{64 - r + 2},38 C{64 - r - 4},24 {64 - r - 4},8 {64 - r},{top - 14} "
            f"C{64 - r + 9},{top - 9} {64 - r + 15},{top - 2} {64 - r + 19},{top + 6} Z"
        )
        pink, fluff_at = (255, 246, 236), (64 - r + 7, top + 6)
    else:
        ear = (
            f"M{64 - r * 0.62},{top + 14} C{64 - r * 0.95},{top - 6} {64 - r},{top - 30} "
            f"{64 - r * 0.80},{top - 38} C{64 - r * 0.5},{top - 36} {64 - r * 0.36},{top - 14} "
            f"{64 - r * 0.26},{top + 6} Z"
        )
        inside = (
            f"M{64 - r * 0.58},{top + 4} C{64 - r * 0.82},{top - 10} {64 - r * 0.86},{top - 24} "
            f"{64 - r * 0.76},{top - 31} C{64 - r * 0.58},{top - 28} {64 - r * 0.46},{top - 10} "
            f"{64 - r * 0.38},{top + 4} Z"
        )
        pink, fluff_at = (255, 186, 200), (64 - r * 0.5, top + 2)
    for turn_over in (False, True):
        outer, inner = outline(ear), outline(inside)
        if turn_over:
            outer, inner = mirrored(outer), mirrored(inner)
        f.pen.shape(outer, colour, gloss=True)
        if kind == "fox ears":
            f.pen.tone(rectangle(0, -40, 128, top - 14), dark(colour, 0.62), 235, outer)
        f.pen.shape(inner, pink, line=f.pen.colourless)
        if f.a.ear_fluff:
            fluff = ear_fluff(*fluff_at)
            f.pen.shape(mirrored(fluff) if turn_over else fluff, (255, 252, 244), width=0.7)


def ear_fluff(x: float, y: float) -> skia.Path:
    """A white tuft inside an ear."""
    return outline(
        f"M{x - 6},{y + 12} L{x - 6},{y} L{x - 3},{y + 3} L{x - 1},{y - 5} "
        f"L{x + 2},{y + 1} L{x + 7},{y - 2} L{x + 7},{y + 4} L{x + 12},{y + 5} "
        f"L{x + 10},{y + 12} Z"
    )
