"""FLUX and Wan under their makers' names and diffusers': the same effect both ways, on a tiny transformer."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders import lora_conversion_utils as theirs
from safetensors.torch import save_file
from torch import Tensor

from lora_studio.adapters import CanonicalAdapter, inspect
from lora_studio.adapters.binding import delta
from lora_studio.adapters.canonical import Decomposed, Dense, LowRank
from lora_studio.adapters.formats import canonical, parse
from lora_studio.adapters.workbench.layouts import named_for, write
from lora_studio.errors import InvalidInput
from tests.support import transformers

SMALL = {
    "double_blocks_0_img_attn_qkv": (96, 32),
    "double_blocks_0_txt_attn_qkv": (96, 32),
    "double_blocks_0_img_attn_proj": (32, 32),
    "double_blocks_0_txt_attn_proj": (32, 32),
    "double_blocks_0_img_mlp_0": (128, 32),
    "double_blocks_0_img_mlp_2": (32, 128),
    "double_blocks_0_txt_mlp_0": (128, 32),
    "double_blocks_0_txt_mlp_2": (32, 128),
    "double_blocks_0_img_mod_lin": (192, 32),
    "double_blocks_0_txt_mod_lin": (192, 32),
    "single_blocks_0_linear1": (224, 32),
    "single_blocks_0_linear2": (32, 160),
    "single_blocks_0_modulation_lin": (96, 32),
    "img_in": (32, 4),
    "txt_in": (32, 24),
    "time_in_in_layer": (32, 256),
    "time_in_out_layer": (32, 32),
    "vector_in_in_layer": (32, 20),
    "guidance_in_out_layer": (32, 32),
    "final_layer_linear": (4, 32),
    "final_layer_adaLN_modulation_1": (64, 32),
}
"""Every kind of layer of a FLUX of width 32, with out and in."""
BLOCK = "transformer.transformer_blocks.0."
SINGLE = "transformer.single_transformer_blocks.0."
FUSED = {
    "double_blocks_0_img_attn_qkv": [f"{BLOCK}attn.to_{one}" for one in "qkv"],
    "double_blocks_0_txt_attn_qkv": [f"{BLOCK}attn.add_{one}_proj" for one in "qkv"],
    "single_blocks_0_linear1": [*(f"{SINGLE}attn.to_{one}" for one in "qkv"), f"{SINGLE}proj_mlp"],
}


def kohya(names: dict[str, tuple[int, int]], rank: int = 4) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    tensors = {}
    for name, (out, inputs) in names.items():
        tensors[f"lora_unet_{name}.lora_down.weight"] = torch.randn(rank, inputs, generator=draw) * 0.2
        tensors[f"lora_unet_{name}.lora_up.weight"] = torch.randn(out, rank, generator=draw) * 0.2
        tensors[f"lora_unet_{name}.alpha"] = torch.tensor(rank / 2)
    return tensors


def whole(tensors: dict[str, Tensor], name: str) -> Tensor:
    """ΔW of a file's module, alpha being half the rank."""
    return 0.5 * tensors[f"lora_unet_{name}.lora_up.weight"] @ tensors[f"lora_unet_{name}.lora_down.weight"]


def read(tensors: dict[str, Tensor], path: Path) -> CanonicalAdapter:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    parsed = parse(path)
    assert parsed.family == "flux"
    return canonical(parsed)


def tiny() -> FluxTransformer2DModel:
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=20,
        guidance_embeds=True,
        axes_dims_rope=(4, 4, 8),
    ).eval()


def drawn(model: FluxTransformer2DModel) -> Tensor:
    pooled = torch.randn(1, 20, generator=torch.Generator().manual_seed(2))
    return transformers.drawn(model, pooled_projections=pooled, guidance=torch.tensor([3.0]))


