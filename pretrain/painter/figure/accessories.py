"""Things worn on the head."""

from __future__ import annotations

import math

from pretrain.painter.attributes import wears_headdress
from pretrain.painter.colours import dark
from pretrain.painter.figure.garments import draw_ribbon
from pretrain.painter.figure.shape import FRILL, GOLD, Figure
from pretrain.painter.paths import crescent, ellipse, moved, outline, star, union
from pretrain.painter.words import CLOTH_COLOURS


def hair_tie(f: Figure) -> None:
    """Ties of twintails, buns and ponytail."""
    r = f.s.hair
    if f.a.hair_style == "twintails":
        for side in (-1, 1):
            f.pen.shape(ellipse(64 + side * (r - 2), 43, 3.4, 5), f.accent())
    elif f.a.hair_style == "double bun":
        for side in (-1, 1):
            band = moved(ellipse(0, 0, 7.5, 2.6), 64 + side * (r - 12), f.s.top + 16, turn=side * 42)
            f.pen.shape(band, f.accent())
    elif f.a.hair_style == "ponytail":
        f.pen.shape(ellipse(64 + r - 11, 32, 5, 5), f.accent())


def put_hair_bow(f: Figure) -> None:
    """On the head: hair bow."""
    draw_ribbon(f, 64 + f.s.hair * 0.62, f.s.top + 8, 0.78, f.accent())


def put_hair_flower(f: Figure) -> None:
    """On the head: hair flower."""
    x, y = 64 - f.s.hair * 0.72, 40
    for k in range(5):
        angle = k * 1.2566
        f.pen.shape(ellipse(x + 5.4 * math.cos(angle), y + 5.4 * math.sin(angle), 4.2, 4.2), f.accent())
    f.pen.shape(ellipse(x, y, 2.8, 2.8), GOLD if f.a.accessory_colour != "yellow" else (240, 130, 60))


def put_headphones(f: Figure) -> None:
    """On the head: headphones."""
    r, top = f.s.hair, f.s.top
    f.pen.stroke(
        outline(f"M{64 - r - 1},62 C{64 - r - 3},{top - 10} {64 + r + 3},{top - 10} {64 + r + 1},62"),
        dark(f.accent(), 0.25),
        4,
    )
    cup = outline(f"M{64 - r + 4},56 L{64 - r - 4},56 Q{64 - r - 10},66 {64 - r - 4},77 L{64 - r + 4},77 Z")
    f.both(cup, f.accent())


def put_beret(f: Figure) -> None:
    """On the head: beret."""
    r, top = f.s.hair, f.s.top
    f.pen.shape(
        outline(
            f"M{64 - r},{top + 18} C{64 - r - 8},{top} {64 - r * 0.5},{top - 12} "
            f"70,{top - 11} C{64 + r * 0.8},{top - 10} {64 + r + 10},{top + 6} "
            f"{64 + r},{top + 19} C{64 + r * 0.5},{top + 7} {64 - r * 0.5},{top + 6} "
            f"{64 - r},{top + 18} Z"
        ),
        f.accent(),
        gloss=True,
    )
    f.pen.stroke(outline(f"M68,{top - 10} L69,{top - 15}"), dark(f.accent(), 0.25), 2.4)


def put_hairband(f: Figure) -> None:
    """On the head: hairband."""
    r, top = f.s.hair, f.s.top
    f.pen.shape(
        outline(
            f"M{64 - r - 0.5},50 C{64 - r + 1},{top + 5} {64 - r * 0.5},{top - 1.5} "
            f"64,{top - 1.5} C{64 + r * 0.5},{top - 1.5} {64 + r - 1},{top + 5} "
            f"{64 + r + 0.5},50 L{64 + r - 4},48 C{64 + r - 7},{top + 14} "
            f"{64 + r * 0.45},{top + 5.5} 64,{top + 5.5} C{64 - r * 0.45},{top + 5.5} "
            f"{64 - r + 7},{top + 14} {64 - r + 4},48 Z"
        ),
        f.accent(),
    )


