"""The face: contour, cheeks, brows and glasses."""

from __future__ import annotations

import skia

from pretrain.painter.colours import dark
from pretrain.painter.figure.eyes import draw_eye
from pretrain.painter.figure.mouths import MOUTH_PAINTERS
from pretrain.painter.figure.shape import Figure, Shape
from pretrain.painter.paths import ellipse, outline, star


def face_outline(s: Shape) -> skia.Path:
    """The contour of the face."""
    w, chin, cx = s.face, s.chin, 64 + s.turn * 2.2
    inner = 0.40 - 0.12 * s.jaw
    return outline(
        f"M{64 - w},54 C{64 - w},70 {64 - w * (0.90 - 0.04 * s.jaw)},79 {cx - w * inner},{chin - 4.5} "
        f"Q{cx - w * 0.13},{chin} {cx},{chin} Q{cx + w * 0.13},{chin} "
        f"{cx + w * inner},{chin - 4.5} C{64 + w * (0.90 - 0.04 * s.jaw)},79 {64 + w},70 {64 + w},54 "
        f"C{64 + w},38 {64 + w * 0.6},28 64,28 C{64 - w * 0.6},28 {64 - w},38 {64 - w},54 Z"
    )


def draw_face(f: Figure) -> None:
    """Ears, face and everything in it."""
    pen, s = f.pen, f.s
    for side in (-1, 1):
        pen.shape(ellipse(64 + side * (s.face - 0.5), 68, 3.6, 5.4), f.skin)
    face = face_outline(s)
    pen.shape(face, f.skin)
    pen.tone(
        outline(f"M{64 - s.face},50 Q64,66 {64 + s.face},50 L{64 + s.face},40 L{64 - s.face},40 Z"),
        dark(f.skin, 0.15),
        255,
        face,
    )
    if f.a.blush:
        draw_blush(f)
    if f.a.freckles:
        draw_freckles(f)
    for side in (-1, 1):
        draw_eye(f, side)
    if f.a.cheek_star:
        pen.shape(star(s.x(18.5), s.eye_y + 10.6, 5.2), (250, 80, 150), width=0.8)
    if f.a.tears:
        draw_tears(f)
    pen.stroke(outline(f"M{s.x(-0.6)},{s.eye_y + 8.6} L{s.x(0.8)},{s.eye_y + 9.4}"), dark(f.skin, 0.5), 1)
    MOUTH_PAINTERS[f.a.mouth](f, s.x(0), s.chin - 8.2)
    if f.a.glasses:
        draw_glasses(f)


def draw_blush(f: Figure) -> None:
    """Rosy cheeks."""
    if f.pen.style == "sketch style":
        return
    for side in (-1, 1):
        x, y = f.s.x(side * 18.5), f.s.eye_y + 10.5
        f.pen.fill(ellipse(x, y, 6, 3.4), (246, 84, 104), 150 if f.pen.style != "neon style" else 105, blur=1.2)
        if f.pen.style == "anime style":
            for k in (-2.4, 0, 2.4):
                f.pen.stroke(outline(f"M{x + k + 0.7},{y - 1.4} L{x + k - 0.7},{y + 1.4}"), (232, 70, 90), 0.7)


def draw_freckles(f: Figure) -> None:
    """Small dots on the cheeks."""
    for side in (-1, 1):
        for dx, dy in ((-3, 0), (0, 1.8), (3, 0), (0, -1.6)):
            f.pen.shape(ellipse(f.s.x(side * 17.5) + dx, f.s.eye_y + 10.5 + dy, 0.9, 0.9), dark(f.skin, 0.45), False)


def draw_tears(f: Figure) -> None:
    """A drop below each eye."""
    for side in (-1, 1):
        x, y = f.s.x(side * (f.s.eye_gap + 4)), f.s.eye_y + f.s.eye_ry
        drop = outline(
            f"M{x},{y - 2} C{x + 3.4},{y + 4} {x + 2.8},{y + 7.4} {x},{y + 7.4} "
            f"C{x - 2.8},{y + 7.4} {x - 3.4},{y + 4} {x},{y - 2} Z"
        )
        f.pen.shape(drop, (150, 214, 255), width=0.8)


def draw_brows(f: Figure) -> None:
    """Eyebrows, drawn over the hair."""
    s = f.s
    for side in (-1, 1):
        x, y = s.x(side * s.eye_gap), s.eye_y - s.eye_ry - 3.4
        inner, outer = {None: (0, 0), "angry": (3, -2.6), "sad": (-3, 2.4)}[f.a.brows]
        bend = 2 if not f.a.brows else 0.6
        line = outline(
            f"M{x - side * 5.4},{y + inner} Q{x},{y + (inner + outer) / 2 - bend} {x + side * 5.6},{y + outer}"
        )
        width = (2.0 if f.a.brows else 1.2) + (0.7 if f.a.boy else 0)
        f.pen.stroke(line, dark(f.hair, 0.5), width)


def draw_glasses(f: Figure) -> None:
    """Round glasses or dark sunglasses."""
    s, pen = f.s, f.pen
    frame = (44, 40, 62)
    for side in (-1, 1):
        x, y = s.x(side * s.eye_gap), s.eye_y + 1
        if f.a.glasses == "glasses":
            pen.fill(ellipse(x, y, s.eye_rx + 3, s.eye_ry + 1.6), (220, 240, 255), 40)
            pen.stroke(ellipse(x, y, s.eye_rx + 3, s.eye_ry + 1.6), frame, 1.5)
        else:
            pen.shape(ellipse(x, y - 0.5, s.eye_rx + 3.4, s.eye_ry + 0.6), (34, 30, 46))
            pen.stroke(outline(f"M{x - 5},{y - 2} L{x - 1},{y - 5}"), (230, 230, 240), 1.3)
    gap = s.eye_gap - s.eye_rx - 3
    pen.stroke(outline(f"M{s.x(-gap)},{s.eye_y} Q{s.x(0)},{s.eye_y - 2.4} {s.x(gap)},{s.eye_y}"), frame, 1.5)