def test_kohya_to_diffusers(tmp_path: Path) -> None:
    """Every layer's ΔW; diffusers' reader then gives what a model of weights W + ΔW gives.

    diffusers' own converter drops the alphas of the last layer, and writes those outside of blocks without a component.
    """
    tensors = kohya(SMALL)
    adapter = read(tensors, tmp_path / "flux.safetensors")
    for name, parts in FUSED.items():
        got = torch.cat([delta(adapter.layers[part]) for part in parts])
        assert torch.allclose(got, whole(tensors, name), atol=1e-6)
    last = whole(tensors, "final_layer_adaLN_modulation_1")
    assert torch.allclose(delta(adapter.layers["transformer.norm_out.linear"]), torch.cat([last[32:], last[:32]]))
    assert all(key.startswith("transformer.") for key in adapter.layers)
    model = tiny()
    assert {key.removeprefix("transformer.") for key in adapter.layers} < {name for name, _ in model.named_modules()}
    merged = copy.deepcopy(model)
    for key, change in adapter.layers.items():
        merged.get_submodule(key.removeprefix("transformer.")).weight.data += delta(change)
    (part,) = write(adapter.layers, "diffusers", torch.float32, sdxl=False, family="flux")
    before = drawn(model)
    model.load_lora_adapter(dict(part.tensors), prefix="transformer")
    assert torch.allclose(drawn(model), drawn(merged), atol=1e-5)
    assert not torch.allclose(before, drawn(merged), atol=1e-3)


def test_names_for_a_layout_are_made_once(tmp_path: Path) -> None:
    """Fused layers have the ranks that a file's header must tell; named again they stay what they are."""
    layers = read(kohya(SMALL), tmp_path / "a.safetensors").layers
    named = named_for(layers, "kohya", "flux")
    assert {change.rank for change in named.values()} == {4}
    assert named_for(named, "kohya", "flux") == named
    assert len(named) == len(SMALL) < len(layers)


def test_diffusers_converter_agrees_on_blocks() -> None:
    tensors = kohya({name: shape for name, shape in SMALL.items() if name.startswith("double")})
    converted = theirs._convert_kohya_flux_lora_to_diffusers({name: t.clone() for name, t in tensors.items()})
    for part in [*FUSED["double_blocks_0_img_attn_qkv"], f"{BLOCK}norm1.linear", f"{BLOCK}ff_context.net.2"]:
        assert f"{part}.lora_A.weight" in converted


@pytest.mark.parametrize("separate", [False, True])
def test_diffusers_to_kohya_and_back(tmp_path: Path, separate: bool) -> None:
    """One A of q, k and v stays one; A's of their own stand one below the other. Back again they are what they were."""
    if separate:
        draw = torch.Generator().manual_seed(5)
        layers = {
            key: LowRank(torch.randn(3, 32, generator=draw), torch.randn(out, 3, generator=draw))
            for key, out in (
                (f"{BLOCK}attn.to_q", 32),
                (f"{BLOCK}attn.to_v", 32),
                (f"{SINGLE}attn.to_k", 32),
                (f"{SINGLE}proj_mlp", 128),
                ("transformer.norm_out.linear", 64),
            )
        }
    else:
        layers = dict(read(kohya(SMALL), tmp_path / "a.safetensors").layers)
    (part,) = write(layers, "kohya", torch.float32, sdxl=False, family="flux")
    modules = {name.split(".")[0] for name in part.tensors}
    if separate:
        assert modules == {f"lora_unet_{name}" for name in (
            "double_blocks_0_img_attn_qkv", "single_blocks_0_linear1", "final_layer_adaLN_modulation_1")}  # fmt: skip
        assert part.tensors["lora_unet_single_blocks_0_linear1.lora_up.weight"].shape == (224, 6)
    else:
        assert modules == {f"lora_unet_{name}" for name in SMALL}
        assert {t.shape[0] for name, t in part.tensors.items() if "lora_down" in name} == {4}
        for name in SMALL:
            up, down = (part.tensors[f"lora_unet_{name}.lora_{side}.weight"] for side in ("up", "down"))
            assert torch.allclose(up @ down, whole(kohya(SMALL), name), atol=1e-6)
    again = read(dict(part.tensors), tmp_path / "b.safetensors")
    assert set(again.layers) == set(layers)
    for key, change in layers.items():
        assert again.layers[key].rank == change.rank
        assert torch.allclose(delta(again.layers[key]), delta(change), atol=1e-6)


