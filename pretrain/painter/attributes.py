"""The attributes of a portrait and their random choice. Nothing is drawn or said here."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from pretrain.painter.places import NIGHT_SCENES, PATTERNS, PLAIN, SCENES, STAGE_LIGHTS
from pretrain.painter.styles import BASE_STYLES, COLOURLESS_STYLES, FAULTS
from pretrain.painter.words import (
    ACCESSORIES,
    BANGS,
    BARE_ARMS,
    BOY_ACCESSORIES,
    BOY_CLOTHES,
    CLOSE_UP_CLOTHES,
    CLOTH_COLOURS,
    EYE_COLOURS,
    FRAMING_WEIGHTS,
    FRAMINGS,
    GIRL_CLOTHES,
    GIRL_CLOTHES_WEIGHTS,
    HAIR_COLOURS,
    HAIR_STYLES,
    HAIR_WEIGHTS,
    HATS,
    MOUTH_WEIGHTS,
    MOUTHS,
    SKINS,
    STYLES_WITH_INNER_HAIR,
    STYLES_WITH_TIPS,
)

W = TypeVar("W")


@dataclass
class Portrait:
    """Everything that is drawn and can be named. Shape details that have no name come from the seed."""

    style: str = "anime style"
    boy: bool = False
    skin: str = "light skin"
    hair_colour: str = "brown"
    hair_style: str = "long hair"
    bangs: str = "blunt bangs"
    ahoge: bool = False
    inner_colour: str | None = None
    tips_colour: str | None = None
    braid_with_long_hair: bool = False
    eye_colour: str = "blue"
    second_eye_colour: str | None = None  # heterochromia
    eyes: str = "open"  # open, closed, wink
    gaze: str = "viewer"  # viewer, down, side
    brows: str | None = None  # angry, sad
    mouth: str = "smile"
    upper_teeth: bool = False
    blush: bool = False
    freckles: bool = False
    tears: bool = False
    cheek_star: bool = False
    glasses: str | None = None  # glasses, sunglasses
    earrings: bool = False
    accessory: str | None = None
    accessory_colour: str = "red"
    hairpin: str | None = None  # crescent hairpin, star hairpin
    hairpin_colour: str = "yellow"
    ribbon: str | None = None  # chest, hair
    ribbon_colour: str = "red"
    choker: bool = False
    clothes: str = "t-shirt"
    clothes_colour: str = "blue"
    off_shoulders: bool = False
    gloves: bool = False
    hand_up: bool = False
    microphone: bool = False
    thigh_strap: bool = False
    framing: str = "portrait"
    dynamic_angle: bool = False
    background: str = "white background"
    background_colour: str = "white"
    lights: list[str] = field(default_factory=list)
    glow_in_the_dark: bool = False
    ears: str | None = None  # held out: one of ANIMAL_EARS
    ears_colour: str | None = None  # None: the colour of the hair
    ear_fluff: bool = False
    headroom: float = 0.0  # free space above the head: 0 none, 1 for ears, 2 for long ears
    fault: str | None = None
    fault_strength: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The attributes for meta.json."""
        return asdict(self)


def pick(rng: random.Random, words: Iterable[W], weights: Sequence[float] | None = None) -> W:
    """One of the words, by their weights where there are any."""
    return rng.choices(list(words), weights)[0]


def other_colour(rng: random.Random, table: Iterable[str], taken: str | None) -> str:
    """A colour name that differs from the one taken."""
    return rng.choice([name for name in table if name != taken])


def sample_portrait(rng: random.Random, style: str | None = None, clean: bool = False) -> Portrait:
    """A random portrait of the base set. clean: without intended faults."""
    a = Portrait()
    a.style = style or pick(rng, BASE_STYLES, list(BASE_STYLES.values()))
    a.boy = rng.random() < 0.10
    _choose_hair(a, rng)
    _choose_face(a, rng)
    _choose_clothes(a, rng)
    _choose_accessories(a, rng)
    _choose_place(a, rng)
    if not clean and a.style != "pixel art style" and rng.random() < 0.09:
        a.fault, a.fault_strength = rng.choice(FAULTS), round(rng.random(), 2)
    return a


