"""What the text says to the model, as a list over the steps.

A conditioning is a tuple of segments, each valid up to its last step, each a weighted sum of text conditions:
schedules, composition by AND and unequal lengths fit in without a rebuild. This module holds the form, what is asked
of a family, padding and batching; how a text becomes embeddings is its family's business.

Different on purpose: A1111 fills the shorter texts of one schedule up with encoded empty chunks and the shorter parts
of an AND with their last vector, since its tensors must be of one length. Here each text keeps its own length and a
mask hides what fills a batch, so that a text means the same wherever it stands; `pad_prompts` fills up the pair of
prompt and negative prompt as A1111's setting of that name does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.pipeline.calls import Mix
from lora_studio.prompt.chunks import Chunk

FOREVER = 2**31


@dataclass(frozen=True, eq=False)
class WantedText:
    """One text to encode.

    Attributes:
        chunks: its tokens with their weights, at least one chunk.
        embeddings: those that the chunks hold, by the name they have there.
        mix: adapters with the weights at which they act on the text encoder.
        clip_skip: layer of the text encoder to read, from its end; 1 is the last.
        emphasis: one of `types.EMPHASES`.
        negative: True for a text of the negative side: some families know no words there as zeros.
        learning: gradients flow from the condition to the vectors of the embeddings (never to the text encoder).
    """

    chunks: tuple[Chunk, ...]
    embeddings: Mapping[str, TextEmbedding] = field(default_factory=dict)
    mix: Mix = ()
    clip_skip: int = 1
    emphasis: str = "original"
    negative: bool = False
    learning: bool = False

    @property
    def is_empty(self) -> bool:
        """True without any token or embedding."""
        return not any(chunk.tokens or chunk.embeddings for chunk in self.chunks)


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


def pad_alike(
    positive: Conditioning, negative: Conditioning, empty: TextCondition
) -> tuple[Conditioning, Conditioning]:
    """Both with empty chunks behind the shorter texts, so that at each step all texts have one length.

    A1111's "pad prompt/negative prompt to be same length" (modules/sd_samplers_cfg_denoiser.py, `pad_cond_uncond`).

    Args:
        positive, negative: what the prompts say.
        empty: the empty text, of one chunk.
    """
    padded: dict[tuple[int, int], Tensor] = {}  # each text and length once, however many steps they hold at

    def pad(part: TextCondition, length: int) -> TextCondition:
        count = (length - part.embeddings.shape[0]) // empty.embeddings.shape[0]
        if not count:
            return part
        key = (id(part.embeddings), count)
        if key not in padded:
            padded[key] = torch.cat([part.embeddings, *[empty.embeddings] * count])
        return replace(part, embeddings=padded[key])

    sides: tuple[list[Segment], list[Segment]] = ([], [])
    for last_step in sorted({segment.last_step for segment in (*positive, *negative)}):
        both = at_step(positive, last_step), at_step(negative, last_step)
        longest = max(part.embeddings.shape[0] for parts in both for part in parts)
        for side, parts in zip(sides, both, strict=True):
            side.append(Segment(last_step, tuple(pad(part, longest) for part in parts)))
    return tuple(sides[0]), tuple(sides[1])


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


def pooled_batch(conditions: Sequence[TextCondition]) -> Tensor | None:
    """The pooled vectors (rows, pooled width) of texts, None where one of them has none."""
    vectors = [c.pooled for c in conditions if c.pooled is not None]
    return torch.stack(vectors) if len(vectors) == len(conditions) else None
