"""Which family of models a LoRA file was made for, and the layers that the known ones have.

The header may say it; the tensors do in any case, by their names and widths. Where both speak and differ, the tensors
are right. It does not know formats; what headers say and how families are told apart stands in `lora_studio.headers`.

Source: invoke-ai/InvokeAI backend/model_manager (families by tensors).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lora_studio.adapters.canonical import LayerShape
from lora_studio.adapters.formats.parsed import ModuleParts
from lora_studio.headers.adapter import family_of
from lora_studio.headers.transformers import sides_of, transformer_of
from lora_studio.headers.unets import unet_of

USABLE = ("sd1", "sd2", "sdxl")
"""Families whose architecture a base here can have."""


def said(metadata: Mapping[str, str]) -> str:
    """The family that a header names, "" where it names none that is known."""
    named = family_of(metadata)
    return "" if named.startswith("sd-width-") else named


def by_modules(split: Mapping[str, Mapping[str, str]], tensors: Mapping[str, Tensor]) -> str:
    """The family that modules show when they are no UNet's: "" for UNets and for nothing known.

    Args:
        split: module to the tensor name of each of its parts.
        tensors: by these names.
    """
    return transformer_of(
        {
            module: sides_of({part: tuple(tensors[name].shape) for part, name in parts.items()})
            for module, parts in split.items()
        }
    )


def by_widths(modules: Mapping[str, ModuleParts]) -> str:
    """sd1, sd2 or sdxl of a UNet's or text encoder's file, "" where its tensors do not tell."""
    return unet_of(
        {
            name: sides_of({part: tuple(tensor.shape) for part, tensor in module.tensors.items()})
            for name, module in modules.items()
        }
    )


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
