"""The mouths."""

from __future__ import annotations

from pretrain.painter.colours import Colour
from pretrain.painter.figure.shape import WHITE, Figure
from pretrain.painter.paths import ellipse, intersection, outline

MOUTH_LINE: Colour = (122, 46, 56)


def mouth_smile(f: Figure, x: float, y: float) -> None:
    """The mouth: smile."""
    f.pen.stroke(outline(f"M{x - 5.6},{y - 1} Q{x},{y + 5} {x + 5.6},{y - 1}"), MOUTH_LINE, 1.5)


def mouth_open(f: Figure, x: float, y: float) -> None:
    """The mouth: open."""
    y -= 3
    mouth = outline(
        f"M{x - 6.6},{y} Q{x},{y + 2} {x + 6.6},{y} "
        f"Q{x + 5.8},{y + 8.8} {x},{y + 8.8} Q{x - 5.8},{y + 8.8} {x - 6.6},{y} Z"
    )
    f.pen.shape(mouth, (176, 46, 62), width=1.1)
    f.pen.shape(intersection(mouth, ellipse(x, y + 9, 4, 3.4)), (246, 124, 136), line=False)
    if f.a.upper_teeth:
        band = outline(
            f"M{x - 6.6},{y} Q{x},{y + 2} {x + 6.6},{y} L{x + 6},{y + 2.8} Q{x},{y + 4.8} {x - 6},{y + 2.8} Z"
        )
        f.pen.shape(intersection(mouth, band), WHITE, line=f.pen.colourless)


def mouth_frown(f: Figure, x: float, y: float) -> None:
    """The mouth: frown."""
    f.pen.stroke(outline(f"M{x - 5},{y + 3} Q{x},{y - 2.6} {x + 5},{y + 3}"), MOUTH_LINE, 1.6)


def mouth_closed(f: Figure, x: float, y: float) -> None:
    """The mouth: closed."""
    f.pen.stroke(outline(f"M{x - 3.4},{y + 0.6} L{x + 3.4},{y + 0.6}"), MOUTH_LINE, 1.5)


def mouth_surprised(f: Figure, x: float, y: float) -> None:
    """The mouth: surprised."""
    f.pen.shape(ellipse(x, y + 0.6, 2.9, 3.8), (176, 46, 62), width=1.1)


def mouth_wavy(f: Figure, x: float, y: float) -> None:
    """The mouth: wavy."""
    f.pen.stroke(
        outline(f"M{x - 6.4},{y - 1} Q{x - 3.2},{y + 4.4} {x},{y - 0.6} Q{x + 3.2},{y + 4.4} {x + 6.4},{y - 1}"),
        MOUTH_LINE,
        1.5,
    )


def mouth_tongue(f: Figure, x: float, y: float) -> None:
    """The mouth: tongue."""
    f.pen.shape(
        outline(
            f"M{x - 1.6},{y + 0.6} L{x + 5},{y + 0.4} Q{x + 5.4},{y + 6.6} {x + 1.8},"
            f"{y + 6.6} Q{x - 1.8},{y + 6.6} {x - 1.6},{y + 0.6} Z"
        ),
        (246, 112, 134),
        width=1,
    )
    f.pen.stroke(outline(f"M{x - 5.6},{y - 1} Q{x},{y + 2.6} {x + 5.6},{y - 1}"), MOUTH_LINE, 1.5)


MOUTH_PAINTERS = {
    "smile": mouth_smile,
    "open mouth": mouth_open,
    "frown": mouth_frown,
    "closed mouth": mouth_closed,
    "surprised": mouth_surprised,
    "wavy mouth": mouth_wavy,
    "tongue out": mouth_tongue,
}
