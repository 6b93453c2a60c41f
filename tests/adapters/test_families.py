"""Families by header and tensors, the names of every layer of the real ones, and files of families without a base."""

from __future__ import annotations

import math
import time
import types
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from diffusers.loaders import lora_conversion_utils
from safetensors.torch import save_file
from torch import Tensor

from lora_studio.adapters import admit, inspect
from lora_studio.adapters.binding import delta
from lora_studio.adapters.canonical import LayerShape, LowRank
from lora_studio.adapters.formats import LayerIndex, canonical, families, kohya_name, parse
from lora_studio.adapters.formats.ldm import LdmNames
from lora_studio.adapters.kohya import to_kohya
from lora_studio.errors import AdapterRefused
from lora_studio.headers.adapter import TITLES

Layers = Mapping[str, LayerShape]


@pytest.fixture(scope="module")
def known() -> dict[str, Layers]:
    return {name: families.known_layers(name) for name in families.USABLE}


def lora_on(layers: Layers, keys: list[str], names: dict[str, str] | None = None, rank: int = 2) -> dict[str, Tensor]:
    tensors = {}
    for number, key in enumerate(keys):
        shape, draw = layers[key].shape, torch.Generator().manual_seed(number)
        ones = (1, 1) if len(shape) == 4 else ()
        name = names[key] if names else kohya_name(key, any(k.startswith("text_encoder_2") for k in layers))
        tensors[f"{name}.lora_down.weight"] = torch.randn(rank, *shape[1:], generator=draw) * 0.1
        tensors[f"{name}.lora_up.weight"] = torch.randn(shape[0], rank, *ones, generator=draw) * 0.1
        tensors[f"{name}.alpha"] = torch.tensor(1.0)
    return tensors


def attention(layers: Layers) -> list[str]:
    return [key for key in layers if ".attn" in key and key.startswith("unet.") and not layers[key].is_norm]


@pytest.mark.parametrize(("family", "linear", "width"), [("sd1", 282, 768), ("sd2", 282, 1024), ("sdxl", 794, 2048)])
def test_known_layers(family: str, linear: int, width: int, known: dict[str, Layers]) -> None:
    """Counted on the released models: linear layers and convolutions of their UNets."""
    layers = known[family]
    unet = [key for key, shape in layers.items() if key.startswith("unet.") and not shape.is_norm]
    assert len(unet) == linear
    assert {layers[key].shape[1] for key in unet if key.endswith("attn2.to_k")} == {width}
    assert families.of_layers(layers) == family


@pytest.mark.parametrize("family", families.USABLE)
def test_original_names_of_every_layer(family: str, known: dict[str, Layers]) -> None:
    """Every layer has one; of the attentions diffusers' own conversion gives back ours."""
    keys = [key.removeprefix("unet.") for key in known[family] if key.startswith("unet.")]
    names, index = LdmNames(keys), LayerIndex(known[family])
    originals = {path: str(names.of(path)) for path in keys}
    assert len(set(originals.values())) == len(keys)
    for path, original in originals.items():
        assert index.find("unet", original) == f"unet.{path}"
    attentions = {path: original for path, original in originals.items() if "attentions" in path}
    config = types.SimpleNamespace(layers_per_block=2)
    for path, original in attentions.items():
        written = f"lora_unet_{original.replace('.', '_')}.lora_down.weight"
        mapped = next(iter(lora_conversion_utils._maybe_map_sgm_blocks_to_diffusers({written: torch.ones(1)}, config)))
        for theirs, ours in (
            ("input_blocks", "down_blocks"),
            ("middle_block", "mid_block"),
            ("output_blocks", "up_blocks"),
        ):
            mapped = mapped.replace(theirs, ours)
        assert mapped == f"lora_unet_{path.replace('.', '_')}.lora_down.weight"
    assert len(attentions) > 150


