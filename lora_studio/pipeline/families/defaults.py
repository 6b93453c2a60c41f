"""What a family wants where nobody says otherwise, and the errors that families share.

What a base says of itself comes first, then its UNet's native size and its scheduler; numbers that a family alone can
know are handed in. It does not know requests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.errors import InvalidInput
from lora_studio.pipeline.device import Precision
from lora_studio.pipeline.parts import Parts
from lora_studio.types import BaseDefaults
from lora_studio.types.generate import known_sampler


def sampler_of(scheduler: Mapping[str, Any], otherwise: str) -> str:
    """Our name of the sampler that a base's scheduler config names, `otherwise` where it is none of ours."""
    name = known_sampler(str(scheduler.get("_class_name", "")).removesuffix("Scheduler")) or otherwise
    return "dpmpp_2m_karras" if name == "dpmpp_2m" and scheduler.get("use_karras_sigmas") else name


def defaults_of(parts: Parts, precision: Precision, said: Mapping[str, Any], own: Mapping[str, Any]) -> BaseDefaults:
    """What a base wants.

    Args:
        said: what the base says of itself.
        own: the family's num_inference_steps, guidance_scale, sampler, and sample_size, the side of its latents where
            the UNet's config leaves it out.
    """
    factor = 2 ** (len(parts.vae.config.block_out_channels) - 1)
    native = parts.unet.config.sample_size or own["sample_size"]
    sides = (native, native) if isinstance(native, int) else tuple(native)
    tokens = sides[0] * sides[1]
    return BaseDefaults(
        width=int(said.get("width", sides[1] * factor)),
        height=int(said.get("height", sides[0] * factor)),
        num_inference_steps=int(said.get("num_inference_steps", own["num_inference_steps"])),
        guidance_scale=float(said.get("guidance_scale", own["guidance_scale"])),
        sampler=str(said.get("sampler", own["sampler"])),
        batch_size=int(said.get("batch_size", 1 if precision.device.type == "cpu" and tokens > 1024 else 4)),
        preview_prompts=tuple(said.get("preview_prompts", ())),
        guidance_rescale=float(said.get("guidance_rescale", 0.0)),
    )


def check_widths(embedding: TextEmbedding, widths: Mapping[str, int]) -> None:
    """Raise `InvalidInput` where an embedding's vectors are not of the `widths` of a base's text encoders."""
    if embedding.widths != dict(widths):
        given = ", ".join(f"{key} {width}" for key, width in embedding.widths.items())
        allowed = ", ".join(f"{key} {width}" for key, width in widths.items())
        raise InvalidInput(
            f"The embedding {embedding.name!r} has vectors of other text encoders ({given}); this base reads "
            f"{allowed}; use an embedding that was made for this kind of base.",
            code="embedding_other_base",
            name=embedding.name,
            given=given,
            allowed=allowed,
        )
