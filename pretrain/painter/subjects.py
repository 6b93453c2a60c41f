"""Pictures without people ("no humans"), so that the base knows more than portraits."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.painter.attributes import pick
from pretrain.painter.backgrounds import draw_background
from pretrain.painter.captions import quality_tags
from pretrain.painter.pen import Pen
from pretrain.painter.places import PATTERNS, PLAIN, SCENES
from pretrain.painter.sheet import Sheet, finish, spoil
from pretrain.painter.styles import BASE_STYLES, COLOURLESS_STYLES, FAULTS
from pretrain.painter.things import PAINTERS
from pretrain.painter.things.parts import COLOURS


@dataclass
class Subject:
    """One thing before a background."""

    style: str
    thing: str
    colour: str
    background: str
    background_colour: str
    small: bool
    fault: str | None = None
    fault_strength: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The attributes for meta.json."""
        return asdict(self)


def sample_subject(rng: random.Random, style: str | None = None, clean: bool = False) -> Subject:
    """A random subject."""
    style = style or pick(rng, BASE_STYLES, list(BASE_STYLES.values()))
    background = rng.choice(list(PLAIN)) if rng.random() < 0.55 else rng.choice(PATTERNS + SCENES)
    colour = rng.choice([name for name in COLOURS if name != background.split()[0]])
    subject = Subject(
        style,
        rng.choice(list(PAINTERS)),
        colour,
        background,
        rng.choice([name.split()[0] for name in PLAIN if name.split()[0] != colour]),
        rng.random() < 0.2,
    )
    if not clean and style != "pixel art style" and rng.random() < 0.09:
        subject.fault, subject.fault_strength = rng.choice(FAULTS), round(rng.random(), 2)
    return subject


def subject_caption(a: Subject, rng: random.Random, quality: bool = True) -> str:
    """The training caption of a subject."""
    grey = a.style in COLOURLESS_STYLES
    unsaid = grey or a.style == "neon style"
    tags = [a.thing if grey else f"{a.colour} {a.thing}"] + (["small"] if a.small else [])
    tags.append("simple background" if unsaid and a.background in PLAIN else a.background)
    if a.background in PATTERNS and not unsaid:
        tags.append(f"{a.background_colour} background")
    rng.shuffle(tags)
    style = [] if a.style == "anime style" and rng.random() < 0.25 else [a.style]
    words = quality_tags(a.fault, a.fault_strength, rng) if quality else []
    return ", ".join(words + style + ["no humans"] + tags)


def render_subject(a: Subject, seed: float, size: int = 128) -> NDArray[np.uint8]:
    """The picture of a subject as uint8 (size, size, 3)."""
    rng = random.Random(seed)
    sheet = Sheet(size)
    pen = Pen(sheet.canvas, a.style, rng)
    draw_background(pen, a.background, PLAIN.get(a.background, PLAIN[f"{a.background_colour} background"]), [])
    zoom = (0.55 if a.small else 1.0) * rng.uniform(0.86, 1.02)
    sheet.canvas.translate(64 + rng.uniform(-6, 6), 66 + rng.uniform(-5, 5))
    sheet.canvas.rotate(rng.uniform(-9, 9))
    sheet.canvas.scale(zoom * rng.choice([1, -1]), zoom)
    sheet.canvas.translate(-64, -64)
    PAINTERS[a.thing](pen, COLOURS[a.colour])
    picture = finish(sheet.array(), a.style, random.Random(f"{seed}-finish"))
    if a.fault:
        picture = spoil(picture, a.fault, a.fault_strength, random.Random(f"{seed}-fault"))
    return picture
