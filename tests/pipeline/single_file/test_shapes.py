"""Configs from shapes: for the real Stable Diffusion 1.5, 2.1 and XL they are the published ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_studio.pipeline.single_file import shapes
from tests.support.ldm import ldm_unet, ldm_vae, open_clip
from tests.support.tiny import ASSETS

PARAMETERS = {"sd1": 859_520_964, "sd2": 865_910_724, "sdxl": 2_567_463_684}
"""Of the real UNets, as their makers count them: 860 M, 866 M, 2.6 B."""


def shipped(kind: str, name: str) -> dict[str, Any]:
    return json.loads((ASSETS / "configs" / kind / f"{name}.json").read_text())


def bare(config: dict[str, Any]) -> dict[str, Any]:
    """A shipped config without anything that shapes tell, so that nothing of it can come through unseen."""
    told = (
        "block_out_channels",
        "down_block_types",
        "up_block_types",
        "layers_per_block",
        "cross_attention_dim",
        "transformer_layers_per_block",
        "use_linear_projection",
        "addition_time_embed_dim",
        "projection_class_embeddings_input_dim",
        "latent_channels",
        "in_channels",
        "out_channels",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "projection_dim",
        "vocab_size",
        "max_position_embeddings",
    )
    # The number of layers stays: of OpenCLIP's 24 layers the published config has 23, and some files too.
    kept = {key: value for key, value in config.items() if key not in told}
    return kept | ({"in_channels": 3, "out_channels": 3} if config.get("_class_name") == "AutoencoderKL" else {})


def sizes(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_the_unets_config(kind: str) -> None:
    published = shipped(kind, "unet")
    with torch.device("meta"):
        real = UNet2DConditionModel.from_config(published)
    assert sum(p.numel() for p in real.parameters()) == PARAMETERS[kind]
    pooled = 1280 if kind == "sdxl" else None
    found = shapes.unet_config(sizes(ldm_unet(real)), bare(published), pooled)
    with torch.device("meta"):
        again = UNet2DConditionModel.from_config(found)
    assert _values(again.config) == _values(real.config)


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_the_autoencoders_config(kind: str) -> None:
    published = shipped(kind, "vae")
    with torch.device("meta"):
        real = AutoencoderKL.from_config(published)
    found = shapes.vae_config(sizes(ldm_vae(real)), bare(published))
    with torch.device("meta"):
        again = AutoencoderKL.from_config(found)
    assert _values(again.config) == _values(real.config)
    assert sum(p.numel() for p in real.parameters()) == 83_653_863


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_clip_ls_config(kind: str) -> None:
    published = shipped(kind, "text_encoder")
    with torch.device("meta"):
        real = CLIPTextModel(CLIPTextConfig(**published))
    found = shapes.clip_config(sizes(real.state_dict()), bare(published) | {"projection_dim": 768})
    assert found == published
    assert sum(p.numel() for p in real.parameters()) == 123_060_480


@pytest.mark.parametrize("in_file", [23, 24])
def test_open_clip_hs_config(in_file: int) -> None:
    """The makers' files have a 24th layer that is never read; some converted ones have left it out."""
    published = shipped("sd2", "text_encoder")
    with torch.device("meta"):
        real = CLIPTextModel(CLIPTextConfig(**(published | {"num_hidden_layers": in_file})))
    tensors = sizes(open_clip(real, None))
    found = shapes.open_clip_config(tensors, bare(published) | {"projection_dim": 512}, projected=False)
    assert found == published


def test_big_gs_config() -> None:
    published = shipped("sdxl", "text_encoder_2")
    with torch.device("meta"):
        real = CLIPTextModelWithProjection(CLIPTextConfig(**published))
    tensors = sizes(open_clip(real, real.text_projection.weight))
    assert shapes.open_clip_config(tensors, bare(published), projected=True) == published
    assert sum(p.numel() for p in real.parameters()) == 694_659_840


def _values(config: Any) -> dict[str, Any]:
    """A config with lists as tuples, without what says where it came from."""
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in dict(config).items()
        if key[0] != "_" or key == "_class_name"
    }
