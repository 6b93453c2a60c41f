"""The Stable Diffusion 1.x/2.x architecture: one CLIP text encoder, an AutoencoderKL, a UNet2DConditionModel.

The embedded base has this architecture at a small size and a name of its own. What a base says of itself in
`lora_studio.json` (title, defaults) comes before what is derived from its configs.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor
from transformers import CLIPTokenizer

from lora_studio.adapters import kohya
from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.pipeline.calls import Mix, ModelCall, Turn
from lora_studio.pipeline.clip import ClipEncoder
from lora_studio.pipeline.conditioning import TextCondition, WantedText
from lora_studio.pipeline.device import Precision
from lora_studio.pipeline.families.defaults import check_widths, defaults_of
from lora_studio.pipeline.parts import Parts
from lora_studio.pipeline.slots import AdapterSlots
from lora_studio.types import BaseDefaults


@dataclass(eq=False)
class StableDiffusion:
    """See `Family`."""

    tokenizer: CLIPTokenizer
    clip: ClipEncoder
    name: str
    architecture: str
    base_version: str
    bucket_step: int
    size_step: int
    defaults: BaseDefaults

    def encode_text(self, texts: Sequence[str], mixes: Sequence[Mix]) -> list[TextCondition]:
        """Conditions (77, width) of captions as they stand; what goes beyond 75 tokens is not read."""
        hidden, pooled = self.clip.encode_ids(token_ids(self.tokenizer, texts), mixes)
        return [TextCondition(row, pooled=vector) for row, vector in zip(hidden, pooled, strict=True)]

    @property
    def text_layers(self) -> int:
        """Layers of the text encoder."""
        return self.clip.layers

    @property
    def text_widths(self) -> dict[str, int]:
        """Width of its token vectors."""
        return {self.clip.key: self.clip.width}

    def encode(self, texts: Sequence[WantedText]) -> Generator[Turn, None, list[TextCondition]]:
        """Conditions (77 · chunks, width) of `texts`; see `ClipEncoder.encode`."""
        return self.clip.encode(texts)

    def check_embedding(self, embedding: TextEmbedding) -> None:
        """Raise `InvalidInput` where its vectors do not fit this base."""
        check_widths(embedding, self.text_widths)

    def unet_arguments(self, call: ModelCall, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
        """The text alone."""
        return text_arguments(call, device, dtype)

    def kohya_name(self, layer: str) -> str:
        """diffusers' module path with underscores."""
        return kohya.kohya_name(layer)

    def lora_state_dict(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
        """As `StableDiffusionPipeline.load_lora_weights` reads it."""
        state, alphas = StableDiffusionPipeline.lora_state_dict(dict(tensors))
        return state, alphas


def token_ids(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Tokens (rows, 77) of captions as they stand, with begin, end and padding; what goes beyond 75 is cut."""
    length = tokenizer.model_max_length
    encoded = tokenizer(list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    ids: Tensor = encoded.input_ids
    return ids


def text_arguments(call: ModelCall, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """What the cross-attention of any UNet reads."""
    arguments = {"encoder_hidden_states": call.embeddings.to(device, dtype)}
    if call.mask is not None:
        arguments["encoder_attention_mask"] = call.mask.to(device)
    return arguments


def build(parts: Parts, slots: AdapterSlots, precision: Precision, card: dict[str, Any]) -> StableDiffusion:
    """The family of a loaded base; `card` is what the base says of itself, {} where it says nothing."""
    factor = 2 ** (len(parts.vae.config.block_out_channels) - 1)
    down = 2 ** (len(parts.unet.config.block_out_channels) - 1)
    width = int(parts.unet.config.cross_attention_dim)
    text = parts.texts[0]
    name, architecture, version = _named(width, parts)
    architecture = card.get("architecture", architecture)
    return StableDiffusion(
        tokenizer=text.tokenizer,
        clip=ClipEncoder(text.model, text.tokenizer, slots, precision, "clip_l"),
        name=card.get("family", name),
        architecture=architecture,
        base_version=version or architecture,
        bucket_step=factor * down,
        size_step=factor,
        # 25 steps at guidance 7 are the family's own.
        defaults=defaults_of(
            parts,
            precision,
            card.get("defaults", {}),
            {"num_inference_steps": 25, "guidance_scale": 7.0, "sampler": "dpmpp_2m", "sample_size": 64},
        ),
    )


def _named(width: int, parts: Parts) -> tuple[str, str, str]:
    """Short name, `modelspec.architecture` and kohya's version of a base with a text of this width."""
    v = parts.scheduler.get("prediction_type") == "v_prediction"
    if width == 768:
        return "sd1", "stable-diffusion-v1", "sd_v1"
    if width == 1024:
        architecture = "stable-diffusion-v2-768-v" if v else "stable-diffusion-v2-512"
        return "sd2", architecture, "sd_v2_v" if v else "sd_v2"
    return f"sd-width-{width}", f"stable-diffusion-custom-{width}", ""
