"""The clothes."""

from __future__ import annotations

from pretrain.painter.colours import dark, light, mix
from pretrain.painter.figure.garments import (
    COLLAR_HALF,
    OFF_SHOULDER,
    SKIRT,
    TORSO,
    draw_off_shoulder_band,
    frill,
    plain_skirt,
    top_body,
)
from pretrain.painter.figure.shape import FRILL, GOLD, WHITE, Figure
from pretrain.painter.paths import ellipse, mirrored, outline, rectangle, star
from pretrain.painter.words import CLOTH_COLOURS


def wear_uniform(f: Figure) -> None:
    """Clothes: uniform."""
    plain_skirt(f, dark(f.cloth, 0.25))
    top_body(f, f.cloth)
    f.pen.shape(outline("M55,96 Q64,104 73,96 L64,124 Z"), WHITE)
    f.both(outline("M55,95 L64,106 L56,120 L47,102 Z"), light(f.cloth, 0.12))
    tie = f.ribbon if f.a.ribbon != "chest" else dark(f.ribbon, 0.2)
    f.pen.shape(outline("M61.6,104 L66.4,104 L65.4,108 L67.4,119 L64,123 L60.6,119 L62.6,108 Z"), tie)
    for y in (129, 137):
        f.pen.shape(ellipse(64, y, 1.5, 1.5), GOLD, width=0.7)


def wear_sailor(f: Figure) -> None:
    """Clothes: sailor."""
    plain_skirt(f, f.cloth)
    top_body(f, (252, 252, 255))
    collar = outline("M56,95 L64,113 L58,118 C50,117 44,113 40,106 C44,100 50,99 56,95 Z")
    f.both(collar, f.cloth)
    stripe = outline("M43.5,107 C47,112 51,114.5 57.5,115.4")
    if sum(f.cloth) < 640:
        f.pen.stroke(stripe, WHITE, 1)
        f.pen.stroke(mirrored(stripe), WHITE, 1)
    if f.a.ribbon != "chest":
        scarf = f.ribbon
        f.both(outline("M64,113 L54,110.5 L55.5,121 Z"), scarf)
        f.pen.shape(ellipse(64, 114, 2.6, 2.6), scarf)


def wear_t_shirt(f: Figure) -> None:
    """Clothes: t shirt."""
    plain_skirt(f, (84, 90, 122))
    top_body(f, f.cloth)
    f.pen.shape(outline("M55,95 Q64,110 73,95 L70,92 L58,92 Z"), f.skin)
    f.pen.shape(star(64, 122, 6), light(f.cloth, 0.6) if sum(f.cloth) < 640 else (250, 150, 170), width=0.8)


def wear_hoodie(f: Figure) -> None:
    """Clothes: hoodie."""
    plain_skirt(f, (84, 90, 122))
    top_body(f, f.cloth)
    hood = outline(
        "M44,105 C48,97 55,94 58,96 Q64,105 70,96 C73,94 80,97 84,105 C80,115 70,118 64,114 C58,118 48,115 44,105 Z"
    )
    f.pen.shape(hood, light(f.cloth, 0.2) if sum(f.cloth) < 660 else dark(f.cloth, 0.10))
    for x in (58.5, 69.5):
        f.pen.stroke(outline(f"M{x},112 L{x},123"), (250, 250, 250) if sum(f.cloth) < 660 else (120, 120, 140), 1.6)
    f.pen.shape(outline("M53,130 L75,130 L78,140 L50,140 Z"), dark(f.cloth, 0.10))


def wear_dress(f: Figure) -> None:
    """Clothes: dress."""
    f.pen.shape(outline(TORSO), f.skin)
    if f.a.framing not in ("close-up", "portrait"):
        f.pen.shape(outline(SKIRT), f.cloth, gloss=True)
    front = outline(
        "M47,108 Q55,113 64,110 Q73,113 81,108 C82,120 80,128 79,138 Q64,142 49,138 C48,128 46,120 47,108 Z"
    )
    f.pen.shape(front, f.cloth)
    f.pen.stroke(outline("M49,109 L52,98"), dark(f.cloth, 0.12), 2.6)
    f.pen.stroke(outline("M79,109 L76,98"), dark(f.cloth, 0.12), 2.6)
    f.pen.shape(outline("M48.5,130 Q64,135 79.5,130 L80,135 Q64,140 48,135 Z"), light(f.cloth, 0.35), width=0.8)


