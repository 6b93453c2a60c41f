"""Things that people make."""

from __future__ import annotations

from pretrain.painter.colours import Colour, dark, light
from pretrain.painter.paths import ellipse, mirrored, outline, rectangle, union
from pretrain.painter.pen import Pen
from pretrain.painter.things.parts import CREAM, GLASS, GOLD, WHITE, WOOD, draw_cute_face, ink_on


def paint_house(pen: Pen, colour: Colour) -> None:
    """A thing: house."""
    pen.shape(rectangle(86, 24, 98, 54), (178, 104, 90))
    pen.shape(rectangle(28, 60, 100, 116), CREAM)
    pen.shape(outline("M10,66 L64,18 L118,66 L106,68 L64,34 L22,68 Z"), dark(colour, 0.15))
    pen.shape(outline("M22,67 L64,32 L106,67 Z"), colour)
    pen.shape(outline("M54,116 L54,90 Q64,78 74,90 L74,116 Z"), WOOD)
    pen.shape(ellipse(70, 102, 1.5, 1.5), GOLD, False)
    for x in (34, 80):
        pen.shape(rectangle(x, 76, x + 14, 90), GLASS)
        pen.stroke(outline(f"M{x + 7},76 L{x + 7},90 M{x},83 L{x + 14},83"), WHITE, 1.4)
    pen.shape(ellipse(64, 52, 6, 6), GLASS)


def paint_cupcake(pen: Pen, colour: Colour) -> None:
    """A thing: cupcake."""
    pen.shape(outline("M28,70 L100,70 L90,117 Q64,121 38,117 Z"), (226, 172, 112))
    for x in (46, 64, 82):
        pen.stroke(outline(f"M{x},76 L{64 + (x - 64) * 0.72},115"), (176, 120, 70), 2)
    cream = union(ellipse(64, 64, 46, 15), ellipse(64, 48, 35, 14), ellipse(64, 34, 22, 12))
    pen.shape(cream, colour, gloss=True)
    for y, w in ((54, 36), (41, 25)):
        pen.stroke(outline(f"M{64 - w},{y} Q64,{y + 12} {64 + w},{y - 2}"), dark(colour, 0.22), 1.6)
    pen.shape(ellipse(64, 20, 8, 8), (218, 46, 64))
    pen.stroke(outline("M65,13 Q68,6 74,5"), (110, 80, 50), 1.6)


def paint_ice_cream(pen: Pen, colour: Colour) -> None:
    """A thing: ice cream."""
    cone = outline("M38,66 L90,66 L64,126 Z")
    pen.shape(cone, (232, 180, 112))
    for k in range(-2, 4):
        for end in (
            outline(f"M{44 + k * 12},62 L{74 + k * 12},122"),
            outline(f"M{84 - k * 12},62 L{54 - k * 12},122"),
        ):
            pen.canvas.save()
            pen.canvas.clipPath(cone, True)
            pen.stroke(end, (196, 136, 76), 1.2)
            pen.canvas.restore()
    pen.shape(
        union(ellipse(64, 42, 31, 29), ellipse(44, 64, 9, 7), ellipse(64, 67, 12, 8), ellipse(84, 64, 9, 7)),
        colour,
        gloss=True,
    )
    draw_cute_face(pen, 46, 11, 1.0, ink_on(colour))
    pen.shape(ellipse(64, 12, 6.5, 6.5), (218, 46, 64))


def paint_umbrella(pen: Pen, colour: Colour) -> None:
    """A thing: umbrella."""
    pen.stroke(outline("M64,30 L64,108 Q64,120 54,118 Q48,116 49,110"), WOOD, 4)
    pen.shape(
        outline(
            "M10,70 C12,34 36,18 64,18 C92,18 116,34 118,70 C108,62 98,62 91,70 C82,62 74,62 64,70 "
            "C54,62 46,62 37,70 C30,62 20,62 10,70 Z"
        ),
        colour,
        gloss=True,
    )
    pen.stroke(outline("M64,18 Q42,36 37,69"), dark(colour, 0.3), 1.6)
    pen.stroke(outline("M64,18 Q86,36 91,69"), dark(colour, 0.3), 1.6)
    pen.stroke(outline("M64,18 L64,10"), WOOD, 3)


