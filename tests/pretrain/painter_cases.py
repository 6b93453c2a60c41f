"""Fifty-three pictures that together use every style, garment, haircut, background, light, thing and fault."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any


def portrait_cases(painter: Any) -> Iterator[tuple[str, Any]]:
    """Names and pictures of twenty-one portraits: two a style, and a stage with every light."""
    styles = [*painter.BASE_STYLES, *painter.HELD_OUT_STYLES] * 2
    places = [*painter.PATTERNS, *painter.SCENES, "stage", "black background", "white background"]
    for k, style in enumerate(styles):
        rng = random.Random(f"pixels-{style}-{k}")
        a = painter.sample_portrait(rng, style=style)
        a = replace(
            a,
            background=places[k],
            clothes=painter.GIRL_CLOTHES[k % 12],
            hair_style=painter.HAIR_STYLES[k % 10],
            accessory=painter.ACCESSORIES[k % 8],
            mouth=painter.MOUTHS[k % 7],
            bangs=painter.BANGS[k % 4],
            framing=painter.FRAMINGS[(k + k // 10) % 4],
            hand_up=k % 3 == 0,
            microphone=k % 4 == 1,
        )
        yield f"portrait {k} {style}", painter.render(a, rng.random())
    rng = random.Random("pixels-stage")
    a = replace(
        painter.sample_portrait(rng), background="stage", lights=list(painter.STAGE_LIGHTS), glow_in_the_dark=True
    )
    yield "stage", painter.render(a, 0.5)


def thing_cases(painter: Any) -> Iterator[tuple[str, Any]]:
    """Names and pictures of every thing, and of every fault."""
    styles = [*painter.BASE_STYLES, *painter.HELD_OUT_STYLES]
    for k, thing in enumerate(painter.THINGS):
        rng = random.Random(f"pixels-{thing}")
        subject = replace(painter.sample_subject(rng, style=styles[k % 10], clean=True), thing=thing)
        yield f"thing {thing}", painter.render_subject(subject, rng.random())
    for fault in painter.FAULTS:
        rng = random.Random(f"pixels-{fault}")
        a = replace(painter.sample_portrait(rng, style="anime style"), fault=fault, fault_strength=0.6)
        yield f"fault {fault}", painter.render(a, rng.random())


def held_out_cases(painter: Any) -> Iterator[tuple[str, Any]]:
    """Names and pictures of the animal ears and of the character."""
    for kind in painter.ANIMAL_EARS:
        rng = random.Random(f"pixels-{kind}")
        yield kind, painter.render(painter.with_ears(rng, kind), rng.random())
    for k in range(2):
        rng = random.Random(f"pixels-character-{k}")
        yield f"character {k}", painter.render(painter.named_character(rng), rng.random())


def picture_hashes(painter: Any) -> dict[str, str]:
    """sha256 of the pixels of every case."""
    cases = [*portrait_cases(painter), *thing_cases(painter), *held_out_cases(painter)]
    return {name: hashlib.sha256(picture.tobytes()).hexdigest() for name, picture in cases}


def text_hashes(painter: Any) -> dict[str, str]:
    """sha256 of the captions of the first 200 pictures of the base set, and of their exact attributes."""
    items = [painter.base_item(number) for number in range(200)]
    captions = "\n".join(item[1] for item in items)
    truths = "\n".join(repr(item[2]) for item in items)
    pixels = b"".join(item[0].tobytes() for item in items)
    return {
        "captions": hashlib.sha256(captions.encode()).hexdigest(),
        "attributes": hashlib.sha256(truths.encode()).hexdigest(),
        "pixels": hashlib.sha256(pixels).hexdigest(),
    }
