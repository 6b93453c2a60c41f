"""Module trees of tiny size with adapter slots on them, and W + ΔW written into copies of their weights by plain code.

No autoencoder and no tokenizer: what is compared is the output of the UNet and of the text encoders.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_studio.adapters.canonical import CanonicalAdapter, LayerShape
from lora_studio.pipeline.slots import AdapterSlots

Delta = tuple[Tensor | None, Tensor | None]
"""ΔW and Δb of one layer."""

Outputs = dict[str, Tensor]


@dataclass
class TinyModels:
    """Trees by component, with slots.

    Attributes:
        inputs: of the UNet, beside the texts.
    """

    trees: dict[str, nn.Module]
    slots: AdapterSlots
    added: dict[str, Tensor]
    width: int

    @property
    def layers(self) -> Mapping[str, LayerShape]:
        return self.slots.shapes

    def module(self, key: str) -> nn.Module:
        component, _, path = key.partition(".")
        return dict(self.trees[component].named_modules())[path]

    def state(self) -> dict[str, Tensor]:
        """Every parameter and buffer, copied."""
        found = {}
        for name, tree in self.trees.items():
            for key, value in [*tree.named_parameters(), *tree.named_buffers()]:
                found[f"{name}.{key}"] = value.detach().clone()
        return found

    def run(self, rows: int = 1, trees: Mapping[str, nn.Module] | None = None) -> Outputs:
        """Outputs of every tree for fixed inputs, all rows alike."""
        trees = trees or self.trees
        draw = torch.Generator().manual_seed(5)
        latents = torch.randn(1, 4, 8, 8, generator=draw).expand(rows, -1, -1, -1)
        words = torch.randn(1, 7, self.width, generator=draw).expand(rows, -1, -1)
        ids = torch.randint(0, 90, (1, 7), generator=draw).expand(rows, -1)
        found: Outputs = {}
        with torch.no_grad():
            for name, tree in trees.items():
                if name == "unet":
                    extra = {key: value.expand(rows, -1) for key, value in self.added.items()}
                    kwargs = {"added_cond_kwargs": extra} if extra else {}
                    found[name] = tree(latents, torch.full((rows,), 321), words, return_dict=False, **kwargs)[0]
                else:
                    out = tree(ids)
                    found[name] = out.last_hidden_state
                    found[f"{name}.pooled"] = out.text_embeds if hasattr(out, "text_embeds") else out.pooler_output
        return found

    def with_adapter(self, *mixes: tuple[tuple[CanonicalAdapter, float], ...]) -> Outputs:
        """Outputs with the slots active, one row for each mix."""
        with self.slots.active(mixes):
            return self.run(len(mixes))

    def with_deltas(self, deltas: Mapping[str, Delta], weight: float = 1.0) -> Outputs:
        """Outputs of copies whose weights are W + weight · ΔW, and biases b + weight · Δb."""
        trees = {name: copy.deepcopy(tree) for name, tree in self.trees.items()}
        for key, (delta, bias) in deltas.items():
            component, _, path = key.partition(".")
            module = dict(trees[component].named_modules())[path]
            with torch.no_grad():
                if delta is not None:
                    module.weight += weight * delta.reshape(module.weight.shape)
                if bias is not None and module.bias is None:
                    module.bias = nn.Parameter(weight * bias)
                elif bias is not None:
                    module.bias += weight * bias
        return self.run(trees=trees)


def tiny_models(kind: str = "sd", seed: int = 0) -> TinyModels:
    """`sd`: one text encoder, convolutions as projections; `sdxl`: two, linear projections, deeper transformers."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        common = {
            "sample_size": 8,
            "block_out_channels": (16, 32),
            "norm_num_groups": 4,
            "attention_head_dim": 4,
        }
        if kind == "sd":
            unet = UNet2DConditionModel(
                **common,
                layers_per_block=1,
                down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
                cross_attention_dim=24,
            )
            trees: dict[str, nn.Module] = {"unet": unet, "text_encoder": CLIPTextModel(_text(24))}
            added: dict[str, Tensor] = {}
        else:
            unet = tiny_xl_unet(
                **common, cross_attention_dim=56, addition_time_embed_dim=4, projection_class_embeddings_input_dim=56
            )
            trees = {
                "unet": unet,
                "text_encoder": CLIPTextModel(_text(24)),
                "text_encoder_2": CLIPTextModelWithProjection(_text(32)),
            }
            added = {"text_embeds": torch.randn(1, 32), "time_ids": torch.tensor([[8.0, 8, 0, 0, 8, 8]])}
        for tree in trees.values():
            tree.eval().requires_grad_(False)
            for name, parameter in tree.named_parameters():
                if "norm" in name:  # fresh norms are all ones and zeros, which would hide an error
                    parameter += 0.1 * torch.randn_like(parameter)
    return TinyModels(trees, AdapterSlots(trees), added, 24 if kind == "sd" else 56)


def tiny_xl_unet(**sizes: Any) -> UNet2DConditionModel:
    """A UNet of Stable Diffusion XL's architecture: two levels, attention in the deeper one; `sizes` as diffusers'."""
    return UNet2DConditionModel(
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        **sizes,
    )


def _text(width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=100,
        hidden_size=width,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        projection_dim=32,
        max_position_embeddings=16,
        bos_token_id=98,
        eos_token_id=99,
        pad_token_id=99,
    )


def alike(ours: Outputs, theirs: Outputs, row: int = 0) -> float:
    """The largest difference of any output, relative to the largest value of it."""
    return max(
        float((ours[name][row : row + 1] - theirs[name]).abs().max() / theirs[name].abs().max()) for name in theirs
    )
