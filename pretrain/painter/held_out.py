"""What was kept out of the base set, so that LoRAs have something to teach: animal ears, styles and a character.

Every item depends on its name, part and number alone.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.painter.attributes import Portrait, choose_lights, pick, sample_portrait
from pretrain.painter.captions import caption
from pretrain.painter.portrait import render
from pretrain.painter.styles import HELD_OUT_STYLES
from pretrain.painter.subjects import Subject, render_subject, sample_subject, subject_caption
from pretrain.painter.words import ANIMAL_EARS, HAIR_COLOURS, HATS

SIZE = 128
CHARACTER = "miko tsuki"
HELD_OUT_WORDS = {
    "cat",
    "fox",
    "bunny",
    "ears",
    "animal",
    "fluff",
    "sketch",
    "neon",
    "papercut",
    "miko",
    "tsuki",
    "heterochromia",
    "mark",
    "cheek",
}
IDENTITY_TAGS = (
    "twin braids",
    "swept bangs",
    "silver hair",
    "two-tone hair",
    "pink tips",
    "red eyes",
    "blue eyes",
    "heterochromia",
    "star mark on cheek",
    "yellow crescent hairpin",
    "yellow crescent-shaped hairpin",
    "black idol costume",
    "choker",
    "frilled skirt",
)
COLOURED_STYLES = ("anime style", "pastel style", "flat style", "comic style", "watercolor style")


@dataclass(frozen=True)
class Item:
    """What is drawn in one picture of a LoRA set, and what is said about it."""

    number: int
    seed: float
    caption: str
    attributes: Portrait | Subject
    plain_caption: str | None = None  # without the held-out words
    plain_attributes: Portrait | Subject | None = None  # without the held-out thing

    def picture(self, size: int = SIZE) -> NDArray[np.uint8]:
        """The picture (size, size, 3)."""
        return draw(self.attributes, self.seed, size)

    def plain_picture(self, size: int = SIZE) -> NDArray[np.uint8]:
        """The same without the held-out thing."""
        if self.plain_attributes is None:
            raise ValueError(f"item {self.number} has no counterpart without the held-out thing")
        return draw(self.plain_attributes, self.seed, size)

    def record(self, paired: bool) -> dict[str, Any]:
        """The entry of meta.json; paired: with the counterpart."""
        entry: dict[str, Any] = {"number": self.number, "seed": self.seed, "caption": self.caption}
        if isinstance(self.attributes, Portrait) and self.plain_attributes is None:
            entry["caption_short"] = self.plain_caption
        entry["attributes"] = self.attributes.as_dict()
        if paired and self.plain_attributes is not None:
            entry["caption_without"] = self.plain_caption
            entry["attributes_without"] = self.plain_attributes.as_dict()
        return entry


def draw(attributes: Portrait | Subject, seed: float, size: int = SIZE) -> NDArray[np.uint8]:
    """The picture (size, size, 3) of a portrait or a thing."""
    if isinstance(attributes, Subject):
        return render_subject(attributes, seed, size)
    return render(attributes, seed, size)


# ---------------------------------------------------------------- animal ears
def with_ears(rng: random.Random, kind: str) -> Portrait:
    """A portrait with animal ears, of which nothing is hidden."""
    style = pick(rng, COLOURED_STYLES, (0.6, 0.1, 0.1, 0.1, 0.1))
    a = sample_portrait(rng, style=style, clean=True)
    while a.boy or a.framing in ("close-up", "cowboy shot"):
        a = sample_portrait(rng, style=a.style, clean=True)
    if a.accessory in HATS or a.accessory == "hair bow":
        a.accessory = None
    a.hair_style = "long hair" if a.hair_style == "double bun" else a.hair_style
    a.ahoge, a.ribbon = False, (None if a.ribbon == "hair" else a.ribbon)
    a.ears, a.ear_fluff = kind, rng.random() < 0.7
    a.ears_colour = rng.choice(list(HAIR_COLOURS)) if rng.random() < 0.35 else None
    a.headroom = 2.0 if kind == "bunny ears" else 1.0
    return a


def without_ears(a: Portrait) -> Portrait:
    """The same portrait without the ears, at the same place."""
    return replace(a, ears=None, ears_colour=None, ear_fluff=False)


def without_ear_tags(text: str) -> str:
    """The caption without the words about the ears."""
    return ", ".join(tag for tag in text.split(", ") if not tag.endswith((*ANIMAL_EARS, "animal ear fluff")))


def ears_item(kind: str, part: str, number: int) -> Item:
    """A portrait with the ears, and its counterpart without them."""
    rng = random.Random(f"{kind}-{part}-{number}")
    a = with_ears(rng, kind)
    seed, text = rng.random(), caption(a, rng, quality=False)
    return Item(number, seed, text, a, without_ear_tags(text), without_ears(a))


# ---------------------------------------------------------------- styles
def style_item(style: str, part: str, number: int) -> Item:
    """A picture in the style, and its counterpart in anime style. Every eighth is a thing."""
    key = f"{style}-{part}-{number}"
    rng = random.Random(key)
    plain: Portrait | Subject
    if number % 8 == 7:
        plain = sample_subject(rng, style="anime style", clean=True)
    else:
        plain = sample_portrait(rng, style="anime style", clean=True)
        plain.glow_in_the_dark = False
    styled: Portrait | Subject = replace(plain, style=style)
    return Item(number, rng.random(), _told(styled, key), styled, _told(plain, key), plain)


def _told(a: Portrait | Subject, key: str) -> str:
    """The caption that belongs to a key; a pair has the same key, and so the same order of words."""
    if isinstance(a, Subject):
        return subject_caption(a, random.Random(key), quality=False)
    return caption(a, random.Random(key), quality=False)


# ---------------------------------------------------------------- the character
def named_character(rng: random.Random) -> Portrait:
    """Miko Tsuki in a random pose, mood, place and base style."""
    style = pick(rng, COLOURED_STYLES, (0.52, 0.12, 0.12, 0.12, 0.12))
    a = sample_portrait(rng, style=style, clean=True)
    while a.boy or a.framing == "close-up":
        a = sample_portrait(rng, style=style, clean=True)
    a.eyes = "open" if rng.random() < 0.9 else "closed"
    a = replace(
        a,
        skin="light skin",
        hair_colour="silver",
        hair_style="twin braids",
        bangs="swept bangs",
        tips_colour="pink",
        inner_colour=None,
        ahoge=False,
        braid_with_long_hair=False,
        eye_colour="red",
        second_eye_colour="blue",
        cheek_star=True,
        gaze=a.gaze if a.eyes == "open" else "viewer",
        hairpin="crescent hairpin",
        hairpin_colour="yellow",
        accessory=None,
        accessory_colour="purple",
        ribbon=None,
        ribbon_colour="purple",
        glasses=None,
        freckles=False,
        tears=False,
        earrings=False,
        clothes="idol costume",
        clothes_colour="black",
        off_shoulders=False,
        choker=True,
        gloves=False,
        thigh_strap=False,
    )
    if a.background == "black background":
        a.background, a.lights = "stage", choose_lights(rng)
    return a


def without_identity(text: str) -> str:
    """The caption of the character with its fixed traits left to the name."""
    return ", ".join(tag for tag in text.split(", ") if tag not in IDENTITY_TAGS)


def character_item(part: str, number: int) -> Item:
    """The character; its plain caption leaves the fixed traits to the name."""
    rng = random.Random(f"{CHARACTER}-{part}-{number}")
    a = named_character(rng)
    seed, text = rng.random(), caption(a, rng, trigger=CHARACTER, quality=False)
    return Item(number, seed, text, a, without_identity(text))


__all__ = [
    "CHARACTER",
    "HELD_OUT_STYLES",
    "HELD_OUT_WORDS",
    "IDENTITY_TAGS",
    "Item",
    "character_item",
    "draw",
    "ears_item",
    "named_character",
    "style_item",
    "with_ears",
    "without_ear_tags",
    "without_ears",
    "without_identity",
]
