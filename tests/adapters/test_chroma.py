"""Chroma: FLUX' blocks under a header of its own, and its distilled guidance, on a tiny model of diffusers'."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from diffusers import ChromaTransformer2DModel
from safetensors.torch import save_file
from torch import Tensor

from lora_studio.adapters import inspect
from lora_studio.adapters.binding import delta
from lora_studio.adapters.workbench.layouts import write
from tests.support.transformers import drawn

WIDTH = 32
SHAPES = {
    "double_blocks_0_img_attn_qkv": (96, 32),
    "double_blocks_0_txt_attn_qkv": (96, 32),
    "double_blocks_0_img_attn_proj": (32, 32),
    "double_blocks_0_txt_mlp_0": (128, 32),
    "double_blocks_0_img_mlp_2": (32, 128),
    "single_blocks_0_linear1": (224, 32),
    "single_blocks_0_linear2": (32, 160),
    "img_in": (32, 4),
    "txt_in": (32, 24),
    "final_layer_linear": (4, 32),
    "distilled_guidance_layer_in_proj": (16, 64),
    "distilled_guidance_layer_layers_0_in_layer": (16, 16),
    "distilled_guidance_layer_layers_0_out_layer": (16, 16),
    "distilled_guidance_layer_out_proj": (32, 16),
}
FUSED = {
    "double_blocks_0_img_attn_qkv": [f"transformer_blocks.0.attn.to_{one}" for one in "qkv"],
    "double_blocks_0_txt_attn_qkv": [f"transformer_blocks.0.attn.add_{one}_proj" for one in "qkv"],
    "single_blocks_0_linear1": [
        *(f"single_transformer_blocks.0.attn.to_{one}" for one in "qkv"),
        "single_transformer_blocks.0.proj_mlp",
    ],
}
ALONE = {
    "double_blocks_0_img_attn_proj": "transformer_blocks.0.attn.to_out.0",
    "double_blocks_0_txt_mlp_0": "transformer_blocks.0.ff_context.net.0.proj",
    "double_blocks_0_img_mlp_2": "transformer_blocks.0.ff.net.2",
    "single_blocks_0_linear2": "single_transformer_blocks.0.proj_out",
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "final_layer_linear": "proj_out",
    "distilled_guidance_layer_in_proj": "distilled_guidance_layer.in_proj",
    "distilled_guidance_layer_layers_0_in_layer": "distilled_guidance_layer.layers.0.linear_1",
    "distilled_guidance_layer_layers_0_out_layer": "distilled_guidance_layer.layers.0.linear_2",
    "distilled_guidance_layer_out_proj": "distilled_guidance_layer.out_proj",
}


def tiny() -> ChromaTransformer2DModel:
    torch.manual_seed(0)
    model = ChromaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        axes_dims_rope=(4, 4, 8),
        approximator_num_channels=64,
        approximator_hidden_dim=16,
        approximator_layers=1,
    )
    return model.eval()


def file(path: Path, names: list[str], metadata: dict[str, str] | None = None) -> dict[str, Tensor]:
    """A file of kohya's and ΔW of each of its modules."""
    draw, tensors, wholes = torch.Generator().manual_seed(3), {}, {}
    for name in names:
        down = torch.randn(3, SHAPES[name][1], generator=draw) * 0.2
        up = torch.randn(SHAPES[name][0], 3, generator=draw) * 0.2
        tensors[f"lora_unet_{name}.lora_down.weight"], tensors[f"lora_unet_{name}.lora_up.weight"] = down, up
        tensors[f"lora_unet_{name}.alpha"] = torch.tensor(6.0)
        wholes[name] = 2 * up @ down
    save_file(tensors, path, metadata=metadata)
    return wholes


def test_a_whole_file_acts_as_its_differences(tmp_path: Path) -> None:
    """W + ΔW is written by plain code into a copy, rows of fused matrices where they belong."""
    wholes = file(tmp_path / "a.safetensors", list(SHAPES))
    adapter, report = inspect(tmp_path / "a.safetensors", "0" * 64)
    assert adapter is not None
    assert (report.family, report.ranks, report.alphas, report.ignored) == ("chroma", (3, 3), (6.0, 6.0), ())
    model = tiny()
    merged = copy.deepcopy(model)
    for name, whole in wholes.items():
        parts = FUSED.get(name) or [ALONE[name]]
        sizes = [merged.get_submodule(part).weight.shape[0] for part in parts]  # type: ignore[union-attr]
        for part, rows in zip(parts, torch.split(whole, sizes), strict=True):
            merged.get_submodule(part).weight.data += rows  # type: ignore[operator]
    ours = copy.deepcopy(model)
    for key, change in adapter.layers.items():
        ours.get_submodule(key.removeprefix("transformer.")).weight.data += delta(change)  # type: ignore[operator]
    wanted = drawn(merged)
    assert (drawn(ours) - wanted).abs().max() < 1e-5 * wanted.abs().max()
    assert (drawn(model) - wanted).abs().max() > 1e-2 * wanted.abs().max()


def test_without_the_guidance_layer_the_header_tells_it_from_flux(tmp_path: Path) -> None:
    names = ["double_blocks_0_img_attn_qkv", "single_blocks_0_linear1"]
    for metadata, family in ((None, "flux"), ({"modelspec.architecture": "chroma/lora"}, "chroma")):
        file(tmp_path / "a.safetensors", names, metadata)
        assert inspect(tmp_path / "a.safetensors", "0" * 64)[1].family == family


def test_ours_to_kohya_and_back(tmp_path: Path) -> None:
    file(tmp_path / "a.safetensors", list(SHAPES))
    adapter, _ = inspect(tmp_path / "a.safetensors", "0" * 64)
    assert adapter is not None
    (part,) = write(adapter.layers, "kohya", torch.float32, sdxl=False, family="chroma")
    save_file(dict(part.tensors), tmp_path / "b.safetensors")
    again, report = inspect(tmp_path / "b.safetensors", "1" * 64)
    assert again is not None
    assert report.family == "chroma"
    assert set(again.layers) == set(adapter.layers)
    for key, change in adapter.layers.items():
        assert torch.allclose(delta(again.layers[key]), delta(change), atol=1e-6)
