"""Everything behind the figure: a plain ground, a pattern, a scene or the stage, and the lights."""

from __future__ import annotations

from pretrain.painter.colours import Colour
from pretrain.painter.patterns import PATTERN_PAINTERS
from pretrain.painter.pen import Pen
from pretrain.painter.places import PATTERNS, STAGE_LIGHTS
from pretrain.painter.scenes import (
    paint_beach,
    paint_blossoms,
    paint_city,
    paint_flower_field,
    paint_forest,
    paint_night,
    paint_room,
    paint_sky,
    paint_snow,
    paint_sunset,
)
from pretrain.painter.stage import LIGHT_PAINTERS, paint_stage

SCENE_PAINTERS = {
    "sky": paint_sky,
    "night sky": paint_night,
    "sunset": paint_sunset,
    "beach": paint_beach,
    "forest": paint_forest,
    "cherry blossoms": paint_blossoms,
    "snow": paint_snow,
    "city": paint_city,
    "indoors": paint_room,
    "flower field": paint_flower_field,
    "stage": paint_stage,
}


def draw_background(pen: Pen, name: str, colour: Colour, lights: list[str]) -> None:
    """Draws what lies behind the figure."""
    pen.gradient(colour, colour)
    if name in PATTERNS:
        PATTERN_PAINTERS[name](pen, colour)
    elif name in SCENE_PAINTERS:
        SCENE_PAINTERS[name](pen)
    for light_name in STAGE_LIGHTS:
        if light_name in lights:
            LIGHT_PAINTERS[light_name](pen)
