"""The stage with its lights and its audience."""

from __future__ import annotations

import skia

from pretrain.painter.colours import Colour, light, mix
from pretrain.painter.paths import ellipse, outline, polygon, union
from pretrain.painter.pen import Pen
from pretrain.painter.places import LAMP_COLOURS


def paint_stage(pen: Pen) -> None:
    """A dark stage with curtains."""
    pen.gradient((22, 14, 58), (66, 34, 104))
    for side in (-1, 1):  # curtains
        for k in range(2):
            x = 64 + side * (66 - 9 * k)
            colour = mix((120, 24, 74), (70, 14, 70), k / 2)
            pen.shape(
                outline(
                    f"M{x - 8},-4 L{x + 8},-4 Q{x + 4},60 {x + side * 3 + 6},108 L{x + side * 3 - 6},108 "
                    f"Q{x - 4},60 {x - 8},-4 Z"
                ),
                colour,
            )
    pen.shape(ellipse(64, 126, 84, 24), (94, 58, 140))
    pen.stroke(outline("M-16,117 Q64,91 144,117"), (236, 170, 250), 1.5)


def paint_spotlights(pen: Pen) -> None:
    """Stage lights: spotlights."""
    for x in (8, 44, 84, 120):
        aim = 64 + (x - 64) * pen.rng.uniform(-0.5, 0.9)
        spread = pen.rng.uniform(9, 15)
        pen.glow(
            polygon([(x - 2, -4), (x + 2, -4), (aim + spread, 118), (aim - spread, 118)]),
            (255, 246, 206),
            92,
            2,
        )
        pen.glow(ellipse(x, 1, 4, 3), (255, 255, 240), 255, 1.2)


def paint_colorful_lights(pen: Pen) -> None:
    """Stage lights: colorful lights."""
    colours = pen.rng.sample(LAMP_COLOURS, 4)
    for k in range(11):
        x, y, r = pen.rng.uniform(0, 128), pen.rng.uniform(0, 100), pen.rng.uniform(4, 10)
        pen.glow(ellipse(x, y, r, r), colours[k % 4], 150, 1.2)
    for k, x in enumerate((2, 40, 88, 126)):
        aim = x + pen.rng.uniform(-34, 34)
        pen.glow(polygon([(x - 2, -4), (x + 2, -4), (aim + 13, 122), (aim - 13, 122)]), colours[k], 84, 3)


def paint_lasers(pen: Pen) -> None:
    """Stage lights: lasers."""
    colours = pen.rng.sample(LAMP_COLOURS[:4], 2)
    source = (pen.rng.choice([6, 122]), pen.rng.uniform(-4, 10))
    sources = [source, (128 - source[0], source[1])]
    for k, (x, y) in enumerate(sources):
        for _ in range(4):
            target = 64 + (64 - x) * pen.rng.uniform(-0.9, 1.3), pen.rng.uniform(70, 128)
            beam = outline(f"M{x},{y} L{target[0]},{target[1]}")
            draw_beam(pen, beam, colours[k])


def draw_beam(pen: Pen, line: skia.Path, colour: Colour) -> None:
    """One thin glowing laser beam."""
    if pen.style == "sketch style":
        pen.stroke(line, colour, 1)
        return
    for width, alpha, tone in ((3.6, 110, colour), (1.1, 255, light(colour, 0.35))):
        pen.canvas.drawPath(
            line,
            skia.Paint(
                AntiAlias=True,
                Style=skia.Paint.kStroke_Style,
                StrokeWidth=width,
                Color=skia.Color(*pen.tint(tone), alpha),
                BlendMode=skia.BlendMode.kScreen,
            ),
        )


def paint_particles(pen: Pen) -> None:
    """Stage lights: particles."""
    colours = [*pen.rng.sample(LAMP_COLOURS, 3), (255, 250, 220)]
    for k in range(30):
        x, y, r = pen.rng.uniform(0, 128), pen.rng.uniform(0, 124), pen.rng.choice([0.9, 1.2, 1.7])
        pen.glow(ellipse(x, y, r * 2.2, r * 2.2), colours[k % 4], 130, 1.2)
        pen.glow(ellipse(x, y, r * 0.8, r * 0.8), light(colours[k % 4], 0.6), 255, 0)


def paint_crowd(pen: Pen) -> None:
    """Rows of people seen from the stage."""
    for row, (y, colour) in enumerate(((96, (60, 40, 100)), (106, (42, 26, 78)), (118, (26, 14, 54)))):
        x = -4 + pen.rng.uniform(0, 6)
        while x < 134:
            r = 5.2 + row
            height = y + pen.rng.uniform(-2, 2)
            body = outline(
                f"M{x - r * 1.25},140 L{x - r * 1.25},{height + r * 1.5} Q{x},"
                f"{height + r * 0.3} {x + r * 1.25},{height + r * 1.5} L{x + r * 1.25},140 Z"
            )
            person = union(ellipse(x, height, r * 0.82, r * 0.92), body)
            pen.shape(person, colour, pen.colourless or pen.style == "comic style")
            if row == 0 and not pen.colourless:
                pen.stroke(
                    outline(
                        f"M{x - r * 0.7},{height - r * 0.5} Q{x},{height - r * 1.25} {x + r * 0.7},{height - r * 0.5}"
                    ),
                    (186, 130, 220),
                    0.9,
                )
            x += r * 2.3


def paint_glow_sticks(pen: Pen) -> None:
    """Stage lights: glow sticks."""
    colours = pen.rng.sample(LAMP_COLOURS[:5], 3)
    for k in range(13):
        x = (k + 0.5) * 10 + pen.rng.uniform(-3, 3)
        y = pen.rng.uniform(86, 112)
        lean = pen.rng.uniform(-4, 4)
        stick = outline(f"M{x},{y} L{x + lean},{y - 12}")
        colour = colours[k % 3]
        if not pen.colourless:
            pen.glow(ellipse(x + lean / 2, y - 6, 5, 9), colour, 130, 2.5)
        pen.stroke(stick, light(colour, 0.25), 2.6)
        if pen.style not in ("sketch style", "neon style"):
            pen.stroke(stick, (255, 255, 255), 0.9)


LIGHT_PAINTERS = {
    "spotlights": paint_spotlights,
    "colorful lights": paint_colorful_lights,
    "laser light": paint_lasers,
    "light particles": paint_particles,
    "crowd": paint_crowd,
    "glow sticks": paint_glow_sticks,
}
