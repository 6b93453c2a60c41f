"""Every random number is a function of (seed, step, what it is for), so that a resumed training draws what an
uninterrupted one would have drawn.

It knows nothing of what is drawn. Streams of different names are independent (numpy's SeedSequence).
"""

from __future__ import annotations

import zlib

import numpy as np
import torch


def _sequence(seed: int, step: int, stream: str) -> np.random.SeedSequence:
    return np.random.SeedSequence((seed, step, zlib.crc32(stream.encode())))


def numbers(seed: int, step: int, stream: str) -> np.random.Generator:
    """numpy's generator of one step and purpose."""
    return np.random.default_rng(_sequence(seed, step, stream))


def generator(seed: int, step: int, stream: str, device: torch.device | str = "cpu") -> torch.Generator:
    """torch's generator of one step and purpose; a GPU draws other numbers than a CPU, each always the same."""
    state = int(_sequence(seed, step, stream).generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(state & 0x7FFF_FFFF_FFFF_FFFF)


def order(seed: int, epoch: int, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """All numbers below `count` in the order of one epoch."""
    return np.asarray(numbers(seed, epoch, "order").permutation(count), np.int64)
