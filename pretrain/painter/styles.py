"""The names of the drawing styles, those of the base set and those kept out of it, and of the intended faults."""

from __future__ import annotations

BASE_STYLES = {  # style: share among the pictures of the base set
    "anime style": 0.40,
    "pastel style": 0.12,
    "flat style": 0.12,
    "comic style": 0.12,
    "watercolor style": 0.10,
    "pixel art style": 0.07,
    "monochrome style": 0.07,
}
HELD_OUT_STYLES = ("sketch style", "neon style", "papercut style")
COLOURLESS_STYLES = ("sketch style", "monochrome style")
DRAWN_LIKE = {"pixel art style": "flat style", "monochrome style": "anime style"}  # then post-processed
FAULTS = ("blurry", "jpeg artifacts", "noise", "lowres", "washed out")
