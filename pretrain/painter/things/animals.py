"""Animals."""

from __future__ import annotations

from pretrain.painter.colours import Colour, dark, light
from pretrain.painter.paths import ellipse, intersection, mirrored, outline
from pretrain.painter.pen import Pen
from pretrain.painter.things.parts import WHITE, draw_cute_face, ink_on


def paint_bird(pen: Pen, colour: Colour) -> None:
    """A thing: bird."""
    for x in (56, 70):
        pen.stroke(outline(f"M{x},102 L{x},114 M{x - 6},117 L{x},113 L{x + 5},117"), (226, 150, 50), 2.6)
    pen.shape(outline("M90,84 L124,70 L120,84 L124,96 Z"), dark(colour))
    body = outline("M24,66 C22,40 44,28 64,30 C90,34 106,58 102,80 C98,100 76,108 58,104 C36,100 26,86 24,66 Z")
    pen.shape(body, colour, gloss=True)
    pen.shape(intersection(body, ellipse(50, 92, 28, 22)), light(colour, 0.55), line=False)
    pen.shape(outline("M64,64 C82,56 104,66 102,86 C86,94 68,86 64,64 Z"), dark(colour, 0.2))
    pen.shape(outline("M25,62 L8,68 L27,75 Z"), (248, 172, 60))
    pen.fill(ellipse(44, 56, 4.8, 5.8), ink_on(colour))
    pen.fill(ellipse(42.6, 53.6, 1.7, 2), WHITE)
    pen.fill(ellipse(48, 68, 5, 3), (250, 110, 130), 120, blur=1)


def paint_penguin(pen: Pen, colour: Colour) -> None:
    """A thing: penguin."""
    for x in (50, 78):
        pen.shape(ellipse(x, 116, 11, 5), (248, 172, 60))
    for path in (outline("M30,60 C14,72 12,92 18,100 C28,98 34,84 36,72 Z"),):
        pen.shape(path, dark(colour, 0.15))
        pen.shape(mirrored(path), dark(colour, 0.15))
    pen.shape(
        outline("M64,14 C92,14 102,44 102,74 C102,100 88,116 64,116 C40,116 26,100 26,74 C26,44 36,14 64,14 Z"),
        colour,
        gloss=True,
    )
    pen.shape(
        outline("M64,44 C78,32 92,44 90,72 C92,96 80,110 64,110 C48,110 36,96 38,72 C36,44 50,32 64,44 Z"),
        (252, 250, 246),
        line=pen.colourless,
    )
    draw_cute_face(pen, 56, 14)
    pen.shape(outline("M57,62 Q64,58 71,62 Q64,72 57,62 Z"), (248, 172, 60))


def paint_whale(pen: Pen, colour: Colour) -> None:
    """A thing: whale."""
    for x, bend in ((52, -14), (52, 12)):
        pen.stroke(outline(f"M{x},34 Q{x},18 {x + bend},18"), (130, 200, 250), 3)
    pen.shape(
        outline("M92,66 C104,60 104,46 98,38 C110,38 114,46 114,50 C118,44 126,44 130,50 C122,54 122,74 104,88 Z"),
        colour,
    )
    body = outline("M10,72 C10,48 32,36 56,36 C82,36 96,52 108,64 C106,92 84,108 54,108 C28,108 10,96 10,72 Z")
    pen.shape(body, colour, gloss=True)
    belly = intersection(body, outline("M4,84 Q50,100 112,76 L112,120 L4,120 Z"))
    pen.shape(belly, light(colour, 0.6) if sum(colour) < 680 else (200, 214, 236), line=False)
    pen.fill(ellipse(32, 72, 4, 5), ink_on(colour))
    pen.fill(ellipse(31, 70, 1.4, 1.7), WHITE)
    pen.fill(ellipse(40, 82, 5, 3), (250, 110, 130), 130, blur=1)
    pen.shape(outline("M60,92 C64,104 76,110 84,106 C82,96 74,90 66,86 Z"), dark(colour, 0.2))


def paint_fish(pen: Pen, colour: Colour) -> None:
    """A thing: fish."""
    pen.shape(
        outline("M88,64 C100,48 112,40 122,40 C116,54 116,74 122,90 C112,90 100,80 88,64 Z"),
        dark(colour, 0.2),
    )
    pen.shape(outline("M46,40 C56,22 74,20 84,26 L80,46 Z"), dark(colour, 0.2))
    body = outline("M8,66 C20,36 66,28 98,64 C68,102 22,98 8,66 Z")
    pen.shape(body, colour, gloss=True)
    pen.tone(outline("M8,72 C34,92 70,92 98,66 L98,104 L8,104 Z"), light(colour, 0.5), 200, body)
    for x in (60, 72, 84):
        pen.stroke(outline(f"M{x},54 Q{x + 6},64 {x},75"), dark(colour, 0.35), 1.8)
    pen.shape(ellipse(32, 60, 6.4, 7), WHITE)
    pen.fill(ellipse(31, 60.5, 3.6, 4.4), (34, 26, 40))
    pen.fill(ellipse(30, 58.5, 1.3, 1.6), WHITE)
    pen.stroke(outline("M12,74 Q17,78 22,74"), dark(colour, 0.5), 1.8)


def paint_butterfly(pen: Pen, colour: Colour) -> None:
    """A thing: butterfly."""
    upper = outline("M62,62 C50,30 22,16 12,30 C4,46 22,68 62,70 Z")
    lower = outline("M62,68 C40,68 22,80 26,98 C32,112 54,106 63,78 Z")
    for path, tone in ((lower, light(colour, 0.25)), (upper, colour)):
        pen.shape(path, tone, gloss=True)
        pen.shape(mirrored(path), tone, gloss=True)
    spot = light(colour, 0.6) if sum(colour) < 640 else (246, 150, 170)
    for x, y, r in ((28, 42, 7), (42, 52, 4.5), (40, 90, 5.5)):
        pen.shape(ellipse(x, y, r, r * 0.9), spot, line=False)
        pen.shape(ellipse(128 - x, y, r, r * 0.9), spot, line=False)
    pen.stroke(outline("M62,46 Q56,30 48,26"), (70, 50, 60), 1.6)
    pen.stroke(outline("M66,46 Q72,30 80,26"), (70, 50, 60), 1.6)
    pen.shape(ellipse(64, 70, 4.4, 26), (86, 62, 66))
