"""What the tests of the workbench share: random changes, running a tool to its end, comparing tensors."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor

from lora_studio.adapters.canonical import Dense, LowRank


def low_rank(seed: int, out: int, into: tuple[int, ...], rank: int) -> LowRank:
    """Random factors of a linear layer ((in,)) or a convolution ((in, kh, kw))."""
    generator = torch.Generator().manual_seed(seed)
    ones = (1, 1) if len(into) == 3 else ()
    up = torch.randn(out, rank, *ones, generator=generator)
    return LowRank(torch.randn(rank, *into, generator=generator), up)


def dense(seed: int, *shape: int) -> Dense:
    """A random dense difference."""
    return Dense(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)))


def finish(job: Generator[Any, None, Any]) -> Any:
    """What a tool returns when all its turns are taken."""
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


def near(one: Tensor, two: Tensor, relative: float = 1e-5) -> bool:
    """True where two tensors differ by at most `relative` of the larger one's norm."""
    return float((one.double() - two.double()).norm()) <= relative * float(two.double().norm().clamp(min=1e-30))
