"""Hair before the face: the cap with its fringe, the shine, the locks and the cowlick."""

from __future__ import annotations

import math
import random

from pretrain.painter.figure.shape import Figure, Shape
from pretrain.painter.paths import mirrored, outline

STYLES_WITH_LOCKS = (
    "long hair",
    "wavy hair",
    "bob cut",
    "twintails",
    "twin braids",
    "single braid",
    "ponytail",
)


def cap_arc(s: Shape) -> str:
    """The outer line of the hair over the head, from the left temple to the right one."""
    r, top = s.hair, s.top
    return (
        f"M{64 - r},62 C{64 - r - 2},36 {64 - r * 0.66},{top} 64,{top} "
        f"C{64 + r * 0.66},{top} {64 + r + 2},36 {64 + r},62 "
    )


def fringe_blunt(f: Figure, rng: random.Random) -> str:
    """An even line with small notches."""
    r, y = f.s.hair, rng.uniform(53, 55.5)
    line = [f"Q{64 + r - 3},56 {64 + r - 5},{y - 5} L{64 + r - 8},{y}"]
    x, right = 64 + r - 8, 64 - r + 8
    while x > right + 9:
        width = rng.uniform(6.5, 10)
        nx = max(right, x - width)
        drop = 1.6 * math.cos((nx - 64) / r * 1.5)
        line.append(f"L{x - width * 0.42},{y + drop - 3.2} L{nx},{y + drop}")
        x = nx
    line.append(f"L{right},{y} L{64 - r + 5},{y - 5} Q{64 - r + 3},56 {64 - r},62 Z")
    return " ".join(line)


def pointed(points: list[tuple[float, float]]) -> str:
    """Pointed strands through points that are tips and valleys in turn."""
    parts, (px, py) = [], points[0]
    for k, (x, y) in enumerate(points[1:]):
        if k % 2 == 0:  # down to a tip
            parts.append(f"Q{x + (px - x) * 0.25},{py + (y - py) * 0.45} {x},{y}")
        else:  # up to a valley
            parts.append(f"Q{x + (px - x) * 0.45},{py + (y - py) * 0.6} {x},{y}")
        px, py = x, y
    return " ".join(parts)


def fringe_messy(f: Figure, rng: random.Random) -> str:
    """Loose pointed strands of different lengths."""
    r, count = f.s.hair, rng.choice([5, 6])
    points = [(64 + r - 5, 46.0)]
    width = (2 * r - 14) / count
    for k in range(count):
        left = 64 + r - 6 - width * (k + 1)
        points.append((left + width * rng.uniform(0.25, 0.6), rng.uniform(54, 63)))
        points.append((left, rng.uniform(43, 47)))
    return f"Q{64 + r - 2},54 {points[0][0]},{points[0][1]} " + pointed(points) + f" Q{64 - r + 2},54 {64 - r},62 Z"


def fringe_swept(f: Figure, rng: random.Random) -> str:
    """Parted at one side, swept to the other."""
    r, part = f.s.hair, 64 - f.s.hair * rng.uniform(0.36, 0.5)
    return (
        f"Q{64 + r - 1},56 {64 + r - 6},49 Q{64 + r - 11},55 {64 + r - 20},57 "
        f"Q{64 + r - 15},52 {64 + r - 14},48 Q{64 + r - 22},56 {64 + r - 36},56 "
        f"Q{part + 16},52 {part + 14},46 Q{part + 4},47 {part},36 "
        f"Q{part - 3},48 {64 - r + 7},54 Q{64 - r + 8},50 {64 - r + 5},46 "
        f"Q{64 - r + 2},54 {64 - r},62 Z"
    )


def fringe_parted(f: Figure, rng: random.Random) -> str:
    """Parted in the middle; the forehead shows."""
    r, height = f.s.hair, rng.uniform(34, 38)
    return (
        f"Q{64 + r - 1},58 {64 + r - 4},56 Q{64 + r - 6},60 {64 + r - 10},60 "
        f"Q{64 + r - 9},55 {64 + r - 11},52 Q{64 + 13},50 64,{height} "
        f"Q{64 - 13},50 {64 - r + 11},52 Q{64 - r + 9},55 {64 - r + 10},60 "
        f"Q{64 - r + 6},60 {64 - r + 4},56 Q{64 - r + 1},58 {64 - r},62 Z"
    )


