"""Which family of models a LoRA file was made for, and the layers that the known ones have.

The header may say it; the tensors do in any case, by their names and by the width of the texts that they read (768 of
SD 1.x, 1024 of SD 2.x, 2048 of SDXL). Where both speak and differ, the tensors are right. It does not know formats.

Sources: kohya-ss/sd-scripts library/sai_model_spec.py (`modelspec.architecture`) and train_network.py
(`ss_base_model_version`); invoke-ai/InvokeAI backend/model_manager (families by tensors).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch

from lora_studio.adapters.canonical import LayerShape

USABLE = ("sd1", "sd2", "sdxl")
"""Families whose architecture a base here can have."""

_HEADER = (
    (r"stable-diffusion-xl|sdxl", "sdxl"),
    (r"stable-diffusion-v2|sd_v2|sd2", "sd2"),
    (r"stable-diffusion-v1|sd_v1|sd1|sd_1", "sd1"),
    (r"stable-diffusion-3|sd3", "sd3"),
    (r"flux-?2|flux\.2", "flux2"),
    (r"flux", "flux"),
    (r"chroma", "chroma"),
    (r"cascade", "cascade"),
    (r"wan", "wan"),
    (r"hunyuan", "hunyuan-video"),
    (r"hidream", "hidream"),
    (r"qwen", "qwen-image"),
    (r"z-?image", "z-image"),
    (r"lumina", "lumina2"),
    (r"ltx", "ltx-video"),
    (r"pixart", "pixart"),
    (r"sana", "sana"),
)

_NAMES = (
    (r"lora_te2_|text_encoder_2\.|label_emb|add_embedding", ""),
    (
        r"double_stream_modulation|single_stream_modulation|lora_unet_single_transformer_blocks_\d+_attn_to_qkv_mlp",
        "flux2",
    ),
    (r"distilled_guidance_layer", "chroma"),
    (
        # FLUX has 19 and 38 blocks under the same names, and calls these layers otherwise.
        r"double_blocks[._](19|[2-9]\d)[._]|single_blocks[._](3[89]|[4-9]\d)[._]"
        r"|_blocks[._]\d+[._]((img|txt)_mlp[._]fc|(img|txt)_mod[._]linear|modulation[._]linear)",
        "hunyuan-video",
    ),
    (r"single_transformer_blocks[._]|double_blocks[._]|single_blocks[._]\d+[._](linear1|linear2)", "flux"),
    (r"joint_blocks|lora_unet_joint_blocks|context_block", "sd3"),
    (r"individual_token_refiner|lora_unet_txt_in_individual", "hunyuan-video"),
    (r"lora_prior_unet|down_blocks\.\d+\.\d+\.channelwise", "cascade"),
    (r"(^|[._])blocks[._]\d+[._](self_attn|cross_attn|ffn)[._]", "wan"),
    (r"double_stream_blocks|single_stream_blocks", "hidream"),
    (r"transformer_blocks[._]\d+[._](img|txt)_m(lp|od)|img_mlp", "qwen-image"),
    (r"noise_refiner|context_refiner", "z-image"),
    (r"(^|[._])layers[._]\d+[._](attention|adaLN|feed_forward)", "lumina2"),
)
_UNET = re.compile(r"(down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block)[._]")
_DIT = re.compile(r"^(transformer\.|lora_transformer_|base_model\.model\.transformer_blocks|transformer_blocks\.)")


def said(metadata: Mapping[str, str]) -> str:
    """The family that a header names, "" where it names none that is known."""
    for key in ("modelspec.architecture", "ss_base_model_version", "baseModel", "base_model_name"):
        text = metadata.get(key, "").casefold()
        own = re.match(r"(lora-studio-[a-z-]+?)(?:-v\d+)?(?:/lora)?\Z", text)
        if own is not None:
            return own[1]
        for pattern, family in _HEADER:
            if text and re.search(pattern, text):
                return family
    if metadata.get("ss_v2", "").casefold() == "true":
        return "sd2"
    return ""


def by_names(names: Collection[str]) -> str:
    """The family that tensor names show when it is no UNet's: "" for UNets and for nothing known."""
    sample = list(names)
    if any(_UNET.search(name) for name in sample):
        return "cascade" if any("lora_prior_unet" in name for name in sample) else ""
    for pattern, family in _NAMES[1:]:
        found = re.compile(pattern)
        if any(found.search(name) for name in sample):
            return family
    return "transformer" if any(_DIT.match(name) for name in sample) else ""