def _choose_hair(a: Portrait, rng: random.Random) -> None:
    """Hair colour, style, fringe and second colours."""
    a.hair_colour = pick(rng, HAIR_COLOURS)
    a.hair_style = "short hair" if a.boy else pick(rng, HAIR_STYLES, HAIR_WEIGHTS)
    a.bangs = pick(rng, BANGS)
    a.ahoge = rng.random() < 0.16
    a.braid_with_long_hair = a.hair_style == "single braid" and rng.random() < 0.5
    coloured = a.style not in COLOURLESS_STYLES
    if coloured and a.hair_style in STYLES_WITH_INNER_HAIR and rng.random() < 0.30:
        a.inner_colour = other_colour(rng, HAIR_COLOURS, a.hair_colour)
    elif coloured and a.hair_style in STYLES_WITH_TIPS and rng.random() < 0.10:
        a.tips_colour = other_colour(rng, HAIR_COLOURS, a.hair_colour)


def _choose_face(a: Portrait, rng: random.Random) -> None:
    """Skin, eyes, mouth and cheeks."""
    a.skin = pick(rng, SKINS, (0.25, 0.47, 0.14, 0.14))
    a.eye_colour = pick(rng, EYE_COLOURS)
    a.eyes = pick(rng, ("open", "closed", "wink"), (0.83, 0.11, 0.06))
    if a.eyes == "open":
        a.gaze = pick(rng, ("viewer", "down", "side"), (0.72, 0.14, 0.14))
    a.brows = pick(rng, (None, "angry", "sad"), (0.84, 0.08, 0.08))
    a.mouth = pick(rng, MOUTHS, MOUTH_WEIGHTS)
    a.upper_teeth = a.mouth == "open mouth" and rng.random() < 0.45
    a.blush = rng.random() < 0.35
    a.freckles = rng.random() < 0.06
    a.glasses = pick(rng, (None, "glasses", "sunglasses"), (0.86, 0.11, 0.03))
    a.tears = not a.glasses and rng.random() < (0.25 if a.brows == "sad" else 0.02)


def _hands_show(a: Portrait) -> bool:
    """True if gloves can be seen: on a raised hand, or on bare arms in the cowboy shot."""
    return a.microphone or a.hand_up or (a.framing == "cowboy shot" and a.clothes in BARE_ARMS)


def _choose_clothes(a: Portrait, rng: random.Random) -> None:
    """Clothes, framing, hands and ribbon."""
    a.clothes = pick(rng, BOY_CLOTHES) if a.boy else pick(rng, GIRL_CLOTHES, GIRL_CLOTHES_WEIGHTS)
    a.clothes_colour = pick(rng, CLOTH_COLOURS)
    if a.clothes == "maid outfit":
        a.clothes_colour = pick(rng, ("black", "blue", "pink", "purple"), (0.6, 0.15, 0.15, 0.1))
    a.framing = pick(rng, FRAMINGS, FRAMING_WEIGHTS)
    if a.style == "pixel art style":
        a.framing = pick(rng, FRAMINGS[:2], (0.6, 0.4))  # its blocks are too large for small figures
    if a.framing == "close-up":  # only what shows at the collar
        a.clothes = a.clothes if a.clothes in CLOSE_UP_CLOTHES else pick(rng, CLOSE_UP_CLOTHES)
        a.ahoge = False
    a.off_shoulders = a.clothes == "off shoulders" or (a.clothes == "idol costume" and rng.random() < 0.5)
    idol = a.clothes == "idol costume"
    a.microphone = rng.random() < (0.35 if idol else 0.05)
    a.hand_up = rng.random() < (0.28 if idol else 0.12) and a.framing != "close-up"  # it would be cut off
    a.gloves = rng.random() < (0.5 if idol else 0.12) and _hands_show(a)
    bare_legs = not a.boy and a.clothes not in ("kimono", "overalls")
    a.thigh_strap = bare_legs and a.framing == "cowboy shot" and rng.random() < 0.4
    with_bow = ("idol costume", "dress", "off shoulders", "school uniform", "sailor collar", "maid outfit")
    if a.clothes in with_bow and rng.random() < (0.5 if idol else 0.15) and a.framing != "close-up":
        a.ribbon = "chest"
    if not a.boy and a.clothes in ("dress", "off shoulders", "idol costume", "t-shirt") and rng.random() < 0.22:
        a.choker = True
    a.ribbon_colour = other_colour(rng, CLOTH_COLOURS, a.clothes_colour)
    if rng.random() < 0.3 and a.clothes_colour != "red":
        a.ribbon_colour = "red"


