"""Which pictures the judge learns from: the base's, animal ears, near misses, the character and those who resemble it.

It chooses attributes; it does not draw. Every choice comes from the random generator that is handed in, so one number
names one picture.
"""

from __future__ import annotations

import random

from pretrain.painter import (
    ACCESSORIES,
    ANIMAL_EARS,
    BASE_STYLES,
    CLOTH_COLOURS,
    EYE_COLOURS,
    HAIR_COLOURS,
    HELD_OUT_STYLES,
    STYLES_WITH_TIPS,
    Portrait,
    Subject,
    choose_lights,
    named_character,
    other_colour,
    pick,
    sample_portrait,
    sample_subject,
)

GROUPS = {"base": 0.26, "ears": 0.36, "near miss": 0.18, "character": 0.20}
HELD_OUT_SHARE = 0.3
TALL_HATS = ("beret", "straw hat", "crown")
STYLES_FOR_TIPS = (*STYLES_WITH_TIPS, "twin braids", "single braid", "bob cut")


def sample_case(rng: random.Random) -> Portrait | Subject:
    """The attributes of one picture."""
    group = pick(rng, GROUPS, list(GROUPS.values()))
    style = _any_style(rng)
    if group == "base" and rng.random() < 0.3:
        return sample_subject(rng, style=style, clean=True)
    if group == "character":
        return _character_case(rng, style)
    a = sample_portrait(rng, style=style, clean=True)
    if group == "near miss":
        _make_near_miss(a, rng)
    if not a.boy:
        _lend_traits(a, rng)
    if group == "ears":
        give_ears(a, rng)
    elif rng.random() < 0.4:
        a.headroom = rng.uniform(0, 2)  # room above the head must say nothing about ears
    return a


def _any_style(rng: random.Random) -> str:
    """A style of the base, or in three of ten cases one that was held out."""
    if rng.random() < HELD_OUT_SHARE:
        return rng.choice(HELD_OUT_STYLES)
    return pick(rng, BASE_STYLES, list(BASE_STYLES.values()))


def give_ears(a: Portrait, rng: random.Random) -> None:
    """Puts animal ears on a portrait, cat ears every second time; tall hats would hide them and are taken off."""
    a.ears = pick(rng, ANIMAL_EARS, (0.5, 0.25, 0.25))
    a.ear_fluff = rng.random() < 0.6
    a.ears_colour = rng.choice(list(HAIR_COLOURS)) if rng.random() < 0.35 else None
    a.headroom = rng.uniform(1.3, 2.2) if a.ears == "bunny ears" else rng.uniform(0.4, 1.5)
    if a.accessory in TALL_HATS or (a.accessory and rng.random() < 0.5):
        a.accessory = None
    if a.hair_style == "double bun" and rng.random() < 0.7:
        a.hair_style = "long hair"
    if a.framing == "close-up" and a.ears == "bunny ears":
        a.framing = "portrait"


def _make_near_miss(a: Portrait, rng: random.Random) -> None:
    """Things on the head that are no ears: hats, bows, ribbons, buns, spikes and loose strands."""
    a.ahoge = rng.random() < 0.3
    choice = rng.random()
    if a.boy or choice < 0.55:
        a.accessory = rng.choice(ACCESSORIES)
    elif choice < 0.8:
        a.hair_style = "double bun"
    else:
        a.ribbon = "hair"
    if not a.boy and rng.random() < 0.2:
        a.ribbon = "hair"
    if a.framing == "close-up" and a.accessory in TALL_HATS:
        a.framing = "portrait"


def _character_case(rng: random.Random, style: str) -> Portrait:
    """The character in any style, or in seven of ten cases somebody who has some of its traits."""
    if rng.random() < 0.3:
        a = named_character(rng)
        a.style = style
    else:
        a = sample_portrait(rng, style=style, clean=True)
        while a.boy:
            a = sample_portrait(rng, style=style, clean=True)
        _vary_hair(a, rng)
        _vary_face(a, rng)
        _vary_dress(a, rng)
    if rng.random() < 0.2:
        give_ears(a, rng)
    elif rng.random() < 0.4:
        a.headroom = rng.uniform(0, 2)
    return a


def _lend_traits(a: Portrait, rng: random.Random) -> None:
    """Single traits of the character on anybody, so that none is told by the company of the others."""
    a.cheek_star = rng.random() < 0.25
    if rng.random() < 0.06:
        a.eyes, a.glasses = "open", None
        a.eye_colour, a.second_eye_colour = rng.choice((("red", "blue"), ("blue", "red")))
    if rng.random() < 0.06:
        a.hairpin, a.hairpin_colour = "crescent hairpin", "yellow"
    if rng.random() < 0.06:
        a.hair_style, a.braid_with_long_hair = "twin braids", False
    if rng.random() < 0.05:
        a.clothes, a.clothes_colour = "idol costume", "black"


def _vary_hair(a: Portrait, rng: random.Random) -> None:
    """Twin braids or not; silver with pink tips, one of the two, or neither."""
    if rng.random() < 0.5:
        a.hair_style = "twin braids"
    choice = rng.random()
    if choice < 0.65:
        a.inner_colour, a.braid_with_long_hair = None, False
        if a.hair_style not in STYLES_FOR_TIPS:
            a.hair_style = rng.choice(STYLES_FOR_TIPS)
    if choice < 0.4:
        a.hair_colour, a.tips_colour = "silver", "pink"
    elif choice < 0.5:
        a.hair_colour, a.tips_colour = other_colour(rng, HAIR_COLOURS, "pink"), "pink"
    elif choice < 0.6:
        a.hair_colour, a.tips_colour = "silver", other_colour(rng, HAIR_COLOURS, "silver")
    elif choice < 0.65:
        a.hair_colour, a.tips_colour = "silver", None


def _vary_face(a: Portrait, rng: random.Random) -> None:
    """Eyes of two colours, most often red and blue, and the star on the cheek."""
    choice = rng.random()
    if choice < 0.6:
        a.eyes = "open" if rng.random() < 0.9 else a.eyes
    if choice < 0.4:
        a.eye_colour, a.second_eye_colour = rng.choice((("red", "blue"), ("blue", "red")))
    elif choice < 0.5:
        a.second_eye_colour = other_colour(rng, EYE_COLOURS, a.eye_colour)
    elif choice < 0.6:
        a.eye_colour = rng.choice(("red", "blue"))
    a.cheek_star = rng.random() < 0.45


def _vary_dress(a: Portrait, rng: random.Random) -> None:
    """The yellow crescent hairpin and the black idol costume, or things that resemble them."""
    choice = rng.random()
    if choice < 0.4:
        a.hairpin, a.hairpin_colour = "crescent hairpin", "yellow"
    elif choice < 0.55:
        a.hairpin, a.hairpin_colour = "crescent hairpin", other_colour(rng, CLOTH_COLOURS, "yellow")
    elif choice < 0.7:
        a.hairpin, a.hairpin_colour = "star hairpin", "yellow"
    choice = rng.random()
    if choice < 0.4:
        a.clothes, a.clothes_colour = "idol costume", "black"
    elif choice < 0.5:
        a.clothes, a.clothes_colour = "idol costume", other_colour(rng, CLOTH_COLOURS, "black")
    elif choice < 0.65:
        a.clothes_colour = "black"
    if a.clothes == "idol costume" and rng.random() < 0.3:
        a.background, a.lights = "stage", choose_lights(rng)