def test_every_kohya_name_of_sdxl_is_one_layer(known: dict[str, Layers]) -> None:
    """Underscores lose the dots: no two layers may come to one name."""
    layers = known["sdxl"]
    names = {kohya_name(key, numbered=True) for key in layers}
    assert len(names) == len(layers)
    index = LayerIndex(layers)
    for key in layers:
        component, _, path = key.partition(".")
        assert index.find(component, path.replace(".", "_")) == key


@pytest.mark.parametrize("file", families.USABLE)
@pytest.mark.parametrize("base", families.USABLE)
def test_each_family_on_each_base(file: str, base: str, known: dict[str, Layers], tmp_path: Path) -> None:
    """Fits its own, and is refused by both names on the others."""
    layers = known[file]
    keys = [key for key in layers if ".attn2.to_k" in key or ("self_attn.q_proj" in key and ".0." in key)]
    path = tmp_path / "some lora.safetensors"
    save_file(lora_on(layers, keys), path)
    assert parse(path).family == file
    if file == base:
        adapter, report = admit(path, "0" * 64, known[base])
        assert len(adapter.layers) == report.layers_matched == len(keys)
        assert report.text_encoder
        return
    with pytest.raises(AdapterRefused) as caught:
        admit(path, "0" * 64, known[base])
    made_for, loaded = TITLES[file], TITLES[base]
    assert f"was made for {made_for}, the base is {loaded}" in caught.value.message


def test_convolutions_alone_do_not_pass_as_another_family(known: dict[str, Layers], tmp_path: Path) -> None:
    """The first resnets of SD 1.5 and SDXL have one shape; the names of SDXL's second text encoder tell."""
    keys = ["unet.down_blocks.0.resnets.0.conv1", "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj"]
    path = tmp_path / "a.safetensors"
    save_file(lora_on(known["sdxl"], keys), path)
    with pytest.raises(AdapterRefused, match=r"made for SDXL, the base is SD 1\.5"):
        admit(path, "0" * 64, known["sd1"])


def test_a_first_text_encoder_alone_fits_sdxl_too(known: dict[str, Layers], tmp_path: Path) -> None:
    """SDXL's first text encoder is SD 1.x's: where names do not tell, both take the file."""
    key = "text_encoder.encoder.layers.3.self_attn.q_proj"
    path = tmp_path / "a.safetensors"
    name = "lora_te1_encoder_layers_3_self_attn_q_proj"  # as diffusers' converter to kohya's layout calls it
    for down, up in ((f"{key}.lora_A", f"{key}.lora_B"), (f"{name}.lora_down", f"{name}.lora_up")):
        save_file({f"{down}.weight": torch.ones(2, 768), f"{up}.weight": torch.ones(768, 2)}, path)
        assert parse(path).family == ""
    for base in ("sd1", "sdxl"):
        assert set(admit(path, "0" * 64, known[base])[0].layers) == {key}
    with pytest.raises(AdapterRefused):
        admit(path, "0" * 64, known["sd2"])


def test_a_whole_sdxl_lora_under_original_names(known: dict[str, Layers], tmp_path: Path) -> None:
    """What most SDXL files of the world look like; read, checked and measured within seconds."""
    layers = known["sdxl"]
    keys = attention(layers)
    names = LdmNames([key.removeprefix("unet.") for key in layers if key.startswith("unet.")])
    written = {key: "lora_unet_" + str(names.of(key.removeprefix("unet."))).replace(".", "_") for key in keys}
    path = tmp_path / "a.safetensors"
    save_file({n: t.half() for n, t in lora_on(layers, keys, written, rank=8).items()}, path)
    began = time.monotonic()
    adapter, report = admit(path, "0" * 64, layers)
    assert time.monotonic() - began < 20
    assert (report.family, report.ranks, report.alphas) == ("sdxl", (8, 8), (1.0, 1.0))
    assert set(adapter.layers) == set(keys)
    without, same = inspect(path, "0" * 64)
    assert without is not None
    assert set(without.layers) == set(keys)
    assert (same.layers_matched, same.layers_in_base, same.refused) == (len(keys), 0, None)


