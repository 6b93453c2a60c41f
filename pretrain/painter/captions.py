"""Exact captions: the words that are true for a portrait, and their order.

Quality words come first, then style and who is there, then all other tags in random order, at most TOKEN_LIMIT tokens.
"""

from __future__ import annotations

import random

from pretrain.painter.attributes import Portrait, wears_headdress
from pretrain.painter.places import PATTERNS, PLAIN, SCENES
from pretrain.painter.styles import COLOURLESS_STYLES, HELD_OUT_STYLES
from pretrain.painter.words import COLOURED_ACCESSORIES, FRILLED_CLOTHES

SYNONYMS = {  # drawn the same; the second word is used now and then
    "blunt bangs": "straight bangs",
    "smile": "smiling",
    "crowd": "crowd of audience",
    "stage": "standing on stage",
    "glow sticks": "glow stick",
    "light particles": "colorful light particles",
    "crescent hairpin": "crescent-shaped hairpin",
    "star hairpin": "star-shaped hairpin",
}


SYNONYM_SHARE = {"blunt bangs": 0.5}


TOO_SMALL_FOR_PIXELS = (
    "freckles",
    "upper teeth",
    "looking to the side",
    "earrings",
    "tears",
    "choker",
    "angry",
    "sad",
)


TOKEN_LIMIT = 70


def portrait_tags(a: Portrait) -> list[str]:
    """All words that are true for the picture, without style and quality."""
    grey = a.style in COLOURLESS_STYLES
    tags = _hair_tags(a, grey) + _face_tags(a, grey) + _clothes_tags(a, grey) + _place_tags(a, grey)
    if a.style == "pixel art style":
        tags = [tag for tag in tags if tag not in TOO_SMALL_FOR_PIXELS]
    return tags


def _coloured(colour: str, word: str, grey: bool) -> str:
    """The word with its colour, where the style shows colours."""
    return word if grey else f"{colour} {word}"


def _hair_tags(a: Portrait, grey: bool) -> list[str]:
    """Words about the hair."""
    tags = [a.hair_style, a.bangs]
    if not grey:
        tags.append(f"{a.hair_colour} hair")
    if a.braid_with_long_hair:
        tags.append("long hair")
    if a.ahoge:
        tags.append("ahoge")
    if a.inner_colour and not grey:
        tags.append(f"{a.inner_colour} inner hair")
    if a.tips_colour and not grey:
        tags += ["two-tone hair", f"{a.tips_colour} tips"]
    if a.ears:
        colour = a.ears_colour
        tags.append(f"{colour} {a.ears}" if colour and not grey else a.ears)
        if a.ear_fluff:
            tags.append("animal ear fluff")
    return tags


def _face_tags(a: Portrait, grey: bool) -> list[str]:
    """Words about the face."""
    tags = [a.mouth]
    if a.upper_teeth:
        tags.append("upper teeth")
    if a.glasses:
        tags.append(a.glasses)
    if a.glasses != "sunglasses":
        tags += _eye_tags(a, grey)
    if not grey and a.style != "neon style" and a.skin != "light skin":
        tags.append(a.skin)
    tags += [
        word
        for word, present in (
            ("blush", a.blush and not grey),
            ("freckles", a.freckles and not grey),
            ("tears", a.tears),
            ("star mark on cheek", a.cheek_star),
        )
        if present
    ]
    return tags


def _eye_tags(a: Portrait, grey: bool) -> list[str]:
    """Words about eyes and brows."""
    tags = []
    if a.eyes == "closed":
        tags.append("closed eyes")
    elif not grey:
        tags.append(f"{a.eye_colour} eyes")
        if a.second_eye_colour:
            tags += ["heterochromia", f"{a.second_eye_colour} eyes"]
    if a.eyes == "wink":
        tags.append("one eye closed")
    tags += {"down": ["looking down"], "side": ["looking to the side"]}.get(a.gaze, [])
    return tags + ([a.brows] if a.brows else [])