def _choose_accessories(a: Portrait, rng: random.Random) -> None:
    """Things on the head; nothing may hide another named thing."""
    a.earrings = not a.boy and rng.random() < 0.10
    a.accessory_colour = other_colour(rng, CLOTH_COLOURS, a.hair_colour)
    a.hairpin_colour = other_colour(rng, CLOTH_COLOURS, a.hair_colour)
    if rng.random() < 0.25:
        a.hairpin_colour = "yellow"
    if a.hair_colour == "blonde" and a.accessory_colour == "yellow":
        a.accessory_colour = "blue"
    if a.hair_colour == "blonde" and a.hairpin_colour == "yellow":
        a.hairpin_colour = "red"
    if a.boy:
        close = a.framing == "close-up"  # hats would be cut off
        a.accessory = rng.choice(BOY_ACCESSORIES[:1] if close else BOY_ACCESSORIES) if rng.random() < 0.25 else None
        a.ahoge = a.ahoge and a.accessory not in ("straw hat", "beret")
        return
    chance = rng.random()
    if chance < 0.36:
        a.accessory = rng.choice(ACCESSORIES)
    elif chance < 0.58:
        a.hairpin = pick(rng, ("crescent hairpin", "star hairpin"), (0.6, 0.4))
    elif chance < 0.64:
        a.ribbon = "hair"
    if a.ribbon == "hair" and a.ribbon_colour == a.hair_colour:
        a.ribbon_colour = other_colour(rng, CLOTH_COLOURS, a.hair_colour)
    if a.accessory == "headphones":
        a.earrings = False
    if a.framing == "close-up" and a.accessory in ("crown", "straw hat", "beret"):
        a.accessory = "hair flower"  # tall things would be cut off
    if a.hair_style == "double bun" and a.accessory in ("straw hat", "beret"):
        a.accessory = None  # the buns would be hidden
    if a.accessory in ("straw hat", "beret"):
        a.ahoge = False  # it would be hidden


def _choose_place(a: Portrait, rng: random.Random) -> None:
    """Background, lights and angle."""
    idol = a.clothes == "idol costume" or a.microphone
    chance = rng.random()
    if chance < (0.50 if idol else 0.07):
        a.background = "stage"
        a.lights = choose_lights(rng, hidden=("crowd", "glow sticks") if a.framing == "close-up" else ())
        a.glow_in_the_dark = a.style != "monochrome style" and rng.random() < 0.22
    elif chance < 0.72 and not idol:
        a.background = rng.choice(list(PLAIN)) if rng.random() < 0.70 else rng.choice(PATTERNS)
    else:
        a.background = rng.choice(SCENES) if rng.random() < 0.75 else rng.choice(list(PLAIN))
    a.background_colour = rng.choice([name.split()[0] for name in PLAIN])
    if a.background in NIGHT_SCENES and a.background != "stage" and rng.random() < 0.5:
        a.lights = [rng.choice(("spotlights", "colorful lights", "laser light", "light particles"))]
    elif a.background in ("forest", "sunset", "cherry blossoms") and rng.random() < 0.15:
        a.lights = ["light particles"]
    a.dynamic_angle = a.framing in ("upper body", "cowboy shot") and rng.random() < 0.28


def choose_lights(rng: random.Random, hidden: tuple[str, ...] = ()) -> list[str]:
    """The switches of a stage: at least one; without those that the figure would hide."""
    possible = [name for name in STAGE_LIGHTS if name not in hidden]
    chosen = [name for name in possible if rng.random() < 0.45]
    return chosen or [rng.choice(possible)]


def wears_headdress(a: Portrait) -> bool:
    """The maid outfit comes with a frilled headdress where no hat and no ears are in the way."""
    return a.clothes == "maid outfit" and a.accessory not in HATS and not a.ears
