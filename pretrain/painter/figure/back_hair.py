"""Hair behind the head, and plaits before the body."""

from __future__ import annotations

import math

import skia

from pretrain.painter.colours import Colour, dark
from pretrain.painter.figure.shape import Figure
from pretrain.painter.paths import ellipse, intersection, mirrored, outline, rectangle, union


def wavy_edge(x: float, y0: float, y1: float, swing: float, side: int) -> str:
    """A wavy line downwards, as text for a path."""
    parts, y, k = [], y0, 0
    step = (y1 - y0) / 5
    while k < 5:
        bend = swing if k % 2 == 0 else -swing * 0.5
        parts.append(f"Q{x + side * bend},{y + step / 2} {x + side * (k % 2) * 1.5},{y + step}")
        y, k = y + step, k + 1
    return " ".join(parts)


def long_back(f: Figure, length: float = 152, spread: float = 5) -> skia.Path:
    """Straight hair down the back."""
    r = f.s.hair
    left, right = 64 - r, 64 + r
    return outline(
        f"M{left},46 C{left - spread},80 {left - spread - 1},{length - 40} {left - spread + 2},{length} "
        f"L{left + 8},{length - 7} L{left + 15},{length + 2} L64,{length - 6} L{right - 15},{length + 2} "
        f"L{right - 8},{length - 7} L{right + spread - 2},{length} "
        f"C{right + spread + 1},{length - 40} {right + spread},80 {right},46 Z"
    )


def inner_layer(f: Figure, bottom: float, margin: float) -> skia.Path:
    """The inside of the back hair, seen beside the neck."""
    r = f.s.hair - margin
    return outline(
        f"M{64 - r},56 C{64 - r - 2},80 {64 - r - 1},{bottom - 20} {64 - r + 3},{bottom} "
        f"Q64,{bottom + 5} {64 + r - 3},{bottom} "
        f"C{64 + r + 1},{bottom - 20} {64 + r + 2},80 {64 + r},56 Z"
    )


def draw_inside(f: Figure, bottom: float, back: skia.Path, margin: float = 7) -> None:
    """The inner layer: darker, or in the inner colour."""
    layer = intersection(inner_layer(f, bottom, margin if not f.a.inner_colour else margin - 3.5), back)
    if f.a.inner_colour:
        f.pen.shape(layer, f.inner, line=f.pen.style != "anime style")
        f.pen.tone(rectangle(48, 60, 80, 110), dark(f.inner, 0.25), 150, layer)
    else:
        f.pen.tone(layer, f.hair_dark, 210)


def back_long(f: Figure) -> None:
    """Hair behind the head: long."""
    back = long_back(f)
    f.strands(back)
    draw_inside(f, 146, back)


def back_wavy(f: Figure) -> None:
    """Hair behind the head: wavy."""
    r = f.s.hair
    back = outline(
        f"M64,40 L{64 - r},46 {wavy_edge(64 - r - 2, 46, 142, 10, -1)} L{64 + r + 2},142 "
        + _upwards(64 + r + 2, 142, 46, 10)
        + " Z"
    )
    f.strands(back)
    draw_inside(f, 136, back, 5)


def _upwards(x: float, y0: float, y1: float, swing: float) -> str:
    """The wavy line of the other side, from below."""
    parts, y = [], y0
    step = (y0 - y1) / 5
    for k in range(5):
        bend = swing if k % 2 == 0 else -swing * 0.5
        parts.append(f"Q{x + bend},{y - step / 2} {x + (1 - k % 2) * 1.5},{y - step}")
        y -= step
    return " ".join(parts)


def back_bob(f: Figure) -> None:
    """Hair behind the head: bob."""
    r = f.s.hair + 1
    back = outline(
        f"M{64 - r + 1},46 C{64 - r - 5},64 {64 - r - 4},84 {64 - r + 3},97 "
        f"Q{64 - r * 0.5},103 64,101 Q{64 + r * 0.5},103 {64 + r - 3},97 "
        f"C{64 + r + 4},84 {64 + r + 5},64 {64 + r - 1},46 Z"
    )
    f.strands(back)
    draw_inside(f, 96, back, 5)


def back_short(f: Figure) -> None:
    """Hair behind the head: short."""
    r = f.s.hair
    f.strands(
        outline(
            f"M{64 - r},46 C{64 - r - 2},60 {64 - r},72 {64 - r + 5},81 L{64 - r + 7},75 "
            f"L{64 - r + 13},86 L{64 + r - 13},86 L{64 + r - 7},75 L{64 + r - 5},81 "
            f"C{64 + r},72 {64 + r + 2},60 {64 + r},46 Z"
        )
    )


def back_curly(f: Figure) -> None:
    """Hair behind the head: curly."""
    r = f.s.hair
    parts = [ellipse(64, 58, r + 3, 38)]
    for k in range(13):
        angle = math.radians(146 + k * 248 / 12)
        parts.append(ellipse(64 + (r + 4) * math.cos(angle), 62 + 35 * math.sin(angle), 11, 11))
    mass = union(*parts)
    f.strands(mass, ellipse(64, 94, 46, 16))
    for k in range(0, 13, 2):
        angle = math.radians(146 + k * 248 / 12)
        x, y = 64 + (r + 4) * math.cos(angle), 62 + 35 * math.sin(angle)
        f.pen.stroke(outline(f"M{x - 4},{y + 2} Q{x},{y - 6} {x + 4},{y + 1}"), f.hair_dark, 1)


