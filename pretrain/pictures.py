"""The painter's pictures in files: painted by processes, a file each, and read without loading them.

Shard k holds the pictures of the numbers from k * shard on: `images-00000.npy` (uint8, shard x 128 x 128 x 3) and
`captions-00000.json`. A picture depends on its number alone, a shard is there whole or not at all, so that painting
goes on where it was stopped, and more pictures can be added. It does not know torch (processes start quickly), nor
when the painter changed: changed drawings want a new folder.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretrain.files import replacing, write_text
from pretrain.progress import spell
from pretrain.recipe import Pictures

UNSEEN = 10_000_000  # numbers from here on are never trained on


def shard_files(folder: Path, shard: int) -> tuple[Path, Path]:
    """Where a shard's pictures and captions are."""
    return folder / f"images-{shard:05d}.npy", folder / f"captions-{shard:05d}.json"


def paint_shard(folder: Path, shard: int, size: int) -> int:
    """Paints one shard and writes it, the pictures last; returns its number.

    Raises:
        ValueError: a caption has a word that was kept for LoRAs to teach.
    """
    from pretrain.painter import HELD_OUT_WORDS, base_item

    items = [base_item(number) for number in range(shard * size, (shard + 1) * size)]
    captions = [text for _, text, _ in items]
    leaked = HELD_OUT_WORDS & {word for text in captions for word in re.findall(r"[^\s,]+", text)}
    if leaked:
        raise ValueError(f"The painter wrote {sorted(leaked)}, words that the base must not know; mend the painter.")
    images_file, captions_file = shard_files(folder, shard)
    write_text(captions_file, json.dumps(captions))
    with replacing(images_file) as file:
        np.save(file, np.stack([picture for picture, _, _ in items]))
    return shard


def paint(folder: Path, recipe: Pictures) -> int:
    """Paints what is not there yet of `recipe.count` pictures; returns how many it painted.

    Raises:
        ValueError: the folder was painted with another size of shard.
    """
    _check_shards(folder, recipe.shard)
    missing = [k for k in range(recipe.count // recipe.shard) if not shard_files(folder, k)[0].exists()]
    processes = min(recipe.processes or os.cpu_count() or 1, max(1, len(missing)))
    start = time.monotonic()

    def say(done: int) -> None:
        speed = done * recipe.shard / max(1e-9, time.monotonic() - start)
        left = (len(missing) - done) * recipe.shard / speed
        have = recipe.count - (len(missing) - done) * recipe.shard
        print(f"{have} of {recipe.count} pictures, {speed:.0f} a second, ends in {spell(left)}", flush=True)

    if processes == 1:
        for done, k in enumerate(missing, 1):
            paint_shard(folder, k, recipe.shard)
            say(done)
    else:
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            work = [pool.submit(paint_shard, folder, k, recipe.shard) for k in missing]
            for done, future in enumerate(as_completed(work), 1):
                future.result()
                say(done)
    return len(missing) * recipe.shard


def _check_shards(folder: Path, size: int) -> None:
    """Refuses a folder whose shards have another size."""
    first = shard_files(folder, 0)[0]
    if first.exists():
        found = np.load(first, mmap_mode="r").shape[0]
        if found != size:
            raise ValueError(
                f"{folder} holds shards of {found} pictures and the recipe asks for {size}; both must be the same; "
                "set pictures.shard or choose another folder."
            )


class PictureSet:
    """The first `count` pictures of a folder, memory-mapped, with their captions."""

    def __init__(self, folder: Path, recipe: Pictures) -> None:
        _check_shards(folder, recipe.shard)
        files = [shard_files(folder, k) for k in range(recipe.count // recipe.shard)]
        lacking = [images.name for images, captions in files if not (images.exists() and captions.exists())]
        if lacking:
            raise FileNotFoundError(
                f"{folder} lacks {len(lacking)} of {len(files)} files of pictures ({lacking[0]} first); paint them "
                "with `python -m pretrain pictures`."
            )
        self.folder, self.shard = folder, recipe.shard
        self.shards: list[NDArray[np.uint8]] = [np.load(images, mmap_mode="r") for images, _ in files]
        self.captions: list[str] = []
        for _, captions in files:
            self.captions += json.loads(captions.read_text(encoding="utf-8"))

    def __len__(self) -> int:
        return len(self.captions)

    def take(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures (n, h, w, 3) of some numbers."""
        return np.stack([self.shards[i // self.shard][i % self.shard] for i in indices])


def unseen(count: int) -> NDArray[np.uint8]:
    """Pictures (count, 128, 128, 3) that no training sees."""
    from pretrain.painter import base_item

    return np.stack([base_item(UNSEEN + k)[0] for k in range(count)])