def test_ours_to_kohya_to_ours_on_sdxl(known: dict[str, Layers], tmp_path: Path) -> None:
    layers = known["sdxl"]
    keys = [
        key for key in layers if "mid_block.attentions.0.transformer_blocks.3" in key or ".layers.7.self_attn" in key
    ]
    keys = [key for key in keys if not layers[key].is_norm]
    path = tmp_path / "a.safetensors"
    save_file(lora_on(layers, keys), path)
    adapter = canonical(parse(path), layers)
    save_file(to_kohya(adapter, alpha=4.0, dtype=torch.float32), tmp_path / "b.safetensors")
    again = canonical(parse(tmp_path / "b.safetensors"))
    assert set(again.layers) == set(adapter.layers) == set(keys)
    for key, change in adapter.layers.items():
        assert torch.allclose(delta(again.layers[key]), delta(change), atol=1e-7)


@pytest.mark.parametrize("key", ["unet.down_blocks.0.resnets.0.conv1", "text_encoder.encoder.layers.3.mlp.fc1"])
def test_what_both_families_have_is_told_by_the_header(key: str, known: dict[str, Layers], tmp_path: Path) -> None:
    """Bug: a file that says SDXL and has only layers that SD 1.5 has too was let in there without a word."""
    assert known["sd1"][key].shape == known["sdxl"][key].shape
    path = tmp_path / "a.safetensors"
    save_file(
        lora_on(known["sd1"], [key], {key: kohya_name(key, numbered=True)}),
        path,
        metadata={"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"},
    )
    assert set(admit(path, "0" * 64, known["sdxl"])[0].layers) == {key}
    with pytest.raises(AdapterRefused, match=r"made for SDXL, the base is SD 1\.5"):
        admit(path, "0" * 64, known["sd1"])


SAID = {
    "modelspec.architecture": {
        "stable-diffusion-v1/lora": "sd1",
        "stable-diffusion-v2-768-v/lora": "sd2",
        "stable-diffusion-xl-v1-base/lora": "sdxl",
        "flux-1-dev/lora": "flux",
        "lora-studio-base-v1/lora": "lora-studio-base",
    },
    "ss_base_model_version": {
        "sd_v1": "sd1",
        "sdxl_base_v1-0": "sdxl",
        "sd3": "sd3",
        "flux1": "flux",
        "zimage": "z-image",
    },
    "ss_v2": {"True": "sd2", "False": ""},
}


@pytest.mark.parametrize(("key", "text", "family"), [(k, t, f) for k, row in SAID.items() for t, f in row.items()])
def test_what_headers_say(key: str, text: str, family: str) -> None:
    assert families.said({key: text}) == family