def back_twintails(f: Figure) -> None:
    """Hair behind the head: twintails."""
    r = f.s.hair
    x = 64 - r + 1
    tail = outline(
        f"M{x + 5},38 C{x - 18},34 {x - 29},62 {x - 24},92 C{x - 23},106 {x - 17},118 "
        f"{x - 9},130 L{x - 10},120 Q{x - 4},122 {x - 1},124 C{x - 4},104 {x + 3},86 "
        f"{x + 1},72 C{x},62 {x + 4},52 {x + 7},46 Z"
    )
    shade = outline(f"M{x - 14},70 C{x - 16},92 {x - 14},108 {x - 9},130 L{x + 4},124 C{x},100 {x + 4},84 {x},70 Z")
    f.strands(tail, shade)
    f.strands(mirrored(tail), mirrored(shade))
    back_short(f)


def back_ponytail(f: Figure) -> None:
    """Hair behind the head: ponytail."""
    r = f.s.hair
    x = 64 + r - 8
    tail = outline(
        f"M{x - 6},28 C{x + 14},16 {x + 33},36 {x + 30},68 C{x + 29},90 {x + 24},108 "
        f"{x + 12},124 L{x + 14},112 L{x + 6},118 C{x + 8},98 {x + 12},76 {x + 6},58 "
        f"C{x + 3},48 {x - 2},42 {x - 6},38 Z"
    )
    shade = outline(
        f"M{x + 18},46 C{x + 28},72 {x + 22},100 {x + 12},124 L{x + 5},118 C{x + 10},92 {x + 12},76 {x + 8},60 Z"
    )
    f.strands(tail, shade)
    back_short(f)


def draw_braid(f: Figure, points: list[tuple[float, float]], size: float, tie: Colour) -> None:
    """A plait along the points, with a tie and a tuft at its end."""
    end_x, end_y = points[-1]
    f.pen.shape(
        outline(
            f"M{end_x - 3},{end_y + 2} L{end_x - 5},{end_y + 15} L{end_x},{end_y + 12} "
            f"L{end_x + 4},{end_y + 15} L{end_x + 3},{end_y + 2} Z"
        ),
        f.tail_colour(),
    )
    for k, (x, y) in enumerate(points):
        w = size * (1 - 0.045 * k)
        colour = f.hair if not f.a.tips_colour or k < len(points) / 2 else f.tail_colour()
        link = outline(
            f"M{x},{y + w * 0.95} C{x - w * 1.5},{y + w * 0.3} {x - w * 1.2},{y - w * 0.9} "
            f"{x},{y - w * 0.45} C{x + w * 1.2},{y - w * 0.9} {x + w * 1.5},{y + w * 0.3} "
            f"{x},{y + w * 0.95} Z"
        )
        f.pen.shape(link, colour)
        f.pen.stroke(outline(f"M{x},{y - w * 0.4} L{x},{y + w * 0.8}"), dark(colour, 0.35), 0.9)
    f.pen.shape(ellipse(end_x, end_y + 3, 3.4, 2.4), tie)


def back_twin_braids(f: Figure) -> None:
    """Hair behind the head: twin braids."""
    back_short(f)


def front_twin_braids(f: Figure) -> None:
    """Hair before the body: twin braids."""
    r = f.s.hair
    for side in (-1, 1):
        points: list[tuple[float, float]] = [(64 + side * (r - 3 - 0.5 * k), 84 + 8 * k) for k in range(6)]
        draw_braid(f, points, 6.6, f.accent())


def back_single_braid(f: Figure) -> None:
    """Hair behind the head: single braid."""
    if f.a.braid_with_long_hair:
        back_long(f)
    else:
        back_bob(f)


def front_single_braid(f: Figure) -> None:
    """One plait over the shoulder."""
    x = 64 - f.s.hair + 3
    points = [(x + 6 * math.sin(k * 0.42), 80 + 8.2 * k) for k in range(7)]
    draw_braid(f, points, 7.4, f.accent())


def back_double_bun(f: Figure) -> None:
    """Hair behind the head: double bun."""
    back_short(f)
    x = 64 - f.s.hair + 7
    for centre in (x, 128 - x):
        bun = ellipse(centre, f.s.top + 8, 12.5, 12)
        f.pen.shape(bun, f.hair, gloss=True)
        y = f.s.top + 8
        f.pen.stroke(outline(f"M{centre - 7},{y + 2} Q{centre},{y - 8} {centre + 7},{y + 1}"), f.hair_dark, 1.2)
        f.pen.stroke(outline(f"M{centre - 4},{y + 5} Q{centre},{y - 2} {centre + 5},{y + 4}"), f.hair_dark, 1.1)


BACK_HAIR = {
    "long hair": back_long,
    "wavy hair": back_wavy,
    "bob cut": back_bob,
    "short hair": back_short,
    "curly hair": back_curly,
    "twintails": back_twintails,
    "ponytail": back_ponytail,
    "twin braids": back_twin_braids,
    "single braid": back_single_braid,
    "double bun": back_double_bun,
}


FRONT_BRAIDS = {"twin braids": front_twin_braids, "single braid": front_single_braid}
