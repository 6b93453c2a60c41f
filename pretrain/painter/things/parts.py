"""What things share: colours of materials, and faces."""

from __future__ import annotations

from pretrain.painter.colours import Colour
from pretrain.painter.paths import ellipse, outline
from pretrain.painter.pen import Pen

LEAF: Colour = (84, 164, 88)


WOOD: Colour = (134, 90, 58)


GOLD: Colour = (250, 210, 84)


WHITE: Colour = (255, 255, 255)


GLASS: Colour = (164, 216, 246)


CREAM: Colour = (250, 238, 216)


COLOURS: dict[str, Colour] = {
    "red": (214, 58, 56),
    "blue": (70, 112, 212),
    "green": (80, 168, 96),
    "yellow": (246, 210, 74),
    "orange": (240, 140, 60),
    "purple": (146, 98, 204),
    "pink": (246, 150, 186),
    "white": (244, 244, 248),
    "black": (52, 50, 62),
    "brown": (134, 88, 56),
    "grey": (150, 152, 162),
    "aqua": (100, 214, 214),
}


def draw_cute_face(pen: Pen, y: float, gap: float, size: float = 1.0, ink: Colour = (40, 28, 44)) -> None:
    """Two shining eyes, a small smile and rosy cheeks."""
    for side in (-1, 1):
        x = 64 + side * gap
        pen.fill(ellipse(x, y, 3.4 * size, 4.4 * size), ink)
        pen.fill(ellipse(x - 1.1, y - 1.5, 1.3 * size, 1.5 * size), WHITE)
        pen.fill(ellipse(x + side * 6 * size, y + 7 * size, 3.6 * size, 2 * size), (250, 110, 130), 130, blur=0.8)
    pen.stroke(
        outline(f"M{64 - 4 * size},{y + 5 * size} Q64,{y + 10 * size} {64 + 4 * size},{y + 5 * size}"),
        ink,
        1.6,
    )


def ink_on(colour: Colour) -> Colour:
    """Eye colour that shows on a body colour."""
    return (40, 28, 44) if sum(colour) > 260 else (250, 240, 200)