def test_a_header_that_contradicts_its_tensors_is_told_of(known: dict[str, Layers], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(
        lora_on(known["sd1"], attention(known["sd1"])), path, metadata={"ss_base_model_version": "sdxl_base_v1-0"}
    )
    _, report = admit(path, "0" * 64, known["sd1"])
    assert [w["code"] for w in report.warnings] == ["adapter_says_other_family"]


def flux_kohya() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    shapes = {
        "lora_unet_double_blocks_0_img_attn_proj": (64, 64),
        "lora_unet_double_blocks_0_img_attn_qkv": (192, 64),
        "lora_unet_single_blocks_0_linear2": (64, 320),
    }
    tensors = {}
    for name, (out, inputs) in shapes.items():
        tensors[f"{name}.lora_down.weight"] = torch.randn(4, inputs, generator=draw)
        tensors[f"{name}.lora_up.weight"] = torch.randn(out, 4, generator=draw)
        tensors[f"{name}.alpha"] = torch.tensor(2.0)
    return tensors


def test_flux_by_kohya_is_inspected_under_diffusers_names(tmp_path: Path) -> None:
    """diffusers' converter is the reader; the numbers are kohya's: q, k and v are thirds of one matrix."""
    path = tmp_path / "flux.safetensors"
    tensors = flux_kohya()
    save_file(tensors, path)
    adapter, report = inspect(path, "0" * 64)
    assert report.refused is None
    assert (report.family, report.ranks) == ("flux", (4, 4))
    assert adapter is not None
    blocks = "transformer.transformer_blocks.0.attn"
    name = "lora_unet_double_blocks_0_img_attn_qkv"
    whole = 0.5 * tensors[f"{name}.lora_up.weight"] @ tensors[f"{name}.lora_down.weight"]
    for part, rows in zip(("to_q", "to_k", "to_v"), whole.chunk(3), strict=True):
        assert torch.allclose(delta(adapter.layers[f"{blocks}.{part}"]), rows, atol=1e-5)
    name = "lora_unet_single_blocks_0_linear2"
    wanted = 0.5 * tensors[f"{name}.lora_up.weight"] @ tensors[f"{name}.lora_down.weight"]
    got = adapter.layers["transformer.single_transformer_blocks.0.proj_out"]
    assert isinstance(got, LowRank)
    assert torch.allclose(delta(got), wanted, atol=1e-5)


NEWER = {
    "flux": ["transformer.single_transformer_blocks.3.attn.to_q", "transformer.transformer_blocks.0.ff.net.2"],
    "sd3": ["lora_unet_joint_blocks_1_x_block_attn_qkv"],
    "qwen-image": ["transformer_blocks.4.img_mod.1", "transformer_blocks.4.txt_mlp.net.2"],
    "wan": ["diffusion_model.blocks.0.self_attn.q", "diffusion_model.blocks.0.cross_attn.k"],
    "hidream": ["diffusion_model.double_stream_blocks.0.block.attn1.to_q"],
    "z-image": ["diffusion_model.context_refiner.0.attention.to_q"],
    "cascade": ["lora_prior_unet_down_blocks_0_1_attn"],
    "transformer": ["transformer.transformer_blocks.0.attn1.to_q"],
}


@pytest.mark.parametrize("family", NEWER)
def test_newer_families_are_named_and_refused_for_drawing(
    family: str, known: dict[str, Layers], tmp_path: Path
) -> None:
    path = tmp_path / "new.safetensors"
    kohya = NEWER[family][0].startswith("lora_")
    words = ("lora_down", "lora_up") if kohya else ("lora_A", "lora_B")
    tensors = {}
    for name in NEWER[family]:
        tensors |= {f"{name}.{words[0]}.weight": torch.ones(2, 24), f"{name}.{words[1]}.weight": torch.ones(36, 2)}
    save_file(tensors, path)
    adapter, report = inspect(path, "0" * 64)
    assert report.refused is None
    assert report.family == family
    assert adapter is not None
    assert math.isclose(delta(next(iter(adapter.layers.values()))).abs().max().item(), 2.0)
    with pytest.raises(AdapterRefused) as caught:
        admit(path, "0" * 64, known["sd1"])
    assert f"made for {TITLES[family]}, the base is SD 1.5" in caught.value.message


def of_qwen(alpha: float) -> dict[str, Tensor]:
    name = "transformer_blocks.0.img_mlp.net.2"
    factors = {f"{name}.lora_down.weight": torch.ones(4, 24), f"{name}.lora_up.weight": torch.ones(36, 4)}
    return {**factors, f"{name}.alpha": torch.tensor(alpha)}


@pytest.mark.parametrize("alpha", [-1.0, float("nan"), float("inf")])
def test_alphas_that_are_none_do_not_reach_the_converter(alpha: float, tmp_path: Path) -> None:
    """Bug: diffusers' converter never came to an end with a negative alpha."""
    save_file(of_qwen(alpha), tmp_path / "a.safetensors")
    _, report = inspect(tmp_path / "a.safetensors", "0" * 64)
    assert report.refused is not None
    assert "is not one number of 0 or more" in report.refused.message
    assert report.alphas is None or report.alphas == (alpha, alpha) == (-1.0, -1.0)


def of_wan(*names: str, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """Factors under Wan's names, and a module that no table here has, so that diffusers is asked."""
    tensors = {"diffusion_model.blocks.0.mystery.lora_down.weight": torch.ones(4, 24)}
    tensors["diffusion_model.blocks.0.mystery.lora_up.weight"] = torch.ones(36, 4)
    for name in names:
        down, up = shapes.get("down", (4, 24)), shapes.get("up", (36, 4))
        tensors[f"diffusion_model.{name}.lora_down.weight"] = torch.ones(down)
        tensors[f"diffusion_model.{name}.lora_up.weight"] = torch.ones(up)
        tensors[f"diffusion_model.{name}.alpha"] = torch.tensor(1.0)
    return tensors


@pytest.mark.parametrize(
    ("tensors", "refused"),
    [
        (of_wan("blocks.0.self_attn.q", "blocks.999999999999.self_attn.q"), False),
        (of_wan("blocks.0.self_attn.q", down=(0, 24), up=(36, 0)), True),
        (of_wan() | {"diffusion_model.blocks.0.cross_attn.q.alpha": torch.tensor(1.0)}, False),
    ],
    ids=["a block of a large number", "no directions", "an alpha alone"],
)
def test_files_that_the_converters_do_not_come_to_an_end_with(
    tensors: dict[str, Tensor], refused: bool, tmp_path: Path
) -> None:
    """Bugs: diffusers counts up to the highest block, divides by the rank, and uses what no block has set."""
    save_file(tensors, tmp_path / "a.safetensors")
    began = time.thread_time()
    _, report = inspect(tmp_path / "a.safetensors", "0" * 64)
    assert time.thread_time() - began < 5
    assert (report.family, report.refused is not None) == ("wan", refused)


def test_alphas_that_the_converter_folded_in_are_reported(tmp_path: Path) -> None:
    """Bug: such files were said to have no alphas, which were taken as the rank."""
    save_file(of_qwen(2.0), tmp_path / "a.safetensors")
    adapter, report = inspect(tmp_path / "a.safetensors", "0" * 64)
    assert (report.alphas, [w["code"] for w in report.warnings]) == ((2.0, 2.0), [])
    assert adapter is not None
    assert math.isclose(delta(next(iter(adapter.layers.values()))).max().item(), 2.0)


def test_differences_of_a_transformer_are_not_lost(tmp_path: Path) -> None:
    """Bug: diffusers' converter dropped Wan's differences of norms and biases, and nobody was told."""
    block = "diffusion_model.blocks.0."
    tensors = {
        f"{block}self_attn.q.lora_A.weight": torch.ones(4, 64),
        f"{block}self_attn.q.lora_B.weight": torch.ones(64, 4),
        f"{block}self_attn.q.diff_b": torch.ones(64),
        f"{block}norm3.diff": torch.ones(64),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    adapter, report = inspect(tmp_path / "a.safetensors", "0" * 64)
    assert (report.family, report.layers_matched, report.layers_in_file) == ("wan", 2, 2)
    assert adapter is not None
    bias = adapter.layers["transformer.blocks.0.attn1.to_q"].delta_bias
    assert bias is not None
    assert torch.equal(bias, torch.ones(64))


def test_a_second_text_encoder_of_a_transformer_is_inspected(tmp_path: Path) -> None:
    """Bug: FLUX' T5 stands under `lora_te2_`; without any base the file was refused as made for another than SDXL."""
    name = "lora_te2_encoder_block_0_layer_0_SelfAttention_k"
    tensors = flux_kohya() | {
        f"{name}.lora_down.weight": torch.ones(4, 64),
        f"{name}.lora_up.weight": torch.ones(64, 4),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    _, report = inspect(tmp_path / "a.safetensors", "0" * 64)
    assert (report.refused, report.family, report.text_encoder) == (None, "flux", True)
