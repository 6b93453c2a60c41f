"""The eyes, open, closed or winking."""

from __future__ import annotations

import skia

from pretrain.painter.colours import Colour, dark, light, mix
from pretrain.painter.figure.shape import LASH, WHITE, Figure
from pretrain.painter.paths import ellipse, outline
from pretrain.painter.words import EYE_COLOURS


def draw_eye(f: Figure, side: int) -> None:
    """One eye; side is -1 for the left one in the picture."""
    s, a, pen = f.s, f.a, f.pen
    x, y, rx, ry = s.x(side * s.eye_gap), s.eye_y, s.eye_rx, s.eye_ry
    if a.eyes == "closed" or (a.eyes == "wink" and side == 1):
        happy = a.mouth in ("smile", "open mouth", "wavy mouth", "tongue out")
        bend = -6.5 if happy else 6
        level = y + (3 if happy else 1)
        pen.stroke(outline(f"M{x - rx},{level} Q{x},{level + bend} {x + rx},{level}"), LASH, 2)
        end = x + side * rx
        pen.stroke(outline(f"M{end},{level} L{end + side * 2},{level + (1.4 if not happy else -1.2)}"), LASH, 1.3)
        return
    colour = EYE_COLOURS[a.second_eye_colour if a.second_eye_colour and side == 1 else a.eye_colour]
    lid = y - ry * (1.0 if a.gaze != "down" else 0.12)
    white = ellipse(x, y, rx, ry)
    pen.canvas.save()
    pen.canvas.clipRect(skia.Rect(x - 20, lid, x + 20, y + 20))
    pen.shape(white, WHITE, line=pen.colourless)
    draw_iris(f, x, y, colour, white)
    pen.canvas.restore()
    draw_lashes(f, side, x, y, lid)


def draw_iris(f: Figure, x: float, y: float, colour: Colour, white: skia.Path) -> None:
    """Iris, pupil and highlights, clipped to the white of the eye."""
    s, a, pen = f.s, f.a, f.pen
    side_look = (1 if s.turn >= 0 else -1) * s.eye_rx * 0.42
    gx = side_look if a.gaze == "side" else s.turn * 0.7
    gy = s.eye_ry * 0.28 if a.gaze == "down" else 0.5
    ix, iy, rx, ry = x + gx, y + gy, s.eye_rx * 0.80, s.eye_ry * 0.88
    if a.mouth == "surprised":
        rx, ry = rx * 0.82, ry * 0.82
    iris = ellipse(ix, iy, rx, ry)
    pen.canvas.save()
    pen.canvas.clipPath(white, True)
    if pen.style in ("anime style", "pastel style", "comic style", "watercolor style"):
        shader = skia.GradientShader.MakeLinear(
            points=[(0, iy - ry), (0, iy + ry)],
            colors=[skia.Color(*pen.tint(c)) for c in (dark(colour, 0.62), colour, light(colour, 0.5))],
        )
        pen.canvas.drawPath(iris, skia.Paint(AntiAlias=True, Shader=shader))
        pen.stroke(iris, dark(colour, 0.55), 0.8)
    else:
        pen.shape(iris, colour)
    if pen.style == "sketch style":
        pen.tone(iris, (60, 60, 60))
    if pen.style != "neon style":
        pen.fill(
            ellipse(ix, iy, rx * 0.42, ry * 0.44),
            dark(colour, 0.82) if pen.style != "sketch style" else (58, 54, 60),
        )
    pen.canvas.restore()
    pen.fill(ellipse(ix - rx * 0.36, iy - ry * 0.42, rx * 0.34, ry * 0.28), WHITE)
    pen.fill(ellipse(ix + rx * 0.40, iy + ry * 0.42, rx * 0.20, ry * 0.16), WHITE, 230)


def draw_lashes(f: Figure, side: int, x: float, y: float, lid: float) -> None:
    """The dark upper lid line with its wing, the fold and the short lower line."""
    s, pen = f.s, f.pen
    rx, ry = s.eye_rx, s.eye_ry
    thick = 2.5 if not f.a.boy else 1.8
    inner, outer = x - side * rx * 0.98, x + side * rx * 1.08
    if f.a.gaze == "down":
        inner_y, outer_y, arch = lid + 0.4, lid + 0.8 - s.slant * 0.5, lid - 2.6
    else:
        inner_y, outer_y, arch = y - ry * 0.42, y - ry * 0.36 - s.slant, y - ry * 1.45
    wing = 0 if f.a.boy else 2.0
    lash = outline(
        f"M{inner},{inner_y} Q{x},{arch + thick * 0.5} {outer},{outer_y + thick * 0.5} "
        f"L{outer + side * wing},{outer_y - 1.2} Q{x + side * rx * 0.35},{arch - thick * 0.9} "
        f"{inner},{inner_y} Z"
    )
    if pen.colourless:
        pen.stroke(lash, LASH, 1.2)
    else:
        pen.fill(lash, pen.tint(mix(LASH, dark(f.hair, 0.6), 0.35)))
    pen.stroke(
        outline(f"M{x - rx * 0.5},{y + ry * 0.97} Q{x},{y + ry * 1.08} {x + rx * 0.5},{y + ry * 0.97}"),
        (96, 60, 70),
        0.8,
    )
