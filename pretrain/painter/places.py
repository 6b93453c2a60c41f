"""The names of backgrounds and lights, and the colours of plain grounds."""

from __future__ import annotations

from pretrain.painter.colours import Colour

PLAIN: dict[str, Colour] = {
    "white background": (250, 250, 250),
    "pink background": (255, 206, 220),
    "blue background": (158, 204, 244),
    "green background": (174, 224, 176),
    "yellow background": (252, 232, 150),
    "purple background": (206, 186, 240),
    "grey background": (186, 188, 196),
    "black background": (44, 42, 54),
    "red background": (232, 116, 110),
    "orange background": (250, 188, 126),
    "aqua background": (160, 232, 228),
}
PATTERNS = (
    "starry background",
    "heart background",
    "polka dot background",
    "striped background",
    "checkered background",
    "gradient background",
    "sparkle background",
)
SCENES = (
    "sky",
    "night sky",
    "sunset",
    "beach",
    "forest",
    "cherry blossoms",
    "snow",
    "city",
    "indoors",
    "flower field",
)
STAGE_LIGHTS = ("spotlights", "colorful lights", "laser light", "light particles", "crowd", "glow sticks")
NIGHT_SCENES = ("night sky", "stage", "black background")
LAMP_COLOURS: list[Colour] = [
    (255, 70, 150),
    (70, 200, 255),
    (170, 100, 255),
    (90, 255, 160),
    (255, 220, 90),
    (255, 120, 70),
]