def paint_balloon(pen: Pen, colour: Colour) -> None:
    """A thing: balloon."""
    pen.stroke(outline("M64,96 Q54,110 64,128"), (120, 110, 120), 1.6)
    pen.shape(outline("M58,98 L70,98 L64,88 Z"), dark(colour))
    pen.shape(
        outline("M64,93 C36,84 26,62 30,40 C34,18 50,9 64,9 C78,9 94,18 98,40 C102,62 92,84 64,93 Z"),
        colour,
        gloss=True,
    )
    pen.tone(ellipse(46, 34, 6, 11), light(colour, 0.7), 230)


def paint_car(pen: Pen, colour: Colour) -> None:
    """A thing: car."""
    pen.shape(outline("M32,64 C38,40 46,34 56,34 L80,34 C92,34 98,46 104,64 Z"), light(colour, 0.15))
    pen.shape(outline("M43,61 C47,46 50,41 57,41 L63,41 L63,61 Z"), GLASS)
    pen.shape(outline("M68,41 L79,41 C85,41 89,50 92,61 L68,61 Z"), GLASS)
    pen.shape(
        outline("M8,70 C10,62 20,61 34,61 L104,61 C118,63 122,74 121,94 L8,94 C6,86 6,76 8,70 Z"),
        colour,
        gloss=True,
    )
    pen.stroke(outline("M66,64 L66,90 M71,72 L77,72"), dark(colour, 0.35), 1.4)
    pen.shape(ellipse(13, 76, 4, 5), (255, 240, 150))
    for x in (34, 94):
        pen.shape(ellipse(x, 95, 13.5, 13.5), (50, 48, 58))
        pen.shape(ellipse(x, 95, 6, 6), (206, 208, 216))


def paint_cup(pen: Pen, colour: Colour) -> None:
    """A thing: cup."""
    pen.stroke(outline("M92,54 C118,48 118,90 87,90"), dark(colour, 0.15), 7)
    pen.shape(outline("M26,42 L96,42 C96,82 92,104 80,112 L42,112 C30,104 26,82 26,42 Z"), colour, gloss=True)
    pen.shape(ellipse(61, 42, 35, 8.5), light(colour, 0.3))
    pen.shape(ellipse(61, 43, 29, 6), (124, 80, 52))
    for x in (50, 68):
        pen.stroke(outline(f"M{x},30 Q{x - 7},22 {x},12"), (236, 236, 244), 2.6)
    draw_cute_face(pen, 74, 12, 1.0, ink_on(colour))


def paint_ribbon(pen: Pen, colour: Colour) -> None:
    """A thing: ribbon."""
    end = outline("M60,66 L30,116 L46,110 L54,122 L68,70 Z")
    loop = outline("M64,60 C46,30 20,24 12,34 C6,50 8,74 16,86 C30,88 50,78 64,60 Z")
    for path in (end, mirrored(end), loop, mirrored(loop)):
        pen.shape(path, colour, gloss=True)
    for path in (outline("M52,58 Q38,54 24,58"), outline("M76,58 Q90,54 104,58")):
        pen.stroke(path, dark(colour, 0.35), 1.8)
    pen.shape(ellipse(64, 60, 11, 12), dark(colour, 0.1))


def paint_microphone(pen: Pen, colour: Colour) -> None:
    """A thing: microphone."""
    pen.shape(outline("M50,66 L78,66 L70,122 Q64,126 58,122 Z"), colour, gloss=True)
    pen.shape(rectangle(60, 80, 68, 90), light(colour, 0.5))
    pen.shape(ellipse(64, 40, 28, 30), (206, 210, 222), gloss=True)
    for k in (-14, 0, 14):
        pen.stroke(outline(f"M{64 + k},14 Q{64 + k * 1.5},40 {64 + k},66"), (130, 134, 152), 1.3)
        pen.stroke(outline(f"M38,{40 + k} Q64,{46 + k} 90,{40 + k}"), (130, 134, 152), 1.3)
    pen.shape(outline("M36,58 Q64,74 92,58 L90,67 Q64,82 38,67 Z"), dark(colour, 0.2))