def test_magnitudes_differences_and_biases(tmp_path: Path) -> None:
    """Magnitudes of rows are cut with the rows, and so are LoHa and full differences; all go back to kohya's layout."""
    qkv = "double_blocks_0_img_attn_qkv"
    tensors = kohya({qkv: SMALL[qkv]})
    tensors[f"lora_unet_{qkv}.dora_scale"] = torch.rand(96, 1) + 0.5
    weight = torch.randn(96, 32)
    moved = weight + whole(tensors, qkv)
    wanted = moved * tensors[f"lora_unet_{qkv}.dora_scale"] / moved.norm(dim=1, keepdim=True) - weight
    linear = "lora_unet_single_blocks_0_linear1"
    loha = {f"{linear}.hada_w{number}_a": torch.randn(224, 2) for number in (1, 2)}
    loha |= {f"{linear}.hada_w{number}_b": torch.randn(2, 32) for number in (1, 2)}
    product = (loha[f"{linear}.hada_w1_a"] @ loha[f"{linear}.hada_w1_b"]) * (
        loha[f"{linear}.hada_w2_a"] @ loha[f"{linear}.hada_w2_b"]
    )
    txt = "lora_unet_double_blocks_0_txt_attn_qkv"
    full = {f"{txt}.diff": torch.randn(96, 32), f"{txt}.diff_b": torch.randn(96)}
    adapter = read(tensors | loha | full, tmp_path / "a.safetensors")
    (part,) = write(adapter.layers, "kohya", torch.float32, sdxl=False, family="flux")
    again = read(dict(part.tensors), tmp_path / "b.safetensors")
    for found in (adapter, again):
        parts = [found.layers[key] for key in FUSED[qkv]]
        assert all(isinstance(one, Decomposed) for one in parts)
        got = [delta(one, rows) for one, rows in zip(parts, weight.chunk(3), strict=True)]
        assert torch.allclose(torch.cat(got), wanted, atol=1e-5)
        got = [delta(found.layers[key]) for key in FUSED["single_blocks_0_linear1"]]
        assert torch.allclose(torch.cat(got), product, atol=1e-5)
        others = [found.layers[key] for key in FUSED["double_blocks_0_txt_attn_qkv"]]
        assert torch.equal(torch.cat([delta(one) for one in others]), full[f"{txt}.diff"])
        assert torch.equal(torch.cat([one.delta_bias for one in others]), full[f"{txt}.diff_b"])


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    qkv = "lora_unet_double_blocks_0_img_attn_qkv"
    lokr = read({f"{qkv}.lokr_w1": torch.ones(4, 4), f"{qkv}.lokr_w2": torch.ones(24, 8)}, tmp_path / "a.safetensors")
    with pytest.raises(
        InvalidInput, match=r"no name that is known here in the layout of diffusers; convert to one of kohya"
    ):
        write(lokr.layers, "diffusers", torch.float32, sdxl=False, family="flux")
    assert write(lokr.layers, "kohya", torch.float32, sdxl=False, family="flux")
    pair = LowRank(torch.ones(2, 8), torch.ones(8, 2))
    with pytest.raises(
        InvalidInput, match=r"Z-Image has no name .* layout of kohya; convert to one of diffusers, peft"
    ):
        write({"transformer.layers.0.attention.to_q": pair}, "kohya", torch.float32, sdxl=False, family="z-image")
    half = {f"{BLOCK}attn.to_q": Decomposed(LowRank(torch.ones(2, 32), torch.ones(32, 2)), torch.ones(32), "out")}
    with pytest.raises(InvalidInput, match="DoRA, which kohya's layout cannot hold"):
        write(half, "kohya", torch.float32, sdxl=False, family="flux")


