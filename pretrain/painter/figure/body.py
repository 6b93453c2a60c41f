"""Legs, arms, hands, neck, and the clothes upon them."""

from __future__ import annotations

import skia

from pretrain.painter.attributes import Portrait
from pretrain.painter.colours import Colour, dark
from pretrain.painter.figure.clothes import CLOTHES_PAINTERS
from pretrain.painter.figure.garments import draw_ribbon
from pretrain.painter.figure.shape import GOLD, WHITE, Figure
from pretrain.painter.paths import ellipse, heart, limb, outline, rectangle
from pretrain.painter.pen import Pen

MIRROR = skia.Matrix.MakeAll(-1, 0, 128, 0, 1, 0, 0, 0, 1)


def draw_body(f: Figure) -> None:
    """Legs, arms, neck and clothes."""
    draw_legs(f)
    draw_hanging_arms(f)
    pen = f.pen
    pen.shape(outline("M57,84 L71,84 L71,104 L57,104 Z"), f.skin, line=False)
    CLOTHES_PAINTERS[f.a.clothes](f)
    neck = outline("M57.5,82 L58,97 Q64,101 70,97 L70.5,82 Z")
    if f.a.clothes not in ("kimono",):
        pen.shape(neck, f.skin, line=pen.style == "sketch style")
    pen.tone(outline("M57.5,88 L70.5,88 L70,95 Q64,98 58,94 Z"), dark(f.skin, 0.24))
    if f.a.choker:
        pen.shape(outline("M57.2,97.5 Q64,100.5 70.8,97.5 L70.8,101 Q64,104.4 57.2,101 Z"), (44, 36, 52))
        pen.shape(heart(64, 104.6, 1.9), GOLD, width=0.6)
    if f.a.ribbon == "chest":
        draw_ribbon(f, 64, 111, 1.0)


def draw_legs(f: Figure) -> None:
    """Thighs, seen in the cowboy shot only."""
    if f.a.framing != "cowboy shot":
        return
    trousers = f.a.boy or f.a.clothes == "overalls"
    colour = (f.cloth if f.a.clothes == "overalls" else (72, 76, 100)) if trousers else f.skin
    for side in (-1, 1):
        f.pen.shape(limb(64 + side * 9.8, 146, 64 + side * 10.8, 200, 9.4, 7.8), colour)
    if f.a.thigh_strap:
        f.pen.shape(outline("M45,171.5 Q54,175.5 63.8,171.5 L63.6,176.5 Q54,180.5 45.2,176.5 Z"), (44, 36, 52))
        f.pen.shape(rectangle(51.6, 172.4, 56.6, 179.6), GOLD, width=0.8)


def sleeve_colours(f: Figure) -> tuple[Colour, Colour]:
    """Colours of the upper and the lower arm."""
    clothes = f.a.clothes
    if clothes in ("t-shirt", "idol costume", "maid outfit", "overalls", "sailor collar"):
        upper = {"overalls": (250, 238, 214), "sailor collar": WHITE}.get(clothes, f.cloth)
        if f.a.off_shoulders:
            upper = f.skin
        return upper, f.skin
    if clothes in ("dress", "off shoulders"):
        return f.skin, f.skin
    return f.cloth, f.cloth


def draw_hanging_arms(f: Figure) -> None:
    """The arms that are not raised."""
    raised = raised_sides(f)
    for side in (-1, 1):
        if side in raised:
            continue
        upper, lower = sleeve_colours(f)
        shoulder, elbow, hand = (64 + side * 19, 105), (64 + side * 26, 125), (64 + side * 27, 147)
        f.pen.shape(ellipse(hand[0], hand[1] + 2, 4.4, 5), f.glove if f.a.gloves else f.skin)
        f.pen.shape(limb(*elbow, *hand, 4.8, 4.0), f.glove if f.a.gloves and lower == f.skin else lower)
        f.pen.shape(limb(*shoulder, *elbow, 6, 5.2), upper)


def raised_sides(f: Figure) -> list[int]:
    """The sides whose arm is drawn later, in front."""
    return ([1] if f.a.microphone else []) + ([waving_side(f.a)] if f.a.hand_up else [])


def waving_side(a: Portrait) -> int:
    """The hand waves on the left, but not in front of a single braid if the other hand is free."""
    return 1 if a.hair_style == "single braid" and not a.microphone else -1


def draw_raised_arms(f: Figure) -> None:
    """A waving hand beside the face and a hand with a microphone."""
    pen = f.pen
    upper, lower = sleeve_colours(f)
    hand_colour = f.glove if f.a.gloves else f.skin
    forearm = hand_colour if f.a.gloves and lower == f.skin else lower
    if f.a.hand_up:
        x = 64 - f.s.hair - 1
        pen.canvas.save()
        if waving_side(f.a) == 1:
            pen.canvas.concat(MIRROR)
        pen.shape(limb(45, 106, x + 1, 122, 6, 5.2), upper)
        pen.shape(limb(x + 1, 122, x - 2, 99, 5, 4.2), forearm)
        draw_waving_hand(pen, x - 2.5, 91, hand_colour, f.a.gloves)
        pen.canvas.restore()
    if f.a.microphone:
        pen.shape(limb(83, 106, 95, 123, 6, 5.2), upper)
        pen.shape(limb(95, 123, 84, 104, 5, 4.2), forearm)
        pen.shape(limb(85, 111, 77.5, 93, 2.2, 2.4), (60, 56, 76))
        pen.shape(ellipse(75.5, 88.5, 5.2, 5.2), (206, 210, 224))
        pen.stroke(outline("M71.5,88 Q75.5,91.5 79.6,86.6"), (120, 124, 146), 0.9)
        pen.shape(ellipse(81.5, 101.5, 5.4, 5), hand_colour)
        pen.stroke(outline("M77.6,100 L81,102.4 M77.6,103 L80.6,105"), dark(hand_colour, 0.4), 0.9)


def draw_waving_hand(pen: Pen, x: float, y: float, colour: Colour, glove: bool) -> None:
    """A simple open hand with a thumb."""
    palm = outline(
        f"M{x - 4.6},{y + 7} C{x - 7},{y + 1} {x - 6.6},{y - 7} {x - 4},{y - 8.6} "
        f"Q{x - 2.4},{y - 10.4} {x - 0.6},{y - 9} Q{x + 1.4},{y - 10.6} {x + 3},{y - 8.4} "
        f"C{x + 5.2},{y - 5} {x + 4.6},{y - 2} {x + 4.8},{y + 0.4} "
        f"Q{x + 8.4},{y - 3} {x + 9.4},{y - 0.6} Q{x + 8.4},{y + 5} {x + 4},{y + 7} Z"
    )
    pen.shape(palm, colour)
    for dx in (-1.6, 1.6):
        pen.stroke(outline(f"M{x + dx - 0.6},{y - 6.6} L{x + dx - 0.6},{y - 2.6}"), dark(colour, 0.42), 0.8)
    if glove:
        pen.shape(
            outline(f"M{x - 5.4},{y + 6} L{x + 5},{y + 6} L{x + 5},{y + 9.4} L{x - 5.4},{y + 9.4} Z"),
            GOLD,
            width=0.8,
        )
