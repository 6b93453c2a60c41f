"""Writes the base set and the LoRA sets to a folder.

Every picture depends on its number alone, so any number of processes gives the same result.

Base set: images.npy (uint8, count x 128 x 128 x 3), captions.json, meta.json, words.json.
LoRA sets: lora/<name>/train (24 PNG and txt) and lora/<name>/test (60, never to be trained on; in pairs with and
without the held-out thing where there is such a pair: for a style, `without` is anime style; the character has none).
"""

from __future__ import annotations

import collections
import json
import multiprocessing
import random
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pretrain.painter.attributes import sample_portrait
from pretrain.painter.captions import caption, count_tokens, portrait_tags
from pretrain.painter.held_out import CHARACTER, HELD_OUT_WORDS, SIZE, Item, character_item, ears_item, style_item
from pretrain.painter.portrait import render
from pretrain.painter.styles import HELD_OUT_STYLES
from pretrain.painter.subjects import render_subject, sample_subject, subject_caption
from pretrain.painter.words import ANIMAL_EARS

SUBJECT_SHARE = 0.12
TRAIN_COUNT, TEST_COUNT = 24, 60
BaseItem = tuple[NDArray[np.uint8], str, dict[str, Any]]


# ---------------------------------------------------------------- the base set
def base_item(number: int) -> BaseItem:
    """Picture (128, 128, 3), caption and exact attributes of one number of the base set."""
    rng = random.Random(f"base-{number}")
    if rng.random() < SUBJECT_SHARE:
        subject = sample_subject(rng)
        picture = render_subject(subject, rng.random(), SIZE)
        return picture, subject_caption(subject, rng), {"kind": "subject", **subject.as_dict()}
    portrait = sample_portrait(rng)
    picture = render(portrait, rng.random(), SIZE)
    truth = {"kind": "portrait", "tags": portrait_tags(portrait), **portrait.as_dict()}
    return picture, caption(portrait, rng), truth


def build_base(out: Path, count: int, processes: int = 1) -> None:
    """Writes images.npy, captions.json, meta.json and words.json; ValueError if a held-out word is in a caption."""
    images = np.lib.format.open_memmap(out / "images.npy", "w+", np.uint8, (count, SIZE, SIZE, 3))
    captions, meta = [], []
    start = time.time()
    for number, (picture, text, attributes) in enumerate(_items(count, processes)):
        images[number] = picture
        captions.append(text)
        meta.append(attributes)
        if (number + 1) % 2000 == 0:
            print(f"{number + 1} pictures in {time.time() - start:.1f} s", flush=True)
    images.flush()
    _write_json(out / "captions.json", captions)
    _write_json(out / "meta.json", meta)
    words = count_words(captions)
    _write_json(out / "words.json", words, indent=1)
    leaked = HELD_OUT_WORDS & set(words["words"])
    if leaked:
        raise ValueError(f"held-out words in the base captions: {sorted(leaked)}")


def _items(count: int, processes: int) -> Iterator[BaseItem]:
    """All items in order, from one or several processes."""
    if processes <= 1:
        yield from map(base_item, range(count))
        return
    with multiprocessing.Pool(processes) as pool:
        yield from pool.imap(base_item, range(count), chunksize=64)


def count_words(captions: list[str]) -> dict[str, Any]:
    """Counts of words and of whole tags, and the token lengths."""
    words: collections.Counter[str] = collections.Counter()
    tags: collections.Counter[str] = collections.Counter()
    for text in captions:
        words.update(re.findall(r"[^\s,]+", text))
        tags.update(text.split(", "))
    tokens = [count_tokens(text) for text in captions]
    return {
        "captions": len(captions),
        "longest_tokens": max(tokens),
        "mean_tokens": sum(tokens) / len(tokens),
        "words": dict(words.most_common()),
        "tags": dict(tags.most_common()),
    }


def _write_json(path: Path, value: object, indent: int | None = None) -> None:
    """Writes one JSON file."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent), encoding="utf-8")


# ---------------------------------------------------------------- LoRA sets
def save_pair(folder: Path, number: int, picture: NDArray[np.uint8], text: str) -> None:
    """One picture as PNG with its caption as txt beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / f"{number:02d}.png")
    (folder / f"{number:02d}.txt").write_text(text + "\n", encoding="utf-8")


def build_set(root: Path, item_of: Callable[[str, int], Item], paired: bool) -> None:
    """One LoRA set: training pictures, and test pictures with their counterparts where paired."""
    for part, count in (("train", TRAIN_COUNT), ("test", TEST_COUNT)):
        records = []
        for number in range(count):
            item = item_of(part, number)
            both = paired and part == "test"
            save_pair(root / ("test/with" if both else part), number, item.picture(), item.caption)
            if both:
                save_pair(root / "test/without", number, item.plain_picture(), item.plain_caption or "")
            records.append(item.record(both))
        _write_json(root / part / "meta.json", records, indent=1)


def build_lora(out: Path) -> None:
    """All held-out sets."""
    for kind in ANIMAL_EARS:
        build_set(out / "lora" / kind.replace(" ", "_"), partial(ears_item, kind), True)
    for style in HELD_OUT_STYLES:
        build_set(out / "lora" / style.replace(" ", "_"), partial(style_item, style), True)
    build_set(out / "lora" / CHARACTER.replace(" ", "_"), character_item, False)