def by_shapes(widths: Mapping[str, tuple[int, ...]], names: Collection[str]) -> str:
    """sd1, sd2 or sdxl of a UNet's or text encoder's file, "" where its tensors do not tell.

    Args:
        widths: module name to (out, in, ...) as far as the factors tell.
        names: of all modules.
    """
    for name, shape in widths.items():
        if len(shape) >= 2 and re.search(r"attn2[._](processor[._])?to_[kv]\Z", name):
            found = {768: "sd1", 1024: "sd2", 2048: "sdxl"}.get(shape[1])
            if found:
                return found
    if any(re.search(_NAMES[0][0], name) for name in names):
        return "sdxl"
    deep = re.compile(r"transformer_blocks[._](\d{1,3})")
    if any(_UNET.search(name) and (match := deep.search(name)) and int(match[1]) >= 1 for name in names):
        return "sdxl"
    for name, shape in widths.items():
        if len(shape) == 2 and re.search(r"self_attn[._][qkv]_proj\Z", name):
            # SDXL's first text encoder is SD 1.x's; `lora_te_` tells, `lora_te1_` (always diffusers') does not.
            found = {768: "sd1", 1024: "sd2"}.get(shape[1], "")
            return found if found == "sd2" or name.startswith("lora_te_") else ""
    return ""


def of_layers(layers: Mapping[str, LayerShape]) -> str:
    """The family of a base with these layers, "" for one of an architecture of its own."""
    widths = {layer.shape[1] for key, layer in layers.items() if key.endswith("attn2.to_k") and key.startswith("unet.")}
    if "unet.add_embedding.linear_1" in layers or any(key.startswith("text_encoder_2.") for key in layers):
        return "sdxl"
    return {768: "sd1", 1024: "sd2"}.get(next(iter(widths), 0), "") if len(widths) == 1 else ""


def known_layers(family: str) -> dict[str, LayerShape]:
    """The layers of a known family (`USABLE`), without any weights: so a file can be read where no base is loaded.

    Raises:
        KeyError: the family is none of these.
    """
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    unet, *texts = _configs()[family]
    with torch.device("meta"):
        trees: dict[str, torch.nn.Module] = {"unet": UNet2DConditionModel(**unet)}
        trees["text_encoder"] = CLIPTextModel(CLIPTextConfig(**texts[0]))
        if len(texts) > 1:
            trees["text_encoder_2"] = CLIPTextModelWithProjection(CLIPTextConfig(**texts[1]))
    return {key: layer for name, tree in trees.items() for key, layer in layers_of(name, tree).items()}


def layers_of(component: str, tree: torch.nn.Module) -> dict[str, LayerShape]:
    """The layers of one module tree that an adapter may change: linear, convolutions, group and layer norms."""
    kinds = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.GroupNorm, torch.nn.LayerNorm)
    found = {}
    for path, module in tree.named_modules():
        if isinstance(module, kinds) and module.weight is not None and module.weight.dim() in (1, 2, 4):
            found[f"{component}.{path}"] = LayerShape(tuple(module.weight.shape))
    return found


def _configs() -> dict[str, tuple[dict[str, Any], ...]]:
    """What `config.json` of each family's modules says where it differs from the classes' own defaults."""
    down = ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D")
    up = ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D")
    four: dict[str, Any] = {
        "block_out_channels": (320, 640, 1280, 1280),
        "down_block_types": down,
        "up_block_types": up,
    }
    clip: dict[str, Any] = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }
    return {
        "sd1": ({**four, "cross_attention_dim": 768, "attention_head_dim": 8}, clip),
        "sd2": (
            {
                **four,
                "cross_attention_dim": 1024,
                "attention_head_dim": (5, 10, 20, 20),
                "use_linear_projection": True,
            },
            {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16},
        ),
        "sdxl": (
            {
                "block_out_channels": (320, 640, 1280),
                "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                "transformer_layers_per_block": (1, 2, 10),
                "cross_attention_dim": 2048,
                "attention_head_dim": (5, 10, 20),
                "use_linear_projection": True,
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 2816,
            },
            clip,
            {
                "hidden_size": 1280,
                "intermediate_size": 5120,
                "num_hidden_layers": 32,
                "num_attention_heads": 20,
                "projection_dim": 1280,
            },
        ),
    }
