"""Draws the example sets of `assets/examples`, bit for bit: `python -m pretrain.examples [--out FOLDER] [--set NAME]`.

It chooses numbers of the painter's held-out sets and writes PNG, txt and a README. Which numbers is a rule (`varied`),
not a list, so that a change of the painter shows.
"""

from __future__ import annotations

import argparse
import collections
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pretrain.painter import CHARACTER, HELD_OUT_STYLES, Item, Portrait, character_item, ears_item, style_item
from pretrain.painter.sets import save_pair

EXAMPLES = Path(__file__).resolve().parents[1] / "assets" / "examples"
POOL = 48  # training numbers that the cat ears are chosen from
VARIED = ("hair_colour", "hair_style", "style", "eye_colour", "clothes", "background", "ears_colour")

README = """# {title}

{what}

{count} drawings of 128 x 128 pixels, each with its caption in a .txt file of the same name. Trigger words: {triggers}.
{captions}

All of it was drawn and captioned by this project's own painter (`pretrain/painter`) and can be drawn again, bit for
bit, with `python -m pretrain.examples --set {name}`. There are no third-party pictures in it. Licence: Apache-2.0.
"""


@dataclass(frozen=True)
class ExampleSet:
    """One folder of assets/examples."""

    title: str
    what: str
    triggers: str
    captions: str
    items: Callable[[], list[tuple[Item, str]]]  # what is drawn, and the caption that goes beside it


def varied(pool: list[Item], count: int) -> list[Item]:
    """The items that together show the most: each time the one whose attributes were seen least, or the first such."""
    seen: collections.Counter[tuple[str, object]] = collections.Counter()
    chosen: list[Item] = []
    rest = list(pool)
    while rest and len(chosen) < count:
        scores = [sum(1 / (1 + seen[mark]) for mark in _marks(item)) for item in rest]
        item = rest.pop(scores.index(max(scores)))
        seen.update(_marks(item))
        chosen.append(item)
    return sorted(chosen, key=lambda item: item.number)


def _marks(item: Item) -> list[tuple[str, object]]:
    """The attributes that are to be varied, with their values."""
    return [(name, getattr(item.attributes, name)) for name in VARIED] if isinstance(item.attributes, Portrait) else []


def cat_ears() -> list[tuple[Item, str]]:
    """Sixteen girls with cat ears, hair colours and styles mixed."""
    return [(item, item.caption) for item in varied([ears_item("cat ears", "train", n) for n in range(POOL)], 16)]


def style(name: str) -> list[tuple[Item, str]]:
    """Twenty pictures in one style, two of them things."""
    return [(item, item.caption) for item in (style_item(name, "train", n) for n in range(20))]


def character() -> list[tuple[Item, str]]:
    """Twenty pictures of the character; captions leave the fixed traits to the name."""
    return [(item, item.plain_caption or "") for item in (character_item("train", n) for n in range(20))]


def sets() -> dict[str, ExampleSet]:
    """Every set that can be drawn, by the name of its folder."""
    plain = "The captions say what else is to be seen, so that the LoRA learns the ears alone."
    found = {"cat-ears": ExampleSet("Cat ears", "A thing to teach: girls with cat ears.", "cat ears", plain, cat_ears)}
    for name in HELD_OUT_STYLES:
        found[name.replace(" ", "-")] = ExampleSet(
            name.capitalize(),
            f"A way of drawing to teach: portraits and two things in {name}.",
            name,
            "The captions say what is to be seen, so that the LoRA learns the way of drawing alone.",
            partial(style, name),
        )
    found[CHARACTER.replace(" ", "-")] = ExampleSet(
        CHARACTER.title(),
        "A character to teach: silver twin braids with pink tips, one red and one blue eye, a star on the cheek, a\n"
        "yellow crescent hairpin and a black idol costume.",
        CHARACTER,
        "The captions leave out what never changes, so that the name stands for it.",
        character,
    )
    return found


DEFAULT_SETS = ("cat-ears", "papercut-style", "miko-tsuki")


def write(out: Path, name: str) -> int:
    """Draws one set into out/name and returns the number of its pictures. Files are numbered from 01."""
    example = sets()[name]
    items = example.items()
    for number, (item, text) in enumerate(items, 1):
        save_pair(out / name, number, item.picture(), text)
    text = README.format(
        title=example.title,
        what=example.what,
        count=len(items),
        triggers=example.triggers,
        captions=example.captions,
        name=name,
    )
    (out / name / "README.md").write_text(text, encoding="utf-8")
    return len(items)


def main() -> None:
    """Reads the command line and draws."""
    parser = argparse.ArgumentParser(prog="python -m pretrain.examples", description=__doc__)
    parser.add_argument("--out", type=Path, default=EXAMPLES)
    parser.add_argument("--set", choices=tuple(sets()), action="append", help="only this set; may be repeated")
    options = parser.parse_args()
    for name in options.set or DEFAULT_SETS:
        print(f"{options.out / name}: {write(options.out, name)} pictures")


if __name__ == "__main__":
    main()
