"""Backgrounds that are places: sky, beach, forest, city, room and others."""

from __future__ import annotations

import math

import skia

from pretrain.painter.colours import Colour
from pretrain.painter.paths import crescent, ellipse, heart, outline, polygon, rectangle, star, union
from pretrain.painter.patterns import draw_sparkle
from pretrain.painter.pen import Pen


def draw_cloud(pen: Pen, x: float, y: float, r: float, colour: Colour = (255, 255, 255)) -> None:
    """A flat-bottomed cloud."""
    cloud = union(
        ellipse(x, y, r, r * 0.62),
        ellipse(x - r * 0.95, y + r * 0.25, r * 0.7, r * 0.4),
        ellipse(x + r * 0.95, y + r * 0.25, r * 0.75, r * 0.44),
    )
    pen.shape(cloud, colour, pen.style not in ("anime style", "pastel style"))


def draw_hill(pen: Pen, height: float, colour: Colour, line: bool = True) -> None:
    """A wavy ground line at about this height."""
    a, b = height + pen.rng.uniform(-4, 4), height + pen.rng.uniform(-4, 4)
    pen.shape(
        outline(f"M-10,{a} C24,{a - 9} 46,{b + 6} 72,{b} C98,{b - 7} 118,{a + 5} 140,{a} L140,140 L-10,140 Z"),
        colour,
        line,
    )


