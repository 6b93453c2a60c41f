"""What a kind of base must say of itself.

Everything that differs between Stable Diffusion 1.x, SDXL and what comes after stands behind this class; nothing
above it asks which kind it is.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.pipeline.calls import Mix, ModelCall, Turn
from lora_studio.pipeline.conditioning import TextCondition, WantedText
from lora_studio.types import BaseDefaults


class Family(Protocol):
    """A kind of base."""

    name: str
    """Short name: sd1, sd2, sdxl, or the embedded base's own."""
    architecture: str
    """`modelspec.architecture` without `/lora`."""
    base_version: str
    """kohya's `ss_base_model_version`."""
    bucket_step: int
    """Sides of training buckets are multiples of this: autoencoder's factor times the UNet's down factor."""
    size_step: int
    """Sides of generated pictures are multiples of this."""
    defaults: BaseDefaults

    @property
    def text_layers(self) -> int:
        """Layers of the text encoder: the largest clip skip."""

    @property
    def text_widths(self) -> dict[str, int]:
        """Width of the token vectors of each text encoder, as embeddings must have them."""

    def encode_text(self, texts: Sequence[str], mixes: Sequence[Mix]) -> list[TextCondition]:
        """Conditions of plain captions, each under its own mix of adapters; no language is read in them.

        An empty caption is what the base knows as no words, the same as an empty negative prompt.
        """

    def encode(self, texts: Sequence[WantedText]) -> Generator[Turn, None, list[TextCondition]]:
        """Conditions of prompts' texts, in order; one model call per turn, nothing encoded twice."""

    def check_embedding(self, embedding: TextEmbedding) -> None:
        """Raise `InvalidInput` where its vectors do not fit this base."""

    def unet_arguments(self, call: ModelCall, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
        """Arguments of the UNet beside latents and timesteps, on `device`, floating-point numbers in `dtype`."""

    def kohya_name(self, layer: str) -> str:
        """What kohya's tools call a layer of this base, given its key (`unet.<module path>`)."""

    def lora_state_dict(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
        """A LoRA file's tensors as diffusers' own loader of this kind of base reads them: state dict and alphas."""
