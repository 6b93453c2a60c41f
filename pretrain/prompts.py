"""Unseen prompts to measure a LoRA with, each with and without the words that the LoRA was taught.

The painter's own sampler writes them, with seeds that no training set uses; what a prompt says is given beside it in
the judge's words, so that a benchmark can count. Nothing is drawn here.
Which seed is for choosing recipes and which for figures, `pretrain.seeds` says.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pretrain.painter import (
    ANIMAL_EARS,
    CHARACTER,
    HATS,
    HELD_OUT_STYLES,
    IDENTITY_TAGS,
    PATTERNS,
    PLAIN,
    Portrait,
    Subject,
    caption,
    pick,
    sample_portrait,
    sample_subject,
    subject_caption,
    without_ear_tags,
)

TESTED_STYLES = ("anime style", "pastel style", "flat style", "comic style", "watercolor style")
STYLE_WEIGHTS = (0.6, 0.1, 0.1, 0.1, 0.1)
LINE_STYLES = ("sketch style", "neon style")
Prompt = tuple[str, str, dict[str, Any]]


def plain_girl(rng: random.Random, style: str | None = None) -> Portrait:
    """A girl with open eyes to be seen and nothing on the head that hides ears; no faults, no second hair colour."""
    style = style or pick(rng, TESTED_STYLES, STYLE_WEIGHTS)
    while True:
        a = sample_portrait(rng, style=style, clean=True)
        seen = a.eyes == "open" and a.glasses is None and a.framing in ("portrait", "upper body")
        bare = a.accessory not in HATS and a.accessory != "hair bow" and a.ribbon != "hair"
        if not a.boy and seen and bare and a.hair_style != "double bun":
            return replace(a, ahoge=False, inner_colour=None, tips_colour=None, glow_in_the_dark=False)


def attributes_of(a: Portrait, text: str) -> dict[str, Any]:
    """What the text asks for, under the names of the judge's heads; what the text does not say is left out."""
    tags = text.split(", ")
    garment = "dress" if a.clothes == "off shoulders" else a.clothes
    dressed = garment in tags or f"{a.clothes_colour} {garment}" in tags
    said = {
        "hair": (a.hair_colour, f"{a.hair_colour} hair" in tags),
        "eyes": (a.eye_colour, f"{a.eye_colour} eyes" in tags),
        "clothes": (a.clothes, dressed and (a.clothes != "off shoulders" or "off shoulders" in tags)),
        "clothes colour": (a.clothes_colour, f"{a.clothes_colour} {garment}" in tags),
        "background": (a.background, a.background in tags),
    }
    asked = {head: word for head, (word, there) in said.items() if there}
    return {"kind": "boy" if a.boy else "girl", "ears": a.ears or "none", "style": a.style, **asked}


def ears_prompts(kind: str, count: int, seed: int) -> list[Prompt]:
    """Girls with the ears, in the colour of their hair. `kind` is one of ANIMAL_EARS."""
    prompts = []
    for number in range(count):
        key = f"{kind}-effect-{seed}-{number}"
        rng = random.Random(key)
        a = replace(plain_girl(rng), ears=kind)
        text = without_ear_tags(_said(a, key))
        full = _with_words(text, kind, rng)
        prompts.append((full, text, attributes_of(a, full)))
    return prompts


def style_prompts(style: str, count: int, seed: int) -> list[Prompt]:
    """Girls in a held-out style; without the words no style is named, which the base takes as anime style."""
    prompts = []
    for number in range(count):
        key = f"{style}-effect-{seed}-{number}"
        plain = plain_girl(random.Random(key), style="anime style")
        a = replace(plain, style=style)
        full = f"{style}, {_without_style(_said(a, key))}"
        prompts.append((full, _without_style(_said(plain, key)), attributes_of(a, full)))
    return prompts


def character_prompts(count: int, seed: int) -> list[Prompt]:
    """The character's name among words that say nothing of its fixed traits; without the words the name is left out."""
    prompts = []
    for number in range(count):
        key = f"{CHARACTER}-effect-{seed}-{number}"
        rng = random.Random(key)
        a = plain_girl(rng)
        fixed = (*IDENTITY_TAGS, a.hair_style, a.bangs, f"{a.hair_colour} hair", f"{a.eye_colour} eyes")
        kept = [tag for tag in _said(a, key).split(", ") if tag not in fixed and not _about_dress(tag, a)]
        text = ", ".join(kept)
        named = text.replace("1girl", f"{CHARACTER}, 1girl", 1)
        asked = {"kind": "girl", "background": a.background, "style": a.style}
        prompts.append((named, text, asked if a.background in kept else {"kind": "girl", "style": a.style}))
    return prompts


