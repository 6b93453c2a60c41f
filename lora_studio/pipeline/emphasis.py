"""What the weights of words do to their embeddings, by name.

    original  z' = w z · mean(z) / mean(w z)     AUTOMATIC1111 stable-diffusion-webui v1.10.1, modules/sd_emphasis.py
    no norm   z' = w z                           the same file
    comfy     z' = z0 + w (z - z0)               ComfyUI, comfy/sd1_clip.py, `encode_token_weights`
    compel    (z' + Σ t_i z'_i) / (1 + Σ t_i)    compel, src/compel/embeddings_provider.py

w is a token's weight, z a chunk of the text encoder's output and z0 that of the empty chunk. In compel's formula z' is
comfy's, and for each span i of weight w_i < 1 z'_i is the same of the text with that span hidden from attention and
t_i = tan((1 - w_i) π/2). In all of them begin, end and padding have weight 1, and a text without weights is left as it
is, bit for bit.

Different on purpose: A1111 takes its means over all texts of a schedule together, so that the words of one step weigh
on another; here over each chunk of each text alone, so that a step's embeddings are those of its text. Where the mean
after weighting is 0, nothing is restored (A1111 makes NaN). It does not know tokens or models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LEAST = 1e-5
"""Smallest weight in compel's tangent: at 0 it would be infinite."""


def multiplied(z: Tensor, weights: Tensor, *, restore_mean: bool) -> Tensor:
    """A1111's ways; z (length, width), weights (length,)."""
    weighted = z * weights[:, None]
    if not restore_mean:
        return weighted
    ratio = z.mean() / weighted.mean()
    return weighted * torch.where(ratio.isfinite(), ratio, torch.ones_like(ratio))


def from_empty(z: Tensor, weights: Tensor, empty: Tensor) -> Tensor:
    """ComfyUI's way; z and empty (length, width), weights (length,). Tokens of weight 1 keep their very bits."""
    return torch.where((weights == 1)[:, None], z, empty + weights[:, None] * (z - empty))


def share_of_hidden(weight: float) -> float:
    """compel's t for a span of this weight (below 1)."""
    return math.tan((1 - max(LEAST, weight)) * math.pi / 2)


def blended(whole: Tensor, hidden: Sequence[tuple[float, Tensor]], total: float) -> Tensor:
    """compel's mean for one chunk.

    Args:
        whole: (length, width), the chunk with every span in sight.
        hidden: for each span below 1 in this chunk its t, and the chunk (length, width) with that span hidden.
        total: the sum of t over all such spans of the text, those of other chunks too; they leave this one as it is.
    """
    own = sum(share for share, _ in hidden)
    mixed = whole * ((1 + total - own) / (1 + total))
    for share, without in hidden:
        mixed = mixed + without * (share / (1 + total))
    return mixed
