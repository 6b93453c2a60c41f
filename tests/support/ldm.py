"""Tiny bases in diffusers' layout and, with the same weights, as one file in the layout of their makers.

The names of the file are made here on their own, by walking through a model in the order in which CompVis' and
Stability AI's code builds one; nothing of the product is used for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from tests.support.tiny import ASSETS

RESNET = {
    "norm1.": "in_layers.0.",
    "conv1.": "in_layers.2.",
    "time_emb_proj.": "emb_layers.1.",
    "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.",
    "conv_shortcut.": "skip_connection.",
}
ENDS = {
    "conv_in.": "input_blocks.0.0.",
    "time_embedding.linear_1.": "time_embed.0.",
    "time_embedding.linear_2.": "time_embed.2.",
    "add_embedding.linear_1.": "label_emb.0.0.",
    "add_embedding.linear_2.": "label_emb.0.2.",
    "conv_norm_out.": "out.0.",
    "conv_out.": "out.2.",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_names(unet: UNet2DConditionModel) -> dict[str, str]:
    """The beginning of diffusers' names to that of the maker's."""
    names, place = dict(ENDS), 1
    for b, block in enumerate(unet.down_blocks):
        for number in range(len(block.resnets)):
            names[f"down_blocks.{b}.resnets.{number}."] = f"input_blocks.{place}.0."
            names[f"down_blocks.{b}.attentions.{number}."] = f"input_blocks.{place}.1."
            place += 1
        if block.downsamplers:
            names[f"down_blocks.{b}.downsamplers.0.conv."] = f"input_blocks.{place}.0.op."
            place += 1
    for ours, theirs in (("resnets.0", 0), ("attentions.0", 1), ("resnets.1", 2)):
        names[f"mid_block.{ours}."] = f"middle_block.{theirs}."
    place = 0
    for b, block in enumerate(unet.up_blocks):
        for number in range(len(block.resnets)):
            names[f"up_blocks.{b}.resnets.{number}."] = f"output_blocks.{place}.0."
            names[f"up_blocks.{b}.attentions.{number}."] = f"output_blocks.{place}.1."
            place += 1
        behind = 2 if hasattr(block, "attentions") else 1
        names[f"up_blocks.{b}.upsamplers.0.conv."] = f"output_blocks.{place - 1}.{behind}.conv."
    return names


def ldm_unet(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """The UNet's weights under the maker's names, without `model.diffusion_model.`."""
    names, found = unet_names(unet), {}
    for name, tensor in unet.state_dict().items():
        start = next(begin for begin in names if name.startswith(begin))
        rest = name[len(start) :]
        if "resnets" in start:
            inner = next(begin for begin in RESNET if rest.startswith(begin))
            rest = RESNET[inner] + rest[len(inner) :]
        found[names[start] + rest] = tensor
    return found


def ldm_vae(vae: AutoencoderKL) -> dict[str, Tensor]:
    """The autoencoder's weights under the maker's names, without `first_stage_model.`."""
    found, levels = {}, len(vae.config.block_out_channels)
    for name, tensor in vae.state_dict().items():
        parts = name.split(".")
        side = parts[0]
        if "mid_block" in name and "attentions" in name:
            inner = next(key for key in VAE_ATTENTION if f".{key}." in name)
            square = tensor[..., None, None] if tensor.dim() == 2 else tensor
            found[f"{side}.mid.attn_1.{VAE_ATTENTION[inner]}.{parts[-1]}"] = square
            continue
        rest = ".".join(parts[5:]).replace("conv_shortcut", "nin_shortcut")
        if "mid_block.resnets" in name:
            rest = ".".join(parts[4:])
            found[f"{side}.mid.block_{int(parts[3]) + 1}.{rest}"] = tensor
        elif "down_blocks" in name:
            kind = f"block.{parts[4]}.{rest}" if parts[3] == "resnets" else f"downsample.{rest}"
            found[f"{side}.down.{parts[2]}.{kind}"] = tensor
        elif "up_blocks" in name:
            kind = f"block.{parts[4]}.{rest}" if parts[3] == "resnets" else f"upsample.{rest}"
            found[f"{side}.up.{levels - 1 - int(parts[2])}.{kind}"] = tensor
        else:
            found[name.replace("conv_norm_out", "norm_out")] = tensor
    return found


def open_clip(model: Any, projection: Tensor | None) -> dict[str, Tensor]:
    """A text encoder's weights under OpenCLIP's names: one matrix for query, key and value, the projection turned."""
    text = getattr(model, "text_model", model)
    found = {
        "token_embedding.weight": text.embeddings.token_embedding.weight,
        "positional_embedding": text.embeddings.position_embedding.weight,
        "ln_final.weight": text.final_layer_norm.weight,
        "ln_final.bias": text.final_layer_norm.bias,
        "logit_scale": torch.tensor(4.6),
    }
    if projection is not None:
        found["text_projection"] = projection.T
    for number, layer in enumerate(text.encoder.layers):
        block = f"transformer.resblocks.{number}"
        three = [layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]
        found[f"{block}.attn.in_proj_weight"] = torch.cat([one.weight for one in three])
        found[f"{block}.attn.in_proj_bias"] = torch.cat([one.bias for one in three])
        for theirs, module in (
            ("attn.out_proj", layer.self_attn.out_proj),
            ("ln_1", layer.layer_norm1),
            ("ln_2", layer.layer_norm2),
            ("mlp.c_fc", layer.mlp.fc1),
            ("mlp.c_proj", layer.mlp.fc2),
        ):
            found[f"{block}.{theirs}.weight"], found[f"{block}.{theirs}.bias"] = module.weight, module.bias
    return found


# ------------------------------------------------------------ tiny bases
SHARED = {"vocab_size": 49408, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "max_position_embeddings": 77}
SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 1}
CONFIGS = {
    "sd1": {
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 8,
        "cross_attention_dim": 32,
        "sample_size": 64,
    },
    "sd2": {
        "block_out_channels": (64, 128),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": (1, 2),
        "cross_attention_dim": 32,
        "use_linear_projection": True,
        "upcast_attention": True,
        "sample_size": 64,
    },
    "sdxl": {
        "block_out_channels": (64, 128),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2),
        "attention_head_dim": (1, 2),
        "cross_attention_dim": 32 + 64,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 64 + 6 * 8,
        "sample_size": 128,
    },
}


def text_models(kind: str) -> list[Any]:
    """The text encoders of a tiny base of this kind."""
    small = CLIPTextConfig(**SHARED, **SMALL, num_hidden_layers=3, projection_dim=32)
    if kind == "sd1":
        return [CLIPTextModel(small)]
    if kind == "sd2":
        return [CLIPTextModel(CLIPTextConfig(**SHARED, **SMALL, num_hidden_layers=2, hidden_act="gelu"))]
    wide = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 1, "hidden_act": "gelu"}
    large = CLIPTextConfig(**SHARED, **wide, num_hidden_layers=3, projection_dim=64)
    return [CLIPTextModel(small), CLIPTextModelWithProjection(large)]


def write_both(folder: Path, kind: str, prediction: str = "epsilon") -> dict[str, Tensor]:
    """Write a tiny base of `kind` (sd1, sd2, sdxl) in diffusers' layout; its tensors as one file has them.

    Sizes follow the makers' conventions (32 norm groups; 8 heads, or 64 channels a head).
    """
    torch.manual_seed(0)
    unet = UNet2DConditionModel(layers_per_block=1, **CONFIGS[kind])
    vae = AutoencoderKL(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        sample_size={"sd1": 512, "sd2": 768, "sdxl": 1024}[kind],
        scaling_factor=0.13025 if kind == "sdxl" else 0.18215,
        force_upcast=kind == "sdxl",
    )
    texts = text_models(kind)
    parts: dict[str, Any] = {"unet": unet, "vae": vae, "text_encoder": texts[0]}
    pads = {"tokenizer": "!" if kind == "sd2" else "<|endoftext|>"}
    if kind == "sdxl":
        parts["text_encoder_2"] = texts[1]
        pads["tokenizer_2"] = "!"
    for name, module in parts.items():
        module.save_pretrained(folder / name)
    for name, pad in pads.items():
        tokenizer = CLIPTokenizer.from_pretrained(ASSETS / "configs" / "clip", model_max_length=77, pad_token=pad)
        tokenizer.save_pretrained(folder / name)
    # The published schedules of these bases, as their folders on the hub have them.
    schedule = json.loads((ASSETS / "configs" / kind / "scheduler.json").read_text()) | {"prediction_type": prediction}
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(schedule))
    pipeline = "StableDiffusionXLPipeline" if kind == "sdxl" else "StableDiffusionPipeline"
    index = {"_class_name": pipeline, "force_zeros_for_empty_prompt": kind == "sdxl"}
    (folder / "model_index.json").write_text(json.dumps(index))
    return one_file(kind, unet, vae, texts)


def one_file(kind: str, unet: Any, vae: Any, texts: list[Any]) -> dict[str, Tensor]:
    """The tensors of the single file."""
    found = {f"model.diffusion_model.{name}": tensor for name, tensor in ldm_unet(unet).items()}
    found |= {f"first_stage_model.{name}": tensor for name, tensor in ldm_vae(vae).items()}
    clip = {f"text_model.{name}": tensor for name, tensor in texts[0].state_dict().items()}
    clip["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    if kind == "sd1":
        found |= {f"cond_stage_model.transformer.{name}": tensor for name, tensor in clip.items()}
    elif kind == "sd2":
        # The file has a last layer that is never read, and a projection.
        more = open_clip(texts[0], torch.randn(32, 32))
        last = len(texts[0].encoder.layers)
        block = "transformer.resblocks."
        more |= {n.replace(f"{block}0.", f"{block}{last}."): t + 1 for n, t in more.items() if f"{block}0." in n}
        found |= {f"cond_stage_model.model.{name}": tensor for name, tensor in more.items()}
    else:
        found |= {f"conditioner.embedders.0.transformer.{name}": tensor for name, tensor in clip.items()}
        large = open_clip(texts[1], texts[1].text_projection.weight)
        found |= {f"conditioner.embedders.1.model.{name}": tensor for name, tensor in large.items()}
    return found


def write_file(tensors: Mapping[str, Tensor], path: Path, **metadata: str) -> Path:
    """Write a safetensors file of these tensors."""
    save_file({n: t.detach().clone().contiguous() for n, t in tensors.items()}, path, metadata=metadata or None)
    return path