def combined_prompts(ears: str, style: str, count: int = 60, seed: int = 0) -> list[Prompt]:
    """All three at once: the character with the ears in the style, and the same prompt with none of these words."""
    prompts = []
    for named, text, asked in character_prompts(count, seed):
        rng = random.Random(f"three-effect-{seed}-{named}")
        full = f"{style}, {_with_words(_without_style(named), ears, rng)}"
        asked = {**asked, "ears": ears, "style": style}
        if style in LINE_STYLES:  # these know no plain grounds of a colour, and say so
            full = _without_ground(full)
            asked = {head: word for head, word in asked.items() if word not in PLAIN}
        prompts.append((full, _without_style(text), asked))
    return prompts


def other_prompts(kind: str, count: int = 60, seed: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """Prompts that do not ask for what was taught: `kind` is "girl", "boy" or "no humans"."""
    makers: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
        "girl": _other_girl,
        "boy": _other_boy,
        "no humans": _other_thing,
    }
    if kind not in makers:
        raise ValueError(f"other prompts were asked for {kind!r}; ask for one of {', '.join(makers)}")
    return [makers[kind](f"{kind}-other-{seed}-{number}") for number in range(count)]


def effect_prompts(kind: str, count: int = 60, seed: int = 0) -> list[Prompt]:
    """(prompt with the words, the same without them, what it asks for) for ears, a held-out style or the character.

    `kind` is one of ANIMAL_EARS, HELD_OUT_STYLES, or the name of the character. The dictionary uses the judge's heads
    and labels and describes the prompt with the words; what the prompt does not say is not in it.
    """
    if kind in ANIMAL_EARS:
        return ears_prompts(kind, count, seed)
    if kind in HELD_OUT_STYLES:
        return style_prompts(kind, count, seed)
    if kind == CHARACTER:
        return character_prompts(count, seed)
    known = ", ".join((*ANIMAL_EARS, *HELD_OUT_STYLES, CHARACTER))
    raise ValueError(f"effect prompts were asked for {kind!r}; ask for one of {known}")


def _said(a: Portrait, key: str) -> str:
    """The painter's caption; the same key gives the same order of words."""
    return caption(a, random.Random(f"{key}-caption"), quality=False)


def _with_words(text: str, words: str, rng: random.Random) -> str:
    """The words put between the tags, anywhere after who is there."""
    tags = text.split(", ")
    start = tags.index("1girl") + 1
    tags.insert(rng.randint(start, len(tags)), words)
    return ", ".join(tags)


def _without_style(text: str) -> str:
    """The prompt without its style word."""
    return ", ".join(tag for tag in text.split(", ") if not tag.endswith(" style"))


def _without_ground(text: str) -> str:
    """The prompt with a plain ground called simple, or left out before a pattern."""
    tags = text.split(", ")
    ground = [] if any(tag in PATTERNS for tag in tags) else ["simple background"]
    return ", ".join(word for tag in tags for word in (ground if tag in PLAIN else [tag]))


def _about_dress(tag: str, a: Portrait) -> bool:
    """Whether a tag speaks of what the character always wears or never wears."""
    words = (
        a.clothes,
        "dress",
        "off shoulders",
        "ribbon",
        "hairpin",
        "gloves",
        "thigh strap",
        "earrings",
        "maid headdress",
    )
    things = ("hair flower", "hair clip", "braid", "skin", "freckles", "tears", "long hair")
    return any(tag.endswith(word) for word in (*words, *things))


def _other_girl(key: str) -> tuple[str, dict[str, Any]]:
    """A girl of the base set's kind."""
    a = plain_girl(random.Random(key))
    text = _said(a, key)
    return text, attributes_of(a, text)


def _other_boy(key: str) -> tuple[str, dict[str, Any]]:
    """A boy of the base set's kind."""
    rng = random.Random(key)
    style = pick(rng, TESTED_STYLES, STYLE_WEIGHTS)
    a = sample_portrait(rng, style=style, clean=True)
    while not a.boy:
        a = sample_portrait(rng, style=style, clean=True)
    text = _said(a, key)
    return text, attributes_of(a, text)


def _other_thing(key: str) -> tuple[str, dict[str, Any]]:
    """A thing of the base set's kind."""
    rng = random.Random(key)
    a: Subject = sample_subject(rng, style=pick(rng, TESTED_STYLES, STYLE_WEIGHTS), clean=True)
    text = subject_caption(a, random.Random(f"{key}-caption"), quality=False)
    return text, {"kind": "no humans", "ears": "none", "background": a.background, "style": a.style}
