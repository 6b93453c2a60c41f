"""What the text says to the model, as a list over the steps.

A conditioning is a tuple of segments, each valid up to its last step, each a weighted sum of text conditions:
schedules, composition by AND and unequal lengths fit in without a rebuild. This module holds the form and the
batching; how a text becomes embeddings is its family's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

FOREVER = 2**31


@dataclass(frozen=True, eq=False)
class TextCondition:
    """One text.

    Attributes:
        embeddings: (length, width), the text encoder's output.
        mask: (length,) bool, False where attention must not look; None means everywhere.
        pooled: (pooled width,) or None, for families that want it.
        weight: of this text's direction in the denoiser (AND composition); 1 where there is one text.
    """

    embeddings: Tensor
    mask: Tensor | None = None
    pooled: Tensor | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Segment:
    """The texts that hold until `last_step` (counted from 1, inclusive)."""

    last_step: int
    parts: tuple[TextCondition, ...]


Conditioning = tuple[Segment, ...]


def always(condition: TextCondition) -> Conditioning:
    """A conditioning of one text for all steps."""
    return (Segment(FOREVER, (condition,)),)


def at_step(conditioning: Conditioning, step: int) -> tuple[TextCondition, ...]:
    """The texts that hold at `step` (from 1); the last segment holds beyond its end."""
    for segment in conditioning:
        if step <= segment.last_step:
            return segment.parts
    return conditioning[-1].parts


def batch(conditions: Sequence[TextCondition]) -> tuple[Tensor, Tensor | None]:
    """Stack texts of any lengths.

    Returns:
        embeddings (rows, longest, width), zero beyond a row's end, and a mask (rows, longest) bool, None when every
        row is whole.
    """
    longest = max(c.embeddings.shape[0] for c in conditions)
    if all(c.mask is None and c.embeddings.shape[0] == longest for c in conditions):
        return torch.stack([c.embeddings for c in conditions]), None
    first = conditions[0].embeddings
    embeddings = first.new_zeros(len(conditions), longest, first.shape[1])
    mask = torch.zeros(len(conditions), longest, dtype=torch.bool, device=first.device)
    for row, condition in enumerate(conditions):
        length = condition.embeddings.shape[0]
        embeddings[row, :length] = condition.embeddings
        mask[row, :length] = True if condition.mask is None else condition.mask
    return embeddings, mask