def wear_sweater(f: Figure) -> None:
    """Clothes: sweater."""
    plain_skirt(f, (140, 104, 96))
    top_body(f, f.cloth)
    f.pen.shape(outline("M55,92 Q64,99 73,92 L75,101 Q64,111 53,101 Z"), light(f.cloth, 0.25))
    pale = light(f.cloth, 0.45) if sum(f.cloth) < 660 else (226, 150, 160)
    for y in (117, 126, 135):
        f.pen.stroke(outline(f"M45,{y} Q64,{y + 4} 83,{y}"), pale, 1.8)


def wear_kimono(f: Figure) -> None:
    """Clothes: kimono."""
    if f.a.framing not in ("close-up", "portrait"):
        f.pen.shape(outline("M48,134 L80,134 L86,204 L42,204 Z"), f.cloth, gloss=True)
        f.pen.stroke(outline("M70,140 L62,204"), dark(f.cloth, 0.4), 1.2)
    top_body(f, f.cloth)
    f.pen.shape(outline("M58,84 L70,84 L72,98 L64,110 L56,98 Z"), f.skin, line=False)
    f.pen.shape(outline("M73,94 L46,130 L53,132 L79,101 Z"), (250, 246, 240))
    f.pen.shape(outline("M55,94 L82,130 L75,132 L49,101 Z"), (250, 246, 240))
    sash = mix(f.cloth, (255, 222, 90), 0.7) if f.a.clothes_colour != "yellow" else (214, 84, 84)
    f.pen.shape(outline("M47,124 Q64,129 81,124 L80,138 Q64,143 48,138 Z"), sash)
    for x, y in ((46, 113), (83, 116)):
        f.pen.shape(star(x, y, 3, 0.66), light(f.cloth, 0.6) if sum(f.cloth) < 640 else (246, 150, 180), line=False)


def wear_shirt(f: Figure) -> None:
    """Clothes: shirt."""
    plain_skirt(f, (84, 90, 122))
    top_body(f, f.cloth)
    f.pen.shape(outline("M57,94 Q64,104 71,94 L68,90 L60,90 Z"), f.skin)
    f.both(outline(COLLAR_HALF), light(f.cloth, 0.45))
    f.pen.stroke(outline("M64,108 L64,142"), dark(f.cloth, 0.35), 0.9)
    for y in (116, 125, 134):
        f.pen.shape(ellipse(64, y, 1.3, 1.3), WHITE if sum(f.cloth) < 660 else (120, 124, 150), False)


def wear_overalls(f: Figure) -> None:
    """Clothes: overalls."""
    top_body(f, (250, 238, 214))
    if f.a.framing not in ("close-up", "portrait"):
        f.pen.shape(outline("M48,130 Q64,134 80,130 L84,160 Q64,166 44,160 Z"), f.cloth)
    f.pen.shape(outline("M49,114 L79,114 L82,144 L46,144 Z"), f.cloth)
    f.both(outline("M46.5,99 L52,98 L55,117 L49.5,118 Z"), f.cloth)
    for x in (52.5, 75.5):
        f.pen.shape(ellipse(x, 117, 1.9, 1.9), GOLD, width=0.8)
    f.pen.shape(rectangle(57, 121, 71, 130), light(f.cloth, 0.16))


