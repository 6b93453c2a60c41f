"""`lora_studio.prompt.readers.invokeai`: metadata of InvokeAI 5, 3 and 2."""

from __future__ import annotations

import json

import pytest

from lora_studio.prompt.readers import NamedFile, read_pasted, read_texts

NEW = {
    "app_version": "5.6.0",
    "generation_mode": "txt2img",
    "positive_prompt": "a (red)++ cat",
    "negative_prompt": "dog",
    "width": 512,
    "height": 768,
    "seed": 12,
    "rand_device": "cpu",
    "cfg_scale": 7.5,
    "steps": 30,
    "scheduler": "dpmpp_2m_k",
    "clip_skip": 1,
    "model": {"key": "x", "hash": "blake3:00ff", "name": "Dreamshaper 8", "base": "sd-1", "type": "main"},
    "loras": [{"model": {"key": "y", "hash": "sha256:" + "ab" * 32, "name": "ears", "base": "sd-1"}, "weight": 0.6}],
    "controlnets": [{"image": "x"}],
}


def test_version_5() -> None:
    found = read_texts({"invokeai_metadata": json.dumps(NEW)})
    assert (found.program, found.prompt, found.negative) == ("invokeai", "a (red)++ cat", "dog")
    assert found.settings == {
        "seed": 12,
        "num_inference_steps": 30,
        "guidance_scale": 7.5,
        "guidance_rescale": 0.0,
        "width": 512,
        "height": 768,
        "clip_skip": 2,
        "sampler": "dpmpp_2m_karras",
        "emphasis": "compel",
        "pad_prompts": False,
        "old_scheduling": False,
        "dynamic": False,
    }
    assert found.adapters == (NamedFile("ears", "ab" * 32, 0.6),)
    assert found.model == NamedFile("Dreamshaper 8")
    assert [remark.code for remark in found.remarks] == ["prompt_dialect", "not_acting"]
    assert read_pasted(json.dumps(NEW)).prompt == "a (red)++ cat"


@pytest.mark.parametrize(
    ("prompt", "remark"),
    [
        ("a (cat)1.1", "prompt_dialect"),
        ("a (cat).9 b", "prompt_dialect"),
        ("mountain- man", "prompt_dialect"),
        ("(a cat)-, b", "prompt_dialect"),
        ('("a cat", "a dog").and()', "prompt_dialect"),
        ("a (cat)", "prompt_acts"),
        ("[a|b]", "prompt_acts"),
        ("a cat AND a dog", "prompt_acts"),
        ("a well-lit cat, 2 dogs.", None),
    ],
)
def test_signs_that_mean_something_else_here_are_told(prompt: str, remark: str | None) -> None:
    """A weight behind brackets was drawn as a word, and nothing was said."""
    data = NEW | {"positive_prompt": prompt, "controlnets": []}
    found = read_texts({"invokeai_metadata": json.dumps(data)})
    assert [one.code for one in found.remarks] == ([remark] if remark else [])
    old = {"image": {"prompt": [{"prompt": prompt}], "seed": 3}}
    if "[" not in prompt:
        assert [one.code for one in read_pasted(json.dumps(old)).remarks] == ([remark] if remark else [])


@pytest.mark.parametrize("mode", ["img2img", "inpaint", "outpaint", "sdxl_inpaint", "flux_img2img"])
def test_pictures_that_began_from_a_picture(mode: str) -> None:
    found = read_texts({"invokeai_metadata": json.dumps(NEW | {"generation_mode": mode})})
    assert "first_picture" in [one.code for one in found.remarks]
    plain = read_texts({"invokeai_metadata": json.dumps(NEW | {"generation_mode": "sdxl_txt2img"})})
    assert "first_picture" not in [one.code for one in plain.remarks]


def test_a_text_for_the_second_encoder_is_told() -> None:
    styled = NEW | {"positive_style_prompt": "oil on canvas", "negative_style_prompt": "dog", "controlnets": []}
    found = read_texts({"invokeai_metadata": json.dumps(styled)})
    assert {one.code: one.values for one in found.remarks}["not_acting"] == {"names": "positive_style_prompt"}


def test_version_3_names_models_in_another_way() -> None:
    old = NEW | {
        "model": {"model_name": "sd15", "base_model": "sd-1"},
        "loras": [{"lora": {"model_name": "ears", "base_model": "sd-1"}, "weight": 0.5}, "x", {"lora": 5}],
        "rand_device": "cuda",
        "generation_mode": "img2img",
    }
    found = read_texts({"invokeai_metadata": json.dumps(old)})
    assert (found.adapters, found.model) == ((NamedFile("ears", "", 0.5),), NamedFile("sd15"))
    assert {"noise", "first_picture"} <= {remark.code for remark in found.remarks}


def test_version_2_keeps_the_negative_prompt_in_brackets() -> None:
    image = {
        "prompt": [{"prompt": "a cat [ugly] on a mat [blurry", "weight": 1.0}],
        "steps": 20, "cfg_scale": 7.5, "height": 512, "width": 512, "seed": 3, "sampler": "k_euler_a",
        "type": "txt2img",
    }  # fmt: skip
    found = read_texts({"sd-metadata": json.dumps({"model_weights": "sd-1.5", "model_hash": "c" * 64, "image": image})})
    assert (found.prompt, found.negative) == ("a cat  on a mat [blurry", "ugly")
    assert (found.settings["sampler"], found.settings["seed"]) == ("euler_a", 3)
    assert found.model == NamedFile("sd-1.5", "c" * 64)
    assert (found.settings["clip_skip"], found.settings["emphasis"]) == (1, "compel")


def test_a_scheduler_with_k_behind_it_names_the_spacing_that_is_not_here() -> None:
    """It said "The spacing of steps  is not here"."""
    found = read_texts({"invokeai_metadata": json.dumps(NEW | {"scheduler": "euler_k"})})
    assert found.settings["sampler"] == "euler"
    assert {remark.code: remark.values for remark in found.remarks}["schedule_other"] == {"given": "karras"}


def test_other_values_than_expected() -> None:
    for damaged in ([], 5, {"positive_prompt": 5, "seed": "x", "loras": {"a": 1}, "model": [1], "clip_skip": "none"}):
        read_texts({"invokeai_metadata": json.dumps(damaged)})
        read_texts({"sd-metadata": json.dumps({"image": damaged})})
    found = read_texts({"invokeai_metadata": json.dumps([])})
    assert (found.program, found.remarks[0].code) == ("", "damaged")


def test_rescaled_guidance() -> None:
    found = read_texts({"invokeai_metadata": json.dumps(NEW | {"cfg_rescale_multiplier": 0.7})})
    assert found.settings["guidance_rescale"] == 0.7
