"""A textual-inversion embedding: a few vectors that stand in a text's place of words.

Source: Gal et al. 2022, "An Image is Worth One Word" (arXiv 2208.01618). It does not know tokens, nor in which text the
name stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class TextEmbedding:
    """One embedding.

    Attributes:
        name: what prompts call it.
        sha256: of the file it came from.
        vectors: by text encoder, `clip_l` (and `clip_g` for SDXL): float32 (n, width).
    """

    name: str
    sha256: str
    vectors: Mapping[str, Tensor]

    @property
    def count(self) -> int:
        """How many vectors it has, which is how many tokens it takes."""
        return next(iter(self.vectors.values())).shape[0]