def _clothes_tags(a: Portrait, grey: bool) -> list[str]:
    """Words about clothes and things worn."""
    tags = []
    if a.clothes == "off shoulders":
        tags += [_coloured(a.clothes_colour, "dress", grey), "off shoulders"]
    else:
        tags.append(_coloured(a.clothes_colour, a.clothes, grey))
        tags += ["off shoulders"] if a.off_shoulders else []
    if a.earrings:
        tags.append("earrings")
    if a.accessory:
        plain = a.accessory not in COLOURED_ACCESSORIES
        tags.append(a.accessory if plain else _coloured(a.accessory_colour, a.accessory, grey))
    if a.hairpin:
        tags.append(_coloured(a.hairpin_colour, a.hairpin, grey))
    if a.ribbon:
        tags.append("large " + _coloured(a.ribbon_colour, "ribbon" if a.ribbon == "chest" else "hair ribbon", grey))
    tags += [
        word
        for word, present in (
            ("maid headdress", wears_headdress(a)),
            ("choker", a.choker),
            ("gloves", a.gloves),
            ("hand up", a.hand_up),
            ("holding microphone", a.microphone),
            ("thigh strap", a.thigh_strap and a.framing == "cowboy shot"),
            ("frilled skirt", a.clothes in FRILLED_CLOTHES and a.framing == "cowboy shot"),
        )
        if present
    ]
    return tags


def _place_tags(a: Portrait, grey: bool) -> list[str]:
    """Words about framing, background and lights."""
    tags = [] if a.framing == "portrait" else [a.framing]
    if a.dynamic_angle:
        tags.append("dynamic angle")
    unsaid = grey or a.style in HELD_OUT_STYLES[:2]
    if a.background in PLAIN:
        tags.append("simple background" if unsaid else a.background)
    else:
        tags.append(a.background)
        if a.background in PATTERNS and not unsaid:
            tags.append(f"{a.background_colour} background")
    lights = [name for name in a.lights if not (name == "colorful lights" and grey)]
    return tags + lights + (["glow in the dark"] if a.glow_in_the_dark else [])


def quality_tags(fault: str | None, strength: float, rng: random.Random) -> list[str]:
    """Words about the quality of the picture."""
    if fault:
        return ["worst quality" if strength > 0.5 else "low quality", fault]
    tags = []
    if rng.random() < 0.35:
        tags = rng.choice([["masterpiece"], ["best quality"], ["masterpiece", "best quality"]])
    if rng.random() < 0.10:
        tags.append(rng.choice(["detailed", "cute"]))
    return list(tags)


def count_tokens(text: str) -> int:
    """Words and commas; a hyphen and each part of a hyphenated word count on their own."""
    return len(text.replace(",", " , ").replace("-", " - ").split())


def caption(a: Portrait, rng: random.Random, trigger: str | None = None, quality: bool = True) -> str:
    """The training caption: quality, style, who, then all other tags in random order."""
    tags = portrait_tags(a)
    if a.mouth == "open mouth" and not a.brows and rng.random() < 0.5:
        tags.append("smile")
    if a.background in ("indoors", "stage") and rng.random() < 0.3:
        tags.append("indoors" if a.background == "stage" else "scenery")
    elif (a.background in SCENES or a.background == "stage") and rng.random() < 0.25:
        tags.append("scenery")
    if a.framing == "portrait" and rng.random() < 0.25:
        tags.append("portrait")
    tags = [_with_synonym(tag, rng) for tag in tags]
    rng.shuffle(tags)
    style = [] if a.style == "anime style" and rng.random() < 0.25 else [a.style]
    who = ["1boy" if a.boy else "1girl"]
    head = ([trigger] if trigger else []) + who
    first = style + head if rng.random() < 0.7 else head + style
    words = (quality_tags(a.fault, a.fault_strength, rng) if quality else []) + first + tags
    while count_tokens(", ".join(words)) > TOKEN_LIMIT:
        words.pop()  # tags are in random order, so no kind of tag suffers most
    return ", ".join(words)


def _with_synonym(tag: str, rng: random.Random) -> str:
    """The tag, or now and then another word for the same."""
    for word, other in SYNONYMS.items():
        if tag.endswith(word) and rng.random() < SYNONYM_SHARE.get(word, 0.2):
            return tag[: -len(word)] + other
    return tag