def put_straw_hat(f: Figure) -> None:
    """On the head: straw hat."""
    r, y = f.s.hair, f.s.top + 16
    f.pen.shape(ellipse(64, y, r + 17, 9.5), (238, 208, 134))
    f.pen.shape(
        outline(
            f"M{64 - r * 0.78},{y - 2} C{64 - r * 0.78},{y - 26} {64 - r * 0.4},{y - 30} "
            f"64,{y - 30} C{64 + r * 0.4},{y - 30} {64 + r * 0.78},{y - 26} "
            f"{64 + r * 0.78},{y - 2} Q64,{y + 3} {64 - r * 0.78},{y - 2} Z"
        ),
        (244, 216, 146),
    )
    f.pen.shape(
        outline(
            f"M{64 - r * 0.78},{y - 2} L{64 - r * 0.77},{y - 9} Q64,{y - 4} "
            f"{64 + r * 0.77},{y - 9} L{64 + r * 0.78},{y - 2} Q64,{y + 3} "
            f"{64 - r * 0.78},{y - 2} Z"
        ),
        (210, 60, 60),
    )


def put_hair_clip(f: Figure) -> None:
    """On the head: hair clip."""
    x = 64 + f.s.hair * 0.58
    colour = GOLD if f.a.hair_colour not in ("blonde",) else (230, 70, 90)
    for dy in (0, 5.5):
        f.pen.shape(
            outline(f"M{x - 7},{45 + dy} L{x + 6},{41.5 + dy} L{x + 7},{45 + dy} L{x - 6},{48.6 + dy} Z"),
            colour,
        )


def put_crown(f: Figure) -> None:
    """On the head: crown."""
    y = f.s.top + 7
    f.pen.shape(
        outline(
            f"M46,{y} L42,{y - 19} L54,{y - 10} L64,{y - 23} L74,{y - 10} L86,{y - 19} "
            f"L82,{y} C72,{y - 4} 56,{y - 4} 46,{y} Z"
        ),
        (250, 208, 72),
        gloss=True,
    )
    f.pen.shape(ellipse(64, y - 8, 2.6, 2.6), (210, 44, 62))
    for x in (53.5, 74.5):
        f.pen.shape(ellipse(x, y - 6, 1.7, 1.7), (70, 130, 230))


ACCESSORY_PAINTERS = {
    "hair bow": put_hair_bow,
    "hair flower": put_hair_flower,
    "headphones": put_headphones,
    "beret": put_beret,
    "hairband": put_hairband,
    "straw hat": put_straw_hat,
    "hair clip": put_hair_clip,
    "crown": put_crown,
}


def put_hairpin(f: Figure) -> None:
    """A crescent or a star in the hair above the temple."""
    x, y = 64 + f.s.hair * 0.60, f.s.top + 23
    colour = CLOTH_COLOURS[f.a.hairpin_colour]
    pin = crescent(x, y, 8.6) if f.a.hairpin == "crescent hairpin" else star(x, y, 8.4, 0.5)
    f.pen.shape(pin, colour, gloss=True)


def draw_accessories(f: Figure) -> None:
    """Everything worn on the head."""
    hair_tie(f)
    if wears_headdress(f.a):
        put_headdress(f)
    if f.a.earrings:
        for side in (-1, 1):
            f.pen.shape(star(64 + side * (f.s.face + 1), 78, 3.8), GOLD, width=0.8)
    if f.a.accessory:
        ACCESSORY_PAINTERS[f.a.accessory](f)
    if f.a.hairpin:
        put_hairpin(f)
    if f.a.ribbon == "hair":
        draw_ribbon(f, 64 + f.s.hair * 0.5, f.s.top + 6, 1.05)


def put_headdress(f: Figure) -> None:
    """The white frilled band of the maid outfit."""
    r, top = f.s.hair, f.s.top
    parts = []
    for k in range(9):
        angle = math.radians(210 + k * 15)
        parts.append(ellipse(64 + (r + 0) * 0.92 * math.cos(angle), top + 32 + 33 * math.sin(angle), 5, 4.6))
    f.pen.shape(union(*parts), FRILL)
    f.pen.stroke(
        outline(f"M{64 - r * 0.72},{top + 17} Q64,{top - 13} {64 + r * 0.72},{top + 17}"), (196, 200, 216), 1.2
    )