def paint_sky(pen: Pen) -> None:
    """A background: sky."""
    pen.gradient((92, 170, 246), (214, 238, 252))
    if pen.rng.random() < 0.5:
        x = pen.rng.choice([20, 108])
        pen.fill(ellipse(x, 18, 16, 16), (255, 250, 214), 120, blur=4) if not pen.colourless else None
        pen.shape(ellipse(x, 18, 9, 9), (255, 246, 190), pen.colourless)
    for k in range(6):
        x, y = (8, 64, 120)[k % 3], (24, 62)[k // 3]
        draw_cloud(pen, x + pen.rng.uniform(-14, 14), y + pen.rng.uniform(-14, 14), pen.rng.uniform(8, 15))


def paint_night(pen: Pen) -> None:
    """A night sky with moon and stars."""
    pen.gradient((16, 18, 62), (74, 62, 138))
    for _ in range(34):
        r = pen.rng.choice([0.6, 0.8, 1.2])
        pen.shape(ellipse(pen.rng.uniform(0, 128), pen.rng.uniform(0, 112), r, r), (255, 250, 220), False)
    for _ in range(3):
        draw_sparkle(pen, pen.rng.uniform(4, 124), pen.rng.uniform(4, 60), 3.5, (255, 255, 240))
    x = pen.rng.choice([18, 110])
    pen.glow(ellipse(x, 22, 15, 15), (255, 236, 160), 110, 5)
    moon = crescent(x, 22, 11) if pen.rng.random() < 0.5 else ellipse(x, 22, 10, 10)
    pen.shape(moon, (255, 240, 170))


def paint_sunset(pen: Pen) -> None:
    """A background: sunset."""
    pen.gradient((246, 104, 104), (255, 216, 130))
    x = pen.rng.choice([20, 106])
    pen.glow(ellipse(x, 80, 24, 24), (255, 220, 120), 150, 6)
    pen.shape(ellipse(x, 80, 14, 14), (255, 244, 170), pen.colourless)
    for _ in range(3):
        draw_cloud(pen, pen.rng.uniform(0, 128), pen.rng.uniform(10, 50), pen.rng.uniform(7, 11), (255, 186, 160))
    pen.shape(rectangle(-10, 92, 140, 140), (128, 74, 118))
    for k in range(4):
        w = 15 - 2 * k
        pen.shape(ellipse(x, 97 + 7 * k, w, 1.2), (255, 206, 140), False)


def paint_beach(pen: Pen) -> None:
    """A background: beach."""
    pen.gradient((112, 200, 250), (222, 244, 252))
    draw_cloud(pen, pen.rng.uniform(10, 118), pen.rng.uniform(10, 40), pen.rng.uniform(9, 14))
    pen.shape(rectangle(-10, 72, 140, 110), (48, 148, 216))
    for _ in range(5):
        x, y = pen.rng.uniform(0, 128), pen.rng.uniform(77, 94)
        pen.stroke(outline(f"M{x},{y} Q{x + 5},{y - 2} {x + 10},{y}"), (206, 236, 252), 1.2)
    pen.shape(outline("M-10,98 Q30,90 64,98 Q100,106 140,95 L140,140 L-10,140 Z"), (255, 255, 255), False)
    pen.shape(outline("M-10,101 Q30,93 64,101 Q100,109 140,98 L140,140 L-10,140 Z"), (246, 222, 164))
    if pen.rng.random() < 0.6:
        draw_palm(pen, pen.rng.choice([10, 118]))


def draw_palm(pen: Pen, x: float) -> None:
    """A palm tree on the beach."""
    pen.shape(outline(f"M{x - 3},110 Q{x + 3},70 {x - 1},38 L{x + 3},38 Q{x + 8},70 {x + 4},110 Z"), (146, 98, 62))
    for angle in (-165, -130, -50, -15, 20, 160):
        leaf = outline("M0,0 Q12,-9 27,2 Q12,-1 0,0 Z")
        placed = skia.Path(leaf)
        matrix = skia.Matrix()
        matrix.setTranslate(x + 1, 38)
        matrix.preRotate(angle)
        placed.transform(matrix)
        pen.shape(placed, (60, 154, 84))


def paint_forest(pen: Pen) -> None:
    """A background: forest."""
    pen.gradient((206, 236, 190), (132, 196, 132))
    for x in range(-6, 136, 18):
        top = pen.rng.uniform(14, 40)
        draw_fir(pen, x + pen.rng.uniform(-5, 5), top, (128, 188, 128), 0.8)
    for x in (-2, 20, 38, 92, 110, 130):
        top = pen.rng.uniform(20, 46)
        draw_fir(pen, x, top, (50, 128 + pen.rng.randrange(-16, 16), 74), 1.0)
    draw_hill(pen, 116, (96, 164, 84))


def draw_fir(pen: Pen, x: float, top: float, colour: Colour, size: float) -> None:
    """A fir tree of three layers."""
    pen.shape(rectangle(x - 3 * size, top + 50, x + 3 * size, 128), (116, 80, 54))
    for k in (2, 1, 0):
        y, half = top + 15 * k, (10 + 4 * k) * size
        pen.shape(polygon([(x, y - 6), (x + half, y + 26), (x - half, y + 26)]), colour)


def paint_blossoms(pen: Pen) -> None:
    """A background: blossoms."""
    pen.gradient((186, 220, 250), (255, 232, 240))
    pen.stroke(outline("M-6,30 Q30,8 70,10 Q100,12 134,-4"), (112, 72, 62), 4)
    pen.stroke(outline("M28,15 Q40,24 44,36"), (112, 72, 62), 2.2)
    pen.stroke(outline("M96,10 Q108,20 118,22"), (112, 72, 62), 2.2)
    for _ in range(20):
        draw_blossom(pen, pen.rng.uniform(0, 128), pen.rng.uniform(0, 36), pen.rng.uniform(3, 5))
    for _ in range(14):
        x, y = pen.rng.uniform(0, 128), pen.rng.uniform(36, 128)
        pen.shape(ellipse(x, y, 2.2, 1.3), (255, 160, 190), pen.colourless)


def draw_blossom(pen: Pen, x: float, y: float, r: float) -> None:
    """One cherry blossom."""
    pen.shape(star(x, y, r, 0.66, pen.rng.uniform(0, 72)), (255, 168, 196), pen.colourless)
    pen.shape(ellipse(x, y, r * 0.28, r * 0.28), (226, 84, 130), False)


def paint_snow(pen: Pen) -> None:
    """A background: snow."""
    pen.gradient((136, 164, 206), (220, 230, 244))
    for x in (4, 26, 102, 124):
        draw_fir(pen, x + pen.rng.uniform(-4, 4), pen.rng.uniform(44, 60), (206, 224, 236), 0.8)
    draw_hill(pen, 106, (248, 250, 255))
    for _ in range(42):
        r = pen.rng.uniform(1, 2.2)
        pen.shape(ellipse(pen.rng.uniform(0, 128), pen.rng.uniform(0, 128), r, r), (255, 255, 255), pen.colourless)


def paint_city(pen: Pen) -> None:
    """A background: city."""
    pen.gradient((146, 196, 240), (250, 236, 220))
    for layer, tones in enumerate((((176, 190, 216),), ((104, 118, 156), (140, 128, 160), (86, 104, 138)))):
        x = -6.0
        while x < 130:
            width, height = pen.rng.uniform(14, 22), pen.rng.uniform(36, 84) + (14 if layer == 0 else 0)
            pen.shape(rectangle(x, 128 - height, x + width, 130), pen.rng.choice(tones))
            if layer:
                draw_windows(pen, x, 128 - height, width)
            x += width + 1


def draw_windows(pen: Pen, left: float, top: float, width: float) -> None:
    """Lit windows of a house front."""
    y = top + 5
    while y < 122:
        for x in (left + 3, left + width / 2 + 1):
            if pen.rng.random() < 0.8:
                pen.shape(rectangle(x, y, x + 4, y + 4), (255, 232, 150), False)
        y += 9


def paint_room(pen: Pen) -> None:
    """A room with window, picture and plant."""
    pen.gradient((250, 232, 210), (236, 212, 190))
    for x in range(4, 130, 16):
        pen.tone(rectangle(x, 0, x + 6, 106), (242, 216, 190), 160)
    pen.shape(rectangle(-10, 106, 140, 140), (172, 126, 90))
    x = pen.rng.choice([4, 86])
    pen.shape(rectangle(x, 12, x + 38, 62), (255, 255, 255))
    pen.shape(rectangle(x + 2.5, 14.5, x + 35.5, 59.5), (150, 208, 246), False)
    pen.stroke(outline(f"M{x + 19},14 L{x + 19},60"), (240, 240, 244), 2.4)
    pen.stroke(outline(f"M{x + 2},37 L{x + 36},37"), (240, 240, 244), 2.4)
    curtain = pen.rng.choice([(244, 160, 176), (150, 196, 170), (250, 214, 130)])
    pen.shape(outline(f"M{x - 5},9 L{x + 7},9 Q{x + 8},44 {x - 1},70 L{x - 6},70 Z"), curtain)
    pen.shape(outline(f"M{x + 43},9 L{x + 31},9 Q{x + 30},44 {x + 39},70 L{x + 44},70 Z"), curtain)
    other = 108 if x < 50 else 18
    pen.shape(rectangle(other - 11, 22, other + 11, 48), (186, 134, 92))
    pen.shape(rectangle(other - 8, 25, other + 8, 45), (210, 236, 214), False)
    pen.shape(heart(other, 35, 4), (240, 120, 140), False)
    pen.shape(outline(f"M{other - 9},96 L{other + 9},96 L{other + 6},112 L{other - 6},112 Z"), (214, 120, 84))
    for angle in (-40, 0, 40):
        leaf = ellipse(other + angle * 0.25, 86 + abs(angle) * 0.1, 4.5, 11)
        pen.shape(leaf, (92, 170, 100))


def paint_flower_field(pen: Pen) -> None:
    """A background: flower field."""
    pen.gradient((140, 204, 250), (240, 248, 236))
    draw_cloud(pen, pen.rng.uniform(8, 120), pen.rng.uniform(8, 40), pen.rng.uniform(9, 14))
    draw_hill(pen, 74, (150, 206, 132))
    draw_hill(pen, 92, (116, 184, 104))
    colours = [(250, 120, 150), (255, 214, 90), (255, 255, 255), (176, 130, 226)]
    for _ in range(30):
        x, y = pen.rng.uniform(0, 128), pen.rng.uniform(84, 126)
        r = 1.6 + (y - 80) * 0.045
        colour = pen.rng.choice(colours)
        for k in range(5):
            angle = k * 1.2566
            pen.shape(ellipse(x + r * math.cos(angle), y + r * math.sin(angle), r * 0.72, r * 0.72), colour, False)
        pen.shape(ellipse(x, y, r * 0.6, r * 0.6), (250, 190, 70), False)
