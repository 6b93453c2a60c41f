"""What a kind of base must say of itself.

Everything that differs between Stable Diffusion 1.x, SDXL and what comes after stands behind this class; nothing
above it asks which kind it is.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from torch import Tensor

from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.pipeline.calls import Mix, Turn
from lora_studio.pipeline.conditioning import TextCondition, WantedText
from lora_studio.types import BaseDefaults


class Family(Protocol):
    """A kind of base."""

    name: str
    """Short name: sd1, sd2, or the embedded base's own."""
    architecture: str
    """`modelspec.architecture` without `/lora`."""
    bucket_step: int
    """Sides of training buckets are multiples of this: autoencoder's factor times the UNet's down factor."""
    size_step: int
    """Sides of generated pictures are multiples of this."""
    defaults: BaseDefaults

    @property
    def text_layers(self) -> int:
        """Layers of the text encoder: the largest clip skip."""

    def encode_text(self, texts: Sequence[str], mixes: Sequence[Mix]) -> list[TextCondition]:
        """Conditions of plain captions, each under its own mix of adapters; no language is read in them."""

    def encode(self, texts: Sequence[WantedText]) -> Generator[Turn, None, list[TextCondition]]:
        """Conditions of prompts' texts, in order; one model call per turn, nothing encoded twice."""

    def check_embedding(self, embedding: TextEmbedding) -> None:
        """Raise `InvalidInput` where its vectors do not fit this base."""

    def unet_arguments(self, embeddings: Tensor, mask: Tensor | None, size: tuple[int, int]) -> dict[str, Tensor]:
        """Arguments of the UNet beside latents and timesteps; `size` is (height, width) in pixels."""