def wear_idol(f: Figure) -> None:
    """Clothes: idol."""
    pen = f.pen
    pen.shape(outline(TORSO), f.skin)
    if f.a.framing not in ("close-up", "portrait"):
        pen.shape(
            frill(29, 158.5, 99, 158.5, 7, 9),
            FRILL if f.cloth != CLOTH_COLOURS["white"] else light(f.ribbon, 0.5),
        )
        pen.shape(outline(SKIRT), f.cloth, gloss=True)
        pen.shape(
            frill(38, 147, 90, 147, 5, 8),
            FRILL if f.cloth != CLOTH_COLOURS["white"] else light(f.ribbon, 0.5),
        )
        pen.shape(
            outline("M48,133 Q64,138 80,133 C82,138 86,143 90,147 Q64,154 38,147 C42,143 46,138 48,133 Z"),
            f.cloth,
        )
    trim = FRILL if f.a.clothes_colour != "white" else light(f.ribbon, 0.45)
    if f.a.off_shoulders:
        pen.shape(outline(OFF_SHOULDER), f.cloth, gloss=True)
        draw_off_shoulder_band(f, trim)
    else:
        body = outline(
            "M46,101 C48,108 54,112 64,111 C74,112 80,108 82,101 C87,104 86,112 84,120 "
            "L80,138 Q64,142 48,138 "
            "L44,120 C42,112 41,104 46,101 Z"
        )
        pen.shape(body, f.cloth, gloss=True)
        f.both(ellipse(44.5, 106, 7.4, 7), f.cloth)
        f.both(frill(37, 111.5, 51, 111.5, 3, 4), trim, width=0.8)
        pen.shape(frill(50, 108, 78, 108, 4, 7), trim, width=0.8)
    for y in (122, 129):
        pen.shape(ellipse(64, y, 1.7, 1.7), GOLD, width=0.7)
    pen.stroke(outline("M56,117 L57.5,138"), GOLD, 1.3)
    pen.stroke(outline("M72,117 L70.5,138"), GOLD, 1.3)


def wear_maid(f: Figure) -> None:
    """Clothes: maid."""
    pen = f.pen
    if f.a.framing not in ("close-up", "portrait"):
        pen.shape(frill(31, 159, 97, 159, 6, 9), FRILL)
        pen.shape(outline(SKIRT), f.cloth, gloss=True)
        pen.shape(outline("M52,136 L76,136 Q83,147 83,153 Q64,160 45,153 Q45,147 52,136 Z"), FRILL)
    top_body(f, f.cloth)
    f.both(ellipse(45, 106.5, 7.4, 7), f.cloth)
    pen.shape(outline("M54,112 Q64,116 74,112 L77,140 Q64,144 51,140 Z"), FRILL)
    strap = outline("M50,99 C44,101 43,106 44,110 L47,109 L47,113 L50.5,112 L51.5,116 L55,114 L54,98 Z")
    f.both(strap, FRILL, width=0.9)
    f.both(outline("M57,94.5 L64,104 L56,108 L51,98 Z"), FRILL, width=0.9)
    if f.a.ribbon != "chest":
        f.both(outline("M64,106 L57.5,102.5 L58,110 Z"), f.ribbon)
        pen.shape(ellipse(64, 106, 1.9, 1.9), f.ribbon)


def wear_off_shoulders(f: Figure) -> None:
    """A dress that leaves the shoulders bare."""
    pen = f.pen
    pen.shape(outline(TORSO), f.skin)
    if f.a.framing not in ("close-up", "portrait"):
        pen.shape(outline(SKIRT), f.cloth, gloss=True)
    pen.shape(outline(OFF_SHOULDER), f.cloth, gloss=True)
    draw_off_shoulder_band(f, light(f.cloth, 0.4) if sum(f.cloth) < 660 else (255, 226, 234))
    pen.stroke(outline("M50,132 Q64,137 78,132"), dark(f.cloth, 0.35), 1.4)


CLOTHES_PAINTERS = {
    "school uniform": wear_uniform,
    "sailor collar": wear_sailor,
    "t-shirt": wear_t_shirt,
    "hoodie": wear_hoodie,
    "dress": wear_dress,
    "sweater": wear_sweater,
    "kimono": wear_kimono,
    "collared shirt": wear_shirt,
    "overalls": wear_overalls,
    "idol costume": wear_idol,
    "maid outfit": wear_maid,
    "off shoulders": wear_off_shoulders,
}
