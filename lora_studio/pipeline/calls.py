"""What a job may yield: what it wants done next.

A job is a Python generator. It is sent the prediction after a `ModelCall`, the pictures after a `NeedPreview`, None
after the others. Between two uses of a model it always yields, so that a cancel costs at most one of them.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.types import EventType, GenerateRequest

Weight = float | tuple[float, ...]
"""The `s` of an adapter; or one for each block of the UNet, and behind them that of all layers outside of blocks."""

Mix = tuple[tuple[CanonicalAdapter, Weight], ...]
"""Adapters with their weights, for one row of a batch."""


@dataclass(frozen=True, eq=False)
class ModelCall:
    """One call of the UNet; only the arbiter makes it, so that it can join the calls of many jobs.

    Attributes:
        latents: (rows, channels, height, width), scaled for the model.
        timesteps: (rows,).
        embeddings: (rows, length, width).
        mask: (rows, length) bool or None.
        mixes: the adapters of each row.
        pooled: (rows, pooled width), each text as one vector, for families that want it; or None.
        framing: (rows, 4), height and width of the picture that a row was cut from and how much was cut off at its top
            and left, in pixels; None where every row is a whole picture.
    """

    latents: Tensor
    timesteps: Tensor
    embeddings: Tensor
    mask: Tensor | None
    mixes: tuple[Mix, ...]
    pooled: Tensor | None = None
    framing: Tensor | None = None


@dataclass(frozen=True)
class Turn:
    """A unit of work was done by the job itself: an optimizer step, a text or a picture encoded or decoded."""


@dataclass(frozen=True)
class WaitElsewhere:
    """It waits for something else than the device, a download or another process, and is asked again a little later."""


@dataclass(frozen=True)
class Blob:
    """Bytes within a report's data; whoever publishes the report stores them and puts their sha256 in their place."""

    data: bytes
    suffix: str


@dataclass(frozen=True)
class Report:
    """An event to publish; it costs no turn. A `Blob` under the key `sha256` is stored first."""

    type: EventType
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class LiveAdapter:
    """An adapter in training, the weight to preview it at, and the embeddings that are learnt with it."""

    adapter: CanonicalAdapter
    weight: float = 1.0
    embeddings: tuple[TextEmbedding, ...] = ()


@dataclass(frozen=True, eq=False)
class NeedPreview:
    """Pictures by the one generate path, with the adapter in training beside the request's own."""

    requests: tuple[GenerateRequest, ...]
    live: LiveAdapter | None = None


Want = ModelCall | Turn | WaitElsewhere | Report | NeedPreview
JobGenerator = Generator[Want, Any, Any]
"""Yields wants, is sent results, returns the job's result."""
