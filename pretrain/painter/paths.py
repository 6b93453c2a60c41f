"""Paths: outlines from text, simple shapes, and what can be done with them.

All coordinates are in a box of 128 x 128 units, y downwards; the canvas scales it to the wished size.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

import skia

_TOKEN = re.compile(r"[MLCQZ]|-?\d+\.?\d*(?:e-?\d+)?")


_ARGUMENTS = {"M": 2, "L": 2, "Q": 4, "C": 6}


def _parse(text: str) -> skia.Path:
    """Reads the text of a path."""
    path = skia.Path()
    draw = {"M": path.moveTo, "L": path.lineTo, "Q": path.quadTo, "C": path.cubicTo}
    command, numbers = "M", []
    for token in _TOKEN.findall(text):
        if token == "Z":
            path.close()
        elif token in draw:
            command = token
        else:
            numbers.append(float(token))
            if len(numbers) == _ARGUMENTS[command]:
                draw[command](*numbers)
                numbers = []
                command = "L" if command == "M" else command
    return path


_parse_cached = lru_cache(maxsize=3000)(_parse)


def outline(text: str) -> skia.Path:
    """A path from text with absolute M, L, C, Q, Z commands."""
    return _parse_cached(text)


def ellipse(x: float, y: float, rx: float, ry: float) -> skia.Path:
    """An ellipse around x, y."""
    path = skia.Path()
    path.addOval(skia.Rect(x - rx, y - ry, x + rx, y + ry))
    return path


def rectangle(left: float, top: float, right: float, bottom: float) -> skia.Path:
    """A rectangle."""
    path = skia.Path()
    path.addRect(skia.Rect(left, top, right, bottom))
    return path


def polygon(points: list[tuple[float, float]]) -> skia.Path:
    """A closed polygon."""
    path = skia.Path()
    path.addPoly([skia.Point(x, y) for x, y in points], True)
    return path


def star(x: float, y: float, radius: float, inner: float = 0.48, turn: float = -90) -> skia.Path:
    """A five-pointed star."""
    corners = []
    for k in range(10):
        r = radius if k % 2 == 0 else radius * inner
        angle = math.radians(turn + 36 * k)
        corners.append((x + r * math.cos(angle), y + r * math.sin(angle)))
    return polygon(corners)


def heart(x: float, y: float, r: float) -> skia.Path:
    """A heart; r is about half its width."""
    return _parse(
        f"M{x},{y + r} C{x - 1.9 * r},{y - 0.2 * r} {x - 0.9 * r},{y - 1.4 * r} "
        f"{x},{y - 0.45 * r} C{x + 0.9 * r},{y - 1.4 * r} {x + 1.9 * r},{y - 0.2 * r} "
        f"{x},{y + r} Z"
    )


def crescent(x: float, y: float, r: float) -> skia.Path:
    """A crescent moon, open to the upper right."""
    return skia.Op(
        ellipse(x, y, r, r),
        ellipse(x + 0.48 * r, y - 0.30 * r, 0.80 * r, 0.80 * r),
        skia.PathOp.kDifference_PathOp,
    )


def limb(x0: float, y0: float, x1: float, y1: float, w0: float, w1: float) -> skia.Path:
    """A tapered rounded bar, such as an arm; w0 and w1 are the half widths at its ends."""
    length = math.hypot(x1 - x0, y1 - y0) or 1
    nx, ny = (y1 - y0) / length, (x0 - x1) / length
    ux, uy = (x1 - x0) / length * w1 * 1.2, (y1 - y0) / length * w1 * 1.2
    vx, vy = (x1 - x0) / length * w0 * 1.2, (y1 - y0) / length * w0 * 1.2
    a, b = (x0 + nx * w0, y0 + ny * w0), (x1 + nx * w1, y1 + ny * w1)
    c, d = (x1 - nx * w1, y1 - ny * w1), (x0 - nx * w0, y0 - ny * w0)
    path = skia.Path()
    path.moveTo(*a)
    path.lineTo(*b)
    path.cubicTo(b[0] + ux, b[1] + uy, c[0] + ux, c[1] + uy, *c)
    path.lineTo(*d)
    path.cubicTo(d[0] - vx, d[1] - vy, a[0] - vx, a[1] - vy, *a)
    path.close()
    return path


def union(*paths: skia.Path) -> skia.Path:
    """The united area of several paths."""
    joined = paths[0]
    for path in paths[1:]:
        joined = skia.Op(joined, path, skia.PathOp.kUnion_PathOp)
    return joined


def intersection(a: skia.Path, b: skia.Path) -> skia.Path:
    """The common area of two paths."""
    return skia.Op(a, b, skia.PathOp.kIntersect_PathOp)


def mirrored(path: skia.Path) -> skia.Path:
    """The path mirrored left-right about x = 64."""
    flipped = skia.Path(path)
    flipped.transform(skia.Matrix.MakeAll(-1, 0, 128, 0, 1, 0, 0, 0, 1))
    return flipped


def moved(path: skia.Path, dx: float, dy: float, scale: float = 1.0, turn: float = 0.0) -> skia.Path:
    """The path scaled and turned about 0, 0 and then shifted."""
    copy = skia.Path(path)
    matrix = skia.Matrix()
    matrix.setTranslate(dx, dy)
    matrix.preRotate(turn)
    matrix.preScale(scale, scale)
    copy.transform(matrix)
    return copy
