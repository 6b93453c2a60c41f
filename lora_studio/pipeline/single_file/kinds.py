"""Which kind of base a checkpoint file is, from the names and shapes in its header; what is none is refused by name.

Read are Stable Diffusion 1.x, 2.x and XL in CompVis' and Stability AI's layout (`model.diffusion_model.`,
`first_stage_model.`, `cond_stage_model.` or `conditioner.embedders.`). The marks of other families are those by which
their own code and diffusers (src/diffusers/loaders/single_file_utils.py, CHECKPOINT_KEY_NAMES) know them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lora_studio.adapters.embedding import is_embedding
from lora_studio.errors import BaseUnavailable
from lora_studio.pipeline.single_file.contents import Contents

UNET = "model.diffusion_model."
CLIP_L, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
XL_CLIP_L, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
VAES = ("first_stage_model.", "vae.")

_LORA = ("lora_down", "lora_up", "lora_a.", "lora_b.", ".hada_w", "hada_w1", "lokr_w", "lora_unet_", "lora_te")
_FOREIGN = (
    ("distilled_guidance_layer.", "Chroma"),
    ("single_stream_modulation.", "Flux 2"),
    ("txt_in.individual_token_refiner.", "HunyuanVideo"),
    ("double_blocks.0.img_attn.", "Flux"),
    ("double_stream_blocks.", "HiDream"),
    ("joint_blocks.0.", "Stable Diffusion 3"),
    ("single_transformer_blocks.0.", "Flux"),
    ("transformer_blocks.0.img_mod.", "Qwen-Image"),
    ("double_layers.0.", "AuraFlow"),
    ("cap_embedder.", "Lumina or Z-Image"),
    ("patchify_proj.", "LTX-Video"),
    ("head.modulation", "Wan"),
    ("clip_txt_mapper.", "Stable Cascade"),
    ("clip_mapper.", "Stable Cascade"),
    ("edm_mean", "Playground 2.5"),
    ("motion_modules.", "AnimateDiff"),
    ("net.blocks.", "Cosmos"),
)
_CHANNELS = {9: "inpainting", 8: "InstructPix2Pix", 7: "upscaling", 5: "depth"}

Name = Literal["sd1", "sd2", "sdxl"]


@dataclass(frozen=True)
class Kind:
    """A kind of base that is read, and where its parts begin in the file.

    Attributes:
        name: sd1, sd2 or sdxl; the folder of its configs.
        vae: prefix of the autoencoder's tensors.
        texts: prefix of the tensors of each text encoder.
    """

    name: Name
    vae: str
    texts: tuple[str, ...]

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Where the tensors that are read begin."""
        return (UNET, self.vae, *self.texts)


def kind_of(contents: Contents) -> Kind:
    """The kind of a checkpoint.

    Raises:
        BaseUnavailable: one sentence that says what it is instead, or what it lacks.
    """
    _refuse_others(contents)
    channels = contents.shapes.get(UNET + "input_blocks.0.0.weight", (0, 0, 0, 0))
    if len(channels) != 4 or channels[1] != 4:
        found = channels[1] if len(channels) == 4 else 0
        raise BaseUnavailable(
            f"The base {contents.ref!r} is a model for {_CHANNELS.get(found, 'another task')}: its UNet takes {found} "
            "channels where 4 are drawn from; choose a base for text to image.",
            code="base_channels",
            given=contents.ref,
            task=_CHANNELS.get(found, "another task"),
            channels=str(found),
        )
    vae = next((prefix for prefix in VAES if contents.has(prefix + "decoder.")), None)
    kind = _by_text(contents, vae or VAES[0])
    if vae is None or not contents.has(vae + "encoder."):
        raise _lacks(contents, "autoencoder", VAES[0])
    contents.require(name for name in contents.shapes if name.startswith(kind.prefixes) and "position_ids" not in name)
    return kind


def _by_text(contents: Contents, vae: str) -> Kind:
    """The kind, by its text encoders."""
    if contents.has("conditioner.embedders.") or contents.has(UNET + "label_emb."):
        if contents.has("conditioner.embedders.0.model.") and not contents.has(XL_OPEN_CLIP):
            raise _architecture(contents, "Stable Diffusion XL refiner")
        for prefix in (XL_CLIP_L, XL_OPEN_CLIP):
            if not contents.has(prefix):
                raise _lacks(contents, "text encoder", prefix)
        return Kind("sdxl", vae, (XL_CLIP_L, XL_OPEN_CLIP))
    for name, prefix in (("sd1", CLIP_L), ("sd2", OPEN_CLIP)):
        if contents.has(prefix):
            return Kind("sd1" if name == "sd1" else "sd2", vae, (prefix,))
    raise _lacks(contents, "text encoder", "cond_stage_model.")


def _refuse_others(contents: Contents) -> None:
    """Raise for everything that has no UNet in the layout that is read."""
    names = contents.shapes
    if any(mark in name.casefold() for mark in _LORA for name in names):
        raise BaseUnavailable(
            f"The base {contents.ref!r} is a LoRA, not a base; add it to the library, and load the base that it "
            "was made for.",
            code="base_is_lora",
            given=contents.ref,
        )
    for mark, family in _FOREIGN:
        if any(mark in name for name in names):
            raise _architecture(contents, family)
    if contents.has("control_model.") or any(name.startswith("controlnet_") for name in names):
        raise _architecture(contents, "ControlNet")
    if contents.has(UNET + "input_blocks."):
        return
    if contents.has("down_blocks.") or contents.has("encoder.down_blocks."):
        raise BaseUnavailable(
            f"The base {contents.ref!r} is one part of a base in diffusers' layout; give the folder that holds its "
            "model_index.json.",
            code="base_part",
            given=contents.ref,
        )
    if is_embedding({name: {"shape": list(shape)} for name, shape in names.items()}) if names else False:
        raise _architecture(contents, "embedding")
    raise _lacks(contents, "UNet", UNET)


def _lacks(contents: Contents, part: str, prefix: str) -> BaseUnavailable:
    return BaseUnavailable(
        f"The base {contents.ref!r} holds no {part} (nothing in it is named {prefix}*); a base in one file holds UNet, "
        "autoencoder and text encoder; choose a complete file.",
        code="base_incomplete",
        given=contents.ref,
        part=part,
        prefix=prefix,
    )


def _architecture(contents: Contents, family: str) -> BaseUnavailable:
    return BaseUnavailable(
        f"The base {contents.ref!r} is of another kind ({family}); Stable Diffusion 1.x, 2.x and XL are read here; "
        "choose such a base.",
        code="base_architecture",
        given=contents.ref,
        family=family,
    )
