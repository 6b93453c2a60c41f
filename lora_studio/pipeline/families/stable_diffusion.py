"""The Stable Diffusion 1.x/2.x architecture: one CLIP text encoder, an AutoencoderKL, a UNet2DConditionModel.

The embedded base has this architecture at a small size and a name of its own. What a base says of itself in
`lora_studio.json` (title, defaults) comes before what is derived from its configs.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.errors import InvalidInput
from lora_studio.pipeline.calls import Mix, Turn
from lora_studio.pipeline.clip import ClipEncoder
from lora_studio.pipeline.conditioning import TextCondition, WantedText
from lora_studio.pipeline.device import Precision
from lora_studio.pipeline.slots import AdapterSlots
from lora_studio.types import BaseDefaults


@dataclass(eq=False)
class StableDiffusion:
    """See `Family`."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel
    clip: ClipEncoder
    slots: AdapterSlots
    precision: Precision
    name: str
    architecture: str
    bucket_step: int
    size_step: int
    defaults: BaseDefaults

    def encode_text(self, texts: Sequence[str], mixes: Sequence[Mix]) -> list[TextCondition]:
        """Conditions (77, width) of captions as they stand; what goes beyond 75 tokens is not read."""
        encoded = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        with self.precision.inference(), self.slots.active(mixes):
            hidden = self.text_encoder(encoded.input_ids.to(self.text_encoder.device))[0]
        return [TextCondition(embeddings=row.float()) for row in hidden]

    @property
    def text_layers(self) -> int:
        """Layers of the text encoder."""
        return self.clip.layers

    def encode(self, texts: Sequence[WantedText]) -> Generator[Turn, None, list[TextCondition]]:
        """Conditions (77 · chunks, width) of `texts`; see `ClipEncoder.encode`."""
        return self.clip.encode(texts)

    def check_embedding(self, embedding: TextEmbedding) -> None:
        """Raise `InvalidInput` where its vectors do not fit this base."""
        widths = {key: int(tensor.shape[-1]) for key, tensor in embedding.vectors.items()}
        if widths != {self.clip.key: self.clip.width}:
            given = ", ".join(f"{key} {width}" for key, width in widths.items())
            raise InvalidInput(
                f"The embedding {embedding.name!r} has vectors of other text encoders ({given}); this base reads "
                f"{self.clip.key} {self.clip.width}; use an embedding that was made for this kind of base.",
                code="embedding_other_base",
                name=embedding.name,
                given=given,
                allowed=f"{self.clip.key} {self.clip.width}",
            )

    def unet_arguments(self, embeddings: Tensor, mask: Tensor | None, size: tuple[int, int]) -> dict[str, Tensor]:
        """The text alone."""
        arguments = {"encoder_hidden_states": embeddings}
        if mask is not None:
            arguments["encoder_attention_mask"] = mask
        return arguments


def family_of(
    unet: UNet2DConditionModel,
    vae: AutoencoderKL,
    text: tuple[CLIPTokenizer, CLIPTextModel],
    slots: AdapterSlots,
    precision: Precision,
    card: dict[str, Any],
) -> StableDiffusion:
    """The family of a loaded base.

    Args:
        card: what the base says of itself (`lora_studio.json`), {} where it says nothing.
    """
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    down = 2 ** (len(unet.config.block_out_channels) - 1)
    width = int(unet.config.cross_attention_dim)
    known = {768: ("sd1", "stable-diffusion-v1"), 1024: ("sd2", "stable-diffusion-v2-512")}
    name, architecture = known.get(width, (f"sd-width-{width}", f"stable-diffusion-custom-{width}"))
    return StableDiffusion(
        tokenizer=text[0],
        text_encoder=text[1],
        clip=ClipEncoder(text[1], text[0], slots, precision, "clip_l"),
        slots=slots,
        precision=precision,
        name=card.get("family", name),
        architecture=card.get("architecture", architecture),
        bucket_step=factor * down,
        size_step=factor,
        defaults=_defaults(unet, factor, precision, card.get("defaults", {})),
    )


def _defaults(unet: UNet2DConditionModel, factor: int, precision: Precision, said: dict[str, Any]) -> BaseDefaults:
    """What the base says, completed from its UNet's native size; 25 steps at guidance 7 are the family's own."""
    native = unet.config.sample_size
    sides = (native, native) if isinstance(native, int) else tuple(native)
    tokens = sides[0] * sides[1]
    return BaseDefaults(
        width=int(said.get("width", sides[1] * factor)),
        height=int(said.get("height", sides[0] * factor)),
        num_inference_steps=int(said.get("num_inference_steps", 25)),
        guidance_scale=float(said.get("guidance_scale", 7.0)),
        sampler=str(said.get("sampler", "dpmpp_2m")),
        batch_size=int(said.get("batch_size", 1 if precision.device.type == "cpu" and tokens > 1024 else 4)),
        preview_prompts=tuple(said.get("preview_prompts", ())),
    )
