"""The parts that several clothes share: bodies, skirts, frills, bows."""

from __future__ import annotations

import skia

from pretrain.painter.colours import Colour, dark
from pretrain.painter.figure.shape import Figure
from pretrain.painter.paths import ellipse, moved, outline

TORSO = "M57,93 C54,98 47,99 42,103 C41,112 46,124 49,136 Q64,140 79,136 C82,124 87,112 86,103 C81,99 74,98 71,93 Z"


COVERED = (
    "M55,96 C52,99 46,100 41,103 C40,112 46,124 48,142 Q64,146 80,142 C82,124 88,112 87,103 "
    "C82,100 76,99 73,96 Q64,104 55,96 Z"
)


OFF_SHOULDER = "M42,112 Q64,120 86,112 C86,120 82,128 79,137 Q64,141 49,137 C46,128 42,120 42,112 Z"


SKIRT = "M48,133 Q64,138 80,133 C84,142 92,151 96,160 Q64,170 32,160 C36,151 44,142 48,133 Z"


COLLAR_HALF = "M56,96 L64,107 L52,115 L45,103 Z"


def frill(x0: float, y0: float, x1: float, y1: float, depth: float, count: int) -> skia.Path:
    """A scalloped edge hanging from a slightly bent line."""
    parts = [f"M{x0},{y0}"]
    sag = (x1 - x0) * 0.08
    for k in range(count):
        t0, t1 = k / count, (k + 1) / count
        ya = y0 + (y1 - y0) * t0 + sag * 4 * t0 * (1 - t0)
        yb = y0 + (y1 - y0) * t1 + sag * 4 * t1 * (1 - t1)
        xa, xb = x0 + (x1 - x0) * t0, x0 + (x1 - x0) * t1
        parts.append(f"C{xa},{ya + depth * 1.4} {xb},{yb + depth * 1.4} {xb},{yb}")
    parts.append(f"Q{(x0 + x1) / 2},{(y0 + y1) / 2 + sag * 2 - 3} {x0},{y0 - 2.5} Z")
    return outline(" ".join(parts))


def draw_ribbon(f: Figure, x: float, y: float, size: float, colour: Colour | None = None) -> None:
    """A large bow with hanging ends."""
    colour = colour or f.ribbon
    end = outline("M-1,2 L-10,17 L-5.5,16.5 L-3,20 L2,3 Z")
    loop = outline("M0,0 C-6,-9 -15,-10 -17,-7 C-18.5,-2 -18,5 -16,8 C-12,9 -5,6 0,0 Z")
    fold = outline("M-4,0 L-12,-1")
    for mirror in (1, -1):
        for part in (end, loop):
            placed = moved(part, x, y, size)
            f.pen.shape(placed if mirror == 1 else _flip_about(placed, x), colour)
        line = moved(fold, x, y, size)
        f.pen.stroke(line if mirror == 1 else _flip_about(line, x), dark(colour, 0.4), 1)
    f.pen.shape(ellipse(x, y, 4 * size, 4 * size), dark(colour, 0.08))


def _flip_about(path: skia.Path, x: float) -> skia.Path:
    """The path mirrored about a vertical line."""
    flipped = skia.Path(path)
    flipped.transform(skia.Matrix.MakeAll(-1, 0, 2 * x, 0, 1, 0, 0, 0, 1))
    return flipped


def plain_skirt(f: Figure, colour: Colour) -> None:
    """A pleated skirt without a name."""
    if f.a.boy or f.a.framing in ("close-up", "portrait"):
        return
    f.pen.shape(outline(SKIRT), colour)
    for x in (-14, -5, 5, 14):
        f.pen.stroke(outline(f"M{64 + x * 0.7},140 L{64 + x * 1.65},162"), dark(colour, 0.35), 1)


def top_body(f: Figure, colour: Colour) -> skia.Path:
    """The covered upper body with its shade."""
    body = outline(COVERED)
    f.pen.shape(body, colour, gloss=True)
    f.pen.tone(outline("M76,100 C90,104 86,124 82,146 L74,146 Z"), dark(colour, 0.22), 200, body)
    return body


def draw_off_shoulder_band(f: Figure, colour: Colour) -> None:
    """A wide frill around the upper arms."""
    f.pen.shape(frill(38, 111, 90, 111, 7, 8), colour)
    f.pen.stroke(outline("M39,109.5 Q64,117.5 89,109.5"), dark(colour, 0.3), 0.9)
