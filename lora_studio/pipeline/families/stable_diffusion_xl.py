"""Stable Diffusion XL: two CLIP text encoders side by side, a pooled vector, and the size a picture was cut to.

CLIP-L and OpenCLIP bigG read the same chunks of tokens, each with its own padding; of both the layer before the last is
taken as it is, and the two stand beside each other, 768 + 1280 wide. The pooled vector is bigG's projection of the
first chunk. The UNet is told (height, width) of the whole picture, (top, left) of the cut and (height, width) of what
it draws, in pixels.

Clip skip counts from the last layer as everywhere, and SDXL never reads the last one: 1 and 2 are the layer before it,
which is what A1111 and ComfyUI make of "Clip skip: 2" here too; diffusers' `clip_skip` n is our n + 2.

An empty negative prompt is zeros where the base says so (`force_zeros_for_empty_prompt`), the pooled vector too: it was
trained so, and diffusers and A1111 (modules/sd_models_xl.py) draw so.

Source: Podell et al. 2023, arXiv 2307.01952, sections 2.1 and 2.2; diffusers, `StableDiffusionXLPipeline`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTokenizer

from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.adapters.formats.dialects import sdxl_name
from lora_studio.adapters.formats.ldm import LdmNames
from lora_studio.pipeline.calls import Mix, ModelCall, Turn
from lora_studio.pipeline.clip import ClipEncoder, Reading
from lora_studio.pipeline.conditioning import TextCondition, WantedText
from lora_studio.pipeline.device import Precision
from lora_studio.pipeline.families.defaults import check_widths, defaults_of, sampler_of
from lora_studio.pipeline.families.stable_diffusion import text_arguments, token_ids
from lora_studio.pipeline.parts import Parts
from lora_studio.pipeline.slots import AdapterSlots
from lora_studio.types import BaseDefaults

_STEPS, _GUIDANCE = 30, 5.0
"""diffusers' own guidance; its 50 Euler steps look no better than 30."""


@dataclass(eq=False)
class StableDiffusionXL:
    """See `Family`.

    Attributes:
        tokenizers: of CLIP-L and of bigG.
        clips: CLIP-L and bigG.
        original: the names of the UNet's layers in Stability AI's own code.
        zeros_for_empty: an empty negative prompt is zeros.
    """

    tokenizers: tuple[CLIPTokenizer, CLIPTokenizer]
    clips: tuple[ClipEncoder, ClipEncoder]
    unet: UNet2DConditionModel
    original: LdmNames
    zeros_for_empty: bool
    name: str
    architecture: str
    base_version: str
    bucket_step: int
    size_step: int
    defaults: BaseDefaults

    def encode_text(self, texts: Sequence[str], mixes: Sequence[Mix]) -> list[TextCondition]:
        """Conditions (77, 2048) with pooled vectors (1280,) of captions as they stand."""
        read = [
            clip.encode_ids(token_ids(tokenizer, texts), mixes)
            for clip, tokenizer in zip(self.clips, self.tokenizers, strict=True)
        ]
        hidden, pooled = torch.cat([read[0][0], read[1][0]], dim=-1), read[1][1]
        conditions = [TextCondition(row, pooled=vector) for row, vector in zip(hidden, pooled, strict=True)]
        return [
            _zeros(condition) if self.zeros_for_empty and not text else condition
            for text, condition in zip(texts, conditions, strict=True)
        ]

    @property
    def text_layers(self) -> int:
        """Layers of the smaller text encoder."""
        return min(clip.layers for clip in self.clips)

    @property
    def text_widths(self) -> dict[str, int]:
        """Widths of the token vectors of both."""
        return {clip.key: clip.width for clip in self.clips}

    def encode(self, texts: Sequence[WantedText]) -> Generator[Turn, None, list[TextCondition]]:
        """Conditions (77 · chunks, 2048) of `texts` with pooled vectors; see `ClipEncoder.encode`."""
        first = yield from self.clips[0].encode(texts)
        second = yield from self.clips[1].encode(texts)
        conditions = []
        for text, a, b in zip(texts, first, second, strict=True):
            both = TextCondition(torch.cat([a.embeddings, b.embeddings], dim=-1), pooled=b.pooled)
            zeros = self.zeros_for_empty and text.negative and text.is_empty
            conditions.append(_zeros(both) if zeros else both)
        return conditions

    def check_embedding(self, embedding: TextEmbedding) -> None:
        """Raise `InvalidInput` where its vectors do not fit this base."""
        check_widths(embedding, self.text_widths)

    def unet_arguments(self, call: ModelCall, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
        """The text, its pooled vector, and the six numbers of the size."""
        if call.pooled is None:
            raise ValueError("Stable Diffusion XL needs the pooled vector of each text")
        rows, height, width = len(call.latents), *(side * self.size_step for side in call.latents.shape[-2:])
        drawn = torch.tensor([[height, width]] * rows, dtype=torch.float32)
        whole = torch.tensor([[height, width, 0, 0]] * rows, dtype=torch.float32)
        framing = whole if call.framing is None else call.framing.float().cpu()
        added = {
            "text_embeds": call.pooled.to(device, dtype),
            "time_ids": torch.cat([framing, drawn], dim=1).to(device),  # in float32: bfloat16 has no 1234
        }
        return text_arguments(call, device, dtype) | {"added_cond_kwargs": added}

    def kohya_name(self, layer: str) -> str:
        """The names of Stability AI's own code, which kohya's tools write for this family."""
        return sdxl_name(layer, self.original)

    def lora_state_dict(self, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
        """As `StableDiffusionXLPipeline.load_lora_weights` reads it."""
        state, alphas = StableDiffusionXLPipeline.lora_state_dict(dict(tensors), unet_config=self.unet.config)
        return state, alphas


def _zeros(condition: TextCondition) -> TextCondition:
    pooled = None if condition.pooled is None else torch.zeros_like(condition.pooled)
    return TextCondition(torch.zeros_like(condition.embeddings), pooled=pooled)


def build(parts: Parts, slots: AdapterSlots, precision: Precision, card: dict[str, Any]) -> StableDiffusionXL:
    """The family of a loaded base; `card` is what the base says of itself, {} where it says nothing."""
    first, second = parts.texts
    factor = 2 ** (len(parts.vae.config.block_out_channels) - 1)
    readings = [Reading(name, last=2, normed=False) for name, _ in parts.text_encoders]
    clips = [
        ClipEncoder(text.model, text.tokenizer, slots, precision, key, reading)
        for text, key, reading in zip(parts.texts, ("clip_l", "clip_g"), readings, strict=True)
    ]
    own = {
        "num_inference_steps": _STEPS,
        "guidance_scale": _GUIDANCE,
        "sampler": sampler_of(parts.scheduler, "euler"),
        "sample_size": 128,
    }
    return StableDiffusionXL(
        tokenizers=(first.tokenizer, second.tokenizer),
        clips=(clips[0], clips[1]),
        unet=parts.unet,
        original=LdmNames(path for path, _ in parts.unet.named_modules()),
        zeros_for_empty=parts.zeros_for_empty,
        name=card.get("family", "sdxl"),
        architecture=card.get("architecture", "stable-diffusion-xl-v1-base"),
        base_version="sdxl_base_v1-0",
        bucket_step=factor * 2 ** (len(parts.unet.config.block_out_channels) - 1),
        size_step=factor,
        defaults=defaults_of(parts, precision, card.get("defaults", {}), own),
    )