def test_wan_s_names_are_diffusers_s(tmp_path: Path) -> None:
    """Names and numbers as diffusers' converter has them, and back."""
    names = [f"blocks.3.{kind}.{one}" for kind in ("self_attn", "cross_attn") for one in "qkvo"]
    names += ["blocks.3.ffn.0", "blocks.3.ffn.2"]
    tensors = {}
    for number, name in enumerate(names):
        tensors[f"diffusion_model.{name}.lora_A.weight"] = torch.full((2, 8), 1.0 + number)
        tensors[f"diffusion_model.{name}.lora_B.weight"] = torch.ones(8, 2)
    converted = theirs._convert_non_diffusers_wan_lora_to_diffusers({name: t.clone() for name, t in tensors.items()})
    path = tmp_path / "wan.safetensors"
    save_file(tensors, path)
    adapter, report = inspect(path)
    assert adapter is not None
    assert report.family == "wan"
    assert {f"{key}.lora_A.weight" for key in adapter.layers} == {n for n in converted if "lora_A" in n}
    for key, change in adapter.layers.items():
        assert torch.equal(change.down, converted[f"{key}.lora_A.weight"])
    (part,) = write(adapter.layers, "kohya", torch.float32, sdxl=False, family="wan")
    assert {name.removesuffix(".alpha") for name in part.tensors if name.endswith("alpha")} == {
        "lora_unet_" + name.replace(".", "_") for name in names
    }
    save_file(dict(part.tensors), path)
    again, _ = inspect(path)
    assert again is not None
    assert set(again.layers) == set(adapter.layers)


ODD = ("adapter_damaged", "adapter_shape", "adapter_family_other", "adapter_other_family")


def test_hunyuan_is_not_flux(tmp_path: Path) -> None:
    """Its blocks are called as FLUX's are; their number, or the other layers', tells."""
    for name in ("double_blocks_19_img_attn_qkv", "single_blocks_38_linear1", "double_blocks_0_img_mlp_fc1"):
        path = tmp_path / f"{name}.safetensors"
        save_file(kohya({name: (96, 32)}), path)
        assert parse(path).family == "hunyuan-video"


def test_a_config_beside_fused_matrices(tmp_path: Path) -> None:
    """peft's alphas are those of the names that the file has, before a matrix is cut."""
    name = "base_model.model.double_blocks.0.img_attn.qkv"
    pair = {f"{name}.lora_A.weight": torch.ones(4, 32), f"{name}.lora_B.weight": torch.ones(96, 4)}
    config = '{"peft_type": "LORA", "r": 4, "lora_alpha": 4, "alpha_pattern": {"double_blocks.0.img_attn.qkv": 12}}'
    path = tmp_path / "a.safetensors"
    save_file(pair, path)
    adapter = canonical(parse(path, config=config))
    assert set(adapter.layers) == set(FUSED["double_blocks_0_img_attn_qkv"])
    assert {float(delta(change).max()) for change in adapter.layers.values()} == {12.0}


@pytest.mark.parametrize(
    "name", ["double_blocks_0_img_attn_qkv", "single_blocks_0_linear1", "final_layer_adaLN_modulation_1"]
)
def test_parts_of_odd_shapes_are_refused(tmp_path: Path, name: str) -> None:
    """A number where factors must stand, or one row."""
    good = kohya({name: SMALL[name]})
    for part in ("lora_up.weight", "lora_down.weight"):
        for shape in ((), (3,), (1, 1), (0, 4)):
            path = tmp_path / "odd.safetensors"
            save_file(good | {f"lora_unet_{name}.{part}": torch.ones(shape)}, path)
            adapter, report = inspect(path)
            assert adapter is None
            assert report.refused is not None
            assert report.refused.code in ODD


def test_a_mixture_of_factors_and_differences_is_a_difference() -> None:
    layers = {
        f"{BLOCK}attn.to_q": LowRank(torch.ones(2, 32), torch.ones(32, 2)),
        f"{BLOCK}attn.to_v": Dense(torch.ones(32, 32)),
    }
    (part,) = write(layers, "kohya", torch.float32, sdxl=False, family="flux")
    found = part.tensors["lora_unet_double_blocks_0_img_attn_qkv.diff"]
    assert torch.equal(found, torch.cat([2 * torch.ones(32, 32), torch.zeros(32, 32), torch.ones(32, 32)]))