FRINGES = {
    "blunt bangs": fringe_blunt,
    "messy bangs": fringe_messy,
    "swept bangs": fringe_swept,
    "parted bangs": fringe_parted,
}


def draw_front_hair(f: Figure, rng: random.Random) -> None:
    """The cap of hair with the fringe, the shine, the locks beside the face and the cowlick."""
    pen, s, r = f.pen, f.s, f.s.hair
    if f.a.hair_style in STYLES_WITH_LOCKS and not f.a.boy:
        draw_locks(f)
    cap = outline(cap_arc(s) + FRINGES[f.a.bangs](f, rng))
    pen.shape(cap, f.hair)
    pen.tone(outline(f"M{64 - r},48 Q64,58 {64 + r},48 L{64 + r},70 L{64 - r},70 Z"), f.hair_dark, 120, cap)
    if pen.style in ("anime style", "pastel style"):
        y = s.top + 15
        shine = outline(
            f"M{64 - r * 0.70},{y + 3} Q64,{y - 10} {64 + r * 0.70},{y + 3} "
            f"L{64 + r * 0.5},{y + 2} L{64 + r * 0.36},{y + 5} L{64 + r * 0.2},{y} "
            f"L{64 + r * 0.02},{y + 4} L{64 - r * 0.2},{y} L{64 - r * 0.36},{y + 5} "
            f"L{64 - r * 0.5},{y + 2} Z"
        )
        pen.tone(shine, f.hair_light, 215, cap)
    for k in (-0.45, 0.1, 0.5):  # a few strands
        x = 64 + r * k
        pen.stroke(
            outline(f"M{64 + r * k * 0.55},{s.top + 7} Q{x},{s.top + 14} {x * 1.01},{s.top + 22}"),
            f.hair_dark,
            0.7,
            150,
        )
    if f.a.boy:
        draw_boy_spikes(f)
    if f.a.ahoge:
        draw_ahoge(f)


def draw_boy_spikes(f: Figure) -> None:
    """Short spikes around the head."""
    r, top = f.s.hair, f.s.top
    x0, x1 = 64 - r, 64 + r
    spikes = outline(
        f"M{x0 + 1},46 L{x0 - 6},41 L{x0 + 2},36 L{x0 - 2},27 L{x0 + 9},27 L{x0 + 12},17 "
        f"L{x0 + 21},{top + 1} L64,{top - 7} L{x1 - 24},{top} L{x1 - 15},{top - 4} "
        f"L{x1 - 11},27 L{x1},26 L{x1 - 2},35 L{x1 + 6},41 L{x1 - 1},46 "
        f"C{x1 - 4},34 {64 + r * 0.5},{top + 6} 64,{top + 6} "
        f"C{64 - r * 0.5},{top + 6} {x0 + 4},34 {x0 + 1},46 Z"
    )
    f.pen.shape(spikes, f.hair, line=f.pen.style != "anime style")


def draw_locks(f: Figure) -> None:
    """Locks of hair beside the face."""
    r, low = f.s.hair, f.s.lock
    lock = outline(
        f"M{64 - r},48 C{64 - r - 3},66 {64 - r - 2},{low - 12} {64 - r + 4},{low} "
        f"C{64 - r + 8},{low - 14} {64 - r + 6},66 {64 - r + 8},48 Z"
    )
    for path in (lock, mirrored(lock)):
        f.pen.shape(path, f.hair, gloss=True)
        if f.a.tips_colour and f.a.hair_style != "ponytail":
            f.tips(path)


def draw_ahoge(f: Figure) -> None:
    """One strand standing up from the crown."""
    top = f.s.top
    strand = outline(
        f"M62,{top + 3} C61,{top - 8} 68,{top - 14} 80,{top - 9} C73,{top - 9} 68,{top - 5} 67.5,{top + 3} Z"
    )
    f.pen.shape(strand, f.hair)
