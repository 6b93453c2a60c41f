"""What a LoRA file is by its header: the families and formats people have, told without a tensor being read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_studio.headers import header
from lora_studio.headers.adapter import BUNDLED, examine, family_named, family_of, hints_of, split_words, words_of
from tests.support import lora_files as made

ROOT = Path(__file__).resolve().parents[2]
DEEP = "lora_unet_down_blocks_2_attentions_0_transformer_blocks_5_ff_net_2"


def entry(*shape: int) -> dict[str, Any]:
    return {"dtype": "F16", "shape": list(shape), "data_offsets": [0, 0]}


def named(**shapes: tuple[int, ...]) -> dict[str, Any]:
    return {name: entry(*shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("names", "format_", "family", "rank"),
    [
        ({"lora_unet_a_attn2_to_k.lora_down.weight": (8, 768)}, "kohya", "sd1", 8),
        ({"lora_unet_a_attn2_to_v.lora_down.weight": (8, 1024)}, "kohya", "sd2", 8),
        ({"lora_unet_a_attn2_to_k.lora_down.weight": (8, 2048)}, "kohya", "sdxl", 8),
        ({f"{DEEP}.lora_down.weight": (8, 5120)}, "kohya", "sdxl", 8),
        ({"lora_te2_text_model_x.lora_down.weight": (8, 1280)}, "kohya", "sdxl", 8),
        ({"lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (4, 768)}, "kohya", "sd1", 4),
        ({"lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (4, 1024)}, "kohya", "sd2", 4),
        ({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (16, 3072)}, "kohya", "flux", 16),
        ({"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": (16, 3072)}, "diffusers", "flux", 16),
        ({"unet.down_blocks.0.x.attn2.to_k.lora_A.weight": (4, 768)}, "diffusers", "sd1", 4),
        ({"unet.x.attn2.processor.to_k_lora.down.weight": (4, 2048)}, "diffusers, old", "sdxl", 4),
        ({"base_model.model.x.attn2.to_k.lora_A.weight": (4, 768)}, "peft", "sd1", 4),
        ({"base_model.model.x.attn2.to_k.lora_A.default.weight": (4, 768)}, "peft", "sd1", 4),
        ({"lora_unet_a.hada_w1_a": (320, 6), "lora_unet_a.hada_w1_b": (6, 320)}, "LoHa", "", 6),
        ({"lora_unet_a.lokr_w1": (8, 8), "lora_unet_a.lokr_w2_b": (3, 40)}, "LoKr", "", 3),
        ({"lora_unet_a.lokr_w1": (8, 8), "lora_unet_a.lokr_w2": (40, 40)}, "LoKr", "", None),
        ({"lora_unet_a.diff": (320, 320)}, "full difference", "", None),
        ({"lora_unet_a.oft_blocks": (4, 80, 80)}, "OFT", "", None),
        ({"lora_unet_a.on_input": (), "lora_unet_a.weight": (1, 320)}, "IA3", "", None),
        ({"base_model.model.a.to_q.ia3_l.default": (320, 1)}, "IA3", "", None),
        ({"base_model.model.a.to_q.oft_R.weight": (80, 6)}, "OFT", "", None),
        ({"base_model.model.a.to_q.oft_R.my-cat.v2.weight": (80, 6)}, "OFT", "", None),
        ({"base_model.model.x.attn2.to_k.lora_A.my-cat.v2.weight": (4, 768)}, "peft", "sd1", 4),
        ({"lora_unet_a.a2.weight": (4, 320), "lora_unet_a.b1.weight": (320, 4)}, "GLoRA", "", 4),
        ({"lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight": (4, 768)}, "kohya", "", 4),
    ],
)
def test_formats_families_and_ranks(
    names: dict[str, tuple[int, ...]], format_: str, family: str, rank: int | None
) -> None:
    found = examine(named(**names))
    assert (found.kind, found.format, found.family, found.rank) == ("lora", format_, family, rank)


def test_what_our_own_writer_writes() -> None:
    """An example of the app against what its training wrote down beside it."""
    path = ROOT / "assets" / "examples" / "adapters" / "cat-ears.safetensors"
    beside = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    with path.open("rb") as file:
        found = examine(header.read(file, path.stat().st_size))
    assert (found.kind, found.format, found.family, found.rank) == ("lora", "kohya", beside["family"], beside["rank"])
    assert found.hints["ss_output_name"] == found.metadata["ss_output_name"]


def test_differing_ranks_are_a_range() -> None:
    found = examine(named(**{"a.lora_down.weight": (4, 9), "b.lora_down.weight": (32, 9), "b.dora_scale": (9, 1)}))
    assert (found.rank, found.ranks, found.dora, found.layers) == (None, (4, 32), True, 2)
    assert found.as_report()["ranks"] == [4, 32]
    assert found.as_report()["format"] == "kohya + DoRA"


@pytest.mark.parametrize(
    ("shapes", "kind"),
    [
        ({"emb_params": (4, 768)}, "embedding"),
        ({"clip_l": (4, 768), "clip_g": (4, 1280)}, "embedding"),
        ({"<cat>": (768,)}, "embedding"),
        ({"model.diffusion_model.out.2.weight": (4, 320, 3, 3), "first_stage_model.x": (1, 2, 3)}, "other"),
        ({}, "other"),
        ({"x.alpha": (), "y.alpha": ()}, "other"),
        ({"base_model.model.a.boft_R": (1, 80, 4, 4)}, "other"),
        ({"bundle_emb.word.clip_l": (4, 768), "bundle_emb.other.clip_l": (4, 768)}, "other"),
    ],
)
def test_what_is_no_lora(shapes: dict[str, tuple[int, ...]], kind: str) -> None:
    assert examine(named(**shapes)).kind == kind


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, "sd1"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v/lora"}, "sd2"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "sdxl"),
        ({"modelspec.architecture": "flux-1-dev/lora"}, "flux"),
        ({"modelspec.architecture": "flux-2-dev/lora"}, "flux2"),
        ({"modelspec.architecture": "stable-diffusion-3-5/lora"}, "sd3"),
        ({"modelspec.architecture": "stable-diffusion-custom-32/lora"}, "sd-width-32"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
        ({"ss_base_model_version": "sd_v1"}, "sd1"),
        ({"ss_base_model_version": "sd_v2_768_v"}, "sd2"),
        ({"ss_base_model_version": "qwen_image"}, "qwen-image"),
        ({"ss_v2": "True"}, "sd2"),
        ({"ss_v2": "False"}, ""),
        ({}, ""),
    ],
)
def test_families_by_the_metadata(metadata: dict[str, str], family: str) -> None:
    assert family_of(metadata) == family


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("SD 1.5", "sd1"),
        ("SD1", "sd1"),
        ("SD 2.1 768", "sd2"),
        ("SDXL 1.0", "sdxl"),
        ("Pony", "sdxl"),
        ("Illustrious", "sdxl"),
        ("Flux.1 D", "flux"),
        ("SD 3.5", "sd3"),
        ("Unknown", ""),
        ("", ""),
    ],
)
def test_families_by_the_names_that_people_use(text: str, family: str) -> None:
    assert family_named(text) == family


def test_widths_come_before_metadata() -> None:
    """Bug: a file that said SDXL stood in the library as SDXL, while the door, by its widths, let it in as SD 1.5."""
    names = named(**made.kohya("sd1")) | {"__metadata__": {"ss_base_model_version": "sdxl_base_v1-0"}}
    assert examine(names).family == "sd1"


def test_metadata_tell_what_the_tensors_do_not() -> None:
    """Chroma has FLUX' layers, an own base has a family of its own, and a convolution alone tells nothing."""
    flux = named(**{"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (16, 3072)})
    assert examine(flux | {"__metadata__": {"modelspec.architecture": "chroma/lora"}}).family == "chroma"
    assert examine(flux | {"__metadata__": {"modelspec.architecture": "wan2.1/lora"}}).family == "flux"
    own = named(**made.kohya("sd1")) | {"__metadata__": {"modelspec.architecture": "lora-studio-base-v1/lora"}}
    assert examine(own).family == "lora-studio-base"
    plain = named(**{"lora_unet_input_blocks_7_0_in_layers_2.lora_down.weight": (4, 640, 3, 3)})
    said = {"__metadata__": {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}}
    assert (examine(plain).family, examine(plain | said).family) == ("", "sdxl")


def test_lists_keep_little_of_the_metadata() -> None:
    told = {
        "ss_output_name": "x" * 900,
        "ss_tag_frequency": "{}",
        "modelspec.title": "T",
        BUNDLED: "[" + "1," * 300 + "1]",
    }
    assert hints_of(told) == {"ss_output_name": "x" * 200, "modelspec.title": "T", BUNDLED: told[BUNDLED]}
    found = examine(named(**made.kohya()) | {"__metadata__": told})
    assert BUNDLED not in found.metadata, "what the library writes there cannot come from a file"


def test_trigger_words() -> None:
    assert words_of({"modelspec.trigger_phrase": "cat ears,  nekomimi , cat ears"}) == ("cat ears", "nekomimi")
    tags = {
        "10_cat": {"1girl": 20, "cat ears": 20, "tail": 19, "red hair": 4, "solo": 20},
        "5_more": {"cat ears": 10, "tail": 7, "1girl": 10},
    }
    frequent = {
        "ss_tag_frequency": json.dumps(tags),
        "ss_dataset_dirs": json.dumps({"10_cat": {"img_count": 20}, "5_more": {"img_count": 10}}),
    }
    assert words_of(frequent) == ("cat ears",), "tail stands on 26 of 30 pictures"
    assert words_of({"ss_tag_frequency": json.dumps(tags)}) == ("cat ears",), "1girl is on every picture of a girl"


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"a": 3}', '{"a": {"x": "many"}}', "[" * 5000, "null"])
def test_broken_frequencies_are_no_words(text: str) -> None:
    assert words_of({"ss_tag_frequency": text, "ss_dataset_dirs": text}) == ()


def test_words_are_cut_at_commas_outside_of_brackets() -> None:
    assert split_words(["a, (b, c:1.2), <lora:x:1>,, d", "a"]) == ("a", "(b, c:1.2)", "<lora:x:1>", "d")
    assert split_words(["(never closed, b"]) == ("(never closed, b",)
    assert len(split_words([", ".join(f"w{i}" for i in range(90))])) == 40
    assert split_words(["x" * 201]) == ()


def test_half_a_character_in_a_tag_is_a_question_mark() -> None:
    """Bug: no database holds one, so that the look through all folders ended at such a file."""
    assert words_of({"ss_tag_frequency": '{"a": {"\\ud800 cat": 3}}'}) == ("? cat",)


@pytest.mark.parametrize("text", ["{", '{"a": [1], "b": {"c": "d"}}', "[" * 100_000, ""])
def test_tag_frequencies_that_are_none_give_no_words(text: str) -> None:
    assert words_of({"ss_tag_frequency": text}) == ()
