"""Patterned backgrounds."""

from __future__ import annotations

from pretrain.painter.colours import Colour, dark, light
from pretrain.painter.paths import ellipse, heart, polygon, rectangle, star
from pretrain.painter.pen import Pen
from pretrain.painter.places import PLAIN


def contrast(colour: Colour) -> Colour:
    """A pattern colour that shows on a ground colour."""
    if sum(colour) < 300:
        return light(colour, 0.35)
    return light(colour, 0.58) if sum(colour) < 640 else dark(colour, 0.16)


def scattered(pen: Pen, step: int = 26, jitter: float = 6) -> list[tuple[float, float]]:
    """Points all over the picture, roughly on a grid."""
    shift = pen.rng.uniform(0, step)
    return [
        (x + shift - step / 2 + pen.rng.uniform(-jitter, jitter), y + pen.rng.uniform(-jitter, jitter))
        for x in range(0, 140, step)
        for y in range(6, 140, step)
    ]


def paint_stars(pen: Pen, ground: Colour) -> None:
    """A pattern of stars."""
    colour = (
        (255, 222, 92) if ground not in (PLAIN["yellow background"], PLAIN["orange background"]) else (255, 255, 250)
    )
    for x, y in scattered(pen):
        pen.shape(star(x, y, pen.rng.uniform(4, 7.5), turn=pen.rng.uniform(-110, -70)), colour, pen.colourless)


def paint_hearts(pen: Pen, ground: Colour) -> None:
    """A pattern of hearts."""
    colour = (242, 92, 124) if ground != PLAIN["red background"] else (255, 220, 226)
    for x, y in scattered(pen):
        pen.shape(heart(x, y, pen.rng.uniform(3.6, 6)), colour, pen.colourless)


def paint_dots(pen: Pen, ground: Colour) -> None:
    """A pattern of dots."""
    start, r = pen.rng.uniform(0, 16), pen.rng.uniform(3.2, 5)
    for i in range(-1, 9):
        for j in range(-1, 10):
            pen.shape(ellipse(i * 18 + start + (j % 2) * 9, j * 15 + start, r, r), contrast(ground), pen.colourless)


def paint_stripes(pen: Pen, ground: Colour) -> None:
    """A pattern of stripes."""
    lean, width = pen.rng.choice([-30, 0, 30]), pen.rng.choice([14, 20])
    for i in range(-4, 14):
        x = i * width
        points: list[tuple[float, float]] = [(x, -5), (x + width / 2, -5), (x + width / 2 + lean, 133), (x + lean, 133)]
        pen.shape(polygon(points), contrast(ground), pen.colourless)


def paint_checks(pen: Pen, ground: Colour) -> None:
    """A pattern of checks."""
    step = pen.rng.choice([12, 16, 20])
    for i in range(12):
        for j in range(12):
            if (i + j) % 2:
                box = rectangle(i * step, j * step, i * step + step, j * step + step)
                pen.shape(box, contrast(ground), pen.colourless)


def paint_gradient(pen: Pen, ground: Colour) -> None:
    """A gradient from light to dark."""
    pen.gradient(light(ground, 0.45), dark(ground, 0.22))


def paint_sparkles(pen: Pen, ground: Colour) -> None:
    """A pattern of sparkles."""
    colour = (255, 255, 255) if sum(ground) < 700 else (255, 206, 90)
    for x, y in scattered(pen, 30, 9):
        draw_sparkle(pen, x, y, pen.rng.uniform(4, 8), colour)


def draw_sparkle(pen: Pen, x: float, y: float, r: float, colour: Colour) -> None:
    """A four-pointed gleam."""
    k = r * 0.16
    pen.shape(
        polygon(
            [
                (x, y - r),
                (x + k, y - k),
                (x + r * 0.75, y),
                (x + k, y + k),
                (x, y + r),
                (x - k, y + k),
                (x - r * 0.75, y),
                (x - k, y - k),
            ]
        ),
        colour,
        pen.colourless,
    )


PATTERN_PAINTERS = {
    "starry background": paint_stars,
    "heart background": paint_hearts,
    "polka dot background": paint_dots,
    "striped background": paint_stripes,
    "checkered background": paint_checks,
    "gradient background": paint_gradient,
    "sparkle background": paint_sparkles,
}
