"""`lora_studio.prompt.readers.parameters`: texts as A1111, Forge, SD.Next, Fooocus and Civitai write them."""

from __future__ import annotations

from typing import Any

import pytest

from lora_studio.prompt.readers import NamedFile, Reading, read_pasted, read_texts
from lora_studio.prompt.readers.parameters import take_loras
from lora_studio.prompt.readers.reading import Draft

A1111 = """masterpiece, (red hair: 1.1) <lora:nekomimi:0.8> <lora:style v2:0.5:0.7>
second line
Negative prompt: EasyNegativeV2, bad
hands
Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 4294967295, Size: 512x768, \
Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, VAE hash: 735e4c3a44, VAE: some.vae.pt, Denoising strength: 0.5, \
Clip skip: 2, Hires upscale: 2, Hires upscaler: Latent, \
Lora hashes: "nekomimi: 1A2B3C4D5E6F, style v2: aabbccdd", \
TI hashes: "EasyNegativeV2: 339cc9210f70", Version: v1.10.1"""


UNSAID = {
    "clip_skip": 1,
    "guidance_rescale": 0.0,
    "emphasis": "original",
    "pad_prompts": False,
    "old_scheduling": False,
    "dynamic": False,
}
"""What holds where a text says nothing, whatever stands in a form."""


def codes(found: Reading) -> list[str]:
    """The codes of its remarks."""
    return [remark.code for remark in found.remarks]


def settings_of(last: str) -> dict[str, Any]:
    """Settings of a text with this last line."""
    return dict(read_pasted(f"cat\n{last}").settings)


def test_a_whole_text_of_a1111() -> None:
    found = read_texts({"parameters": A1111})
    assert found.program == "a1111"
    assert found.prompt == "masterpiece, (red hair: 1.1)  \nsecond line"
    assert found.negative == "EasyNegativeV2, bad\nhands"
    assert found.settings == {
        "num_inference_steps": 28,
        "guidance_scale": 6.5,
        "guidance_rescale": 0.0,
        "seed": 4294967295,
        "width": 512,
        "height": 768,
        "clip_skip": 2,
        "sampler": "dpmpp_2m_karras",
        "emphasis": "original",
        "pad_prompts": False,
        "old_scheduling": False,
        "dynamic": False,
    }
    assert found.adapters == (
        NamedFile("nekomimi", "1a2b3c4d5e6f", 0.8),
        NamedFile("style v2", "aabbccdd", 0.7, 0.5),
    )
    assert found.embeddings == (NamedFile("EasyNegativeV2", "339cc9210f70"),)
    assert found.model == NamedFile("v1-5-pruned-emaonly", "6ce0161689")
    assert codes(found) == ["noise", "not_acting"]
    assert found.remarks[1].values == {"names": "VAE, Hires upscale, Hires upscaler"}


@pytest.mark.parametrize(
    ("sampler", "wanted", "remarks"),
    [
        ("Sampler: DPM++ 2M Karras", "dpmpp_2m_karras", []),
        ("Sampler: DPM++ 2M, Schedule type: Automatic, Version: v1.10.1", "dpmpp_2m_karras", []),
        ("Sampler: DPM++ 2M, Version: v1.8.0", "dpmpp_2m", []),
        ("Sampler: DPM++ 2M, Schedule type: Uniform", "dpmpp_2m", []),
        ("Sampler: DPM++ 2M, Schedule type: SGM Uniform", "dpmpp_2m", ["schedule_other"]),
        ("Sampler: Euler a, Schedule type: Automatic", "euler_a", []),
        ("Sampler: Euler, Schedule type: Karras", "euler", ["schedule_other"]),
        ("Sampler: DDIM", "ddim", []),
        ("Sampler: DPM++ SDE Karras", None, ["sampler_other"]),
    ],
)
def test_samplers(sampler: str, wanted: str | None, remarks: list[str]) -> None:
    found = read_pasted(f"cat\nSteps: 1, {sampler}, RNG: CPU, Seed: 2")
    assert found.settings.get("sampler") == wanted
    assert codes(found) == remarks


def test_rescaled_guidance_is_off_where_nothing_is_said() -> None:
    text = "cat\nSteps: 1, Sampler: Euler, CFG scale: 7, CFG Rescale: 0.7, RNG: CPU, Seed: 2"
    found = read_pasted(text)
    assert found.settings["guidance_rescale"] == 0.7
    assert codes(found) == [], "it was taken over, and named among what has no counterpart all the same"
    assert read_pasted(text.replace("CFG Rescale: 0.7, ", "")).settings["guidance_rescale"] == 0.0


def test_values_that_are_not_allowed_are_named_and_left_out() -> None:
    found = read_pasted(
        "cat\nSteps: 0, Sampler: Euler, CFG scale: nan, Seed: -1, Size: 9x99999, RNG: CPU, Clip skip: 99"
    )
    assert found.settings == UNSAID | {"sampler": "euler"}, "clip skip is left out, so it is what it is without a word"
    assert [remark.values["field"] for remark in found.remarks if remark.code == "value"] == [
        "num_inference_steps",
        "guidance_scale",
        "seed",
        "width",
        "height",
        "clip_skip",
    ]


def test_old_texts_count_schedules_in_the_old_way() -> None:
    text = "[cat:dog:1.0]\nSteps: 1, Sampler: Euler, Seed: 2, Version: v1.5.1"
    assert read_pasted(text).settings["old_scheduling"] is True
    assert read_pasted(text.replace("1.5.1", "1.6.0")).settings["old_scheduling"] is False


def test_other_prompt_options() -> None:
    found = settings_of("Steps: 1, Sampler: Euler, Emphasis: No norm, Pad conds: True, Clip skip: 0")
    assert (found["emphasis"], found["pad_prompts"], found["clip_skip"]) == ("no norm", True, 1)
    assert settings_of("Steps: 1, Sampler: Euler, Emphasis: Ignore")["emphasis"] == "original"


def test_a_picture_that_began_from_a_picture() -> None:
    assert "first_picture" in codes(read_pasted("cat\nSteps: 1, Sampler: Euler, Seed: 2, Denoising strength: 0.4"))
    hires = "cat\nSteps: 1, Sampler: Euler, Seed: 2, Denoising strength: 0.4, Hires upscale: 2"
    assert "first_picture" not in codes(read_pasted(hires))


@pytest.mark.parametrize(
    ("extra", "program"),
    [
        ("Version: v1.10.1", "a1111"),
        ("Version: f2.0.1v1.10.1-previous-659-gc055f2d4", "forge"),
        ("Version: neo", "forge"),
        ("App: SD.Next, Version: abc", "sdnext"),
        ("Version: Fooocus v2.5.5", "fooocus"),
        ("Version: lora-studio 9.9", "lora_studio"),
        ("Model: x", "a1111"),
    ],
)
def test_who_wrote_it(extra: str, program: str) -> None:
    assert read_pasted(f"cat\nSteps: 1, Sampler: Euler, Seed: 2, {extra}").program == program


@pytest.mark.parametrize("key", UNSAID)
def test_what_a_text_does_not_say_was_off(key: str) -> None:
    """Clip skip and old schedules of the picture taken over before stayed, and the card said that all was taken."""
    assert settings_of("Steps: 1, Sampler: Euler, Seed: 2")[key] == UNSAID[key]


def test_words_alone_have_no_program() -> None:
    assert not read_pasted("cat").settings, "words alone change no form"
    found = read_pasted("cat <lora:a:0.5>\nNegative prompt: dog")
    assert (found.program, found.prompt, found.negative) == ("", "cat", "dog")
    assert (found.adapters, codes(found)) == ((NamedFile("a", "", 0.5),), ["no_settings"])


# ------------------------------------------------------------ hashes and adapters
def test_civitai_s_hashes() -> None:
    found = read_pasted(
        'cat <lora:a-b:1> <lyco:c:0.5>\nSteps: 1, Sampler: Euler, Seed: 2, Hashes: {"model": "0123456789", '
        '"lora:a-b": "ABCDEF0123", "LORA:c": "1111111111", "embed:bad": "2222222222"}, RNG: CPU'
    )
    assert found.adapters == (NamedFile("a-b", "abcdef0123"), NamedFile("c", "1111111111", 0.5))
    assert found.embeddings == (NamedFile("bad", "2222222222"),)
    assert found.remarks == ()


def test_civitai_s_own_generator_names_resources_without_tags() -> None:
    resources = (
        '[{"type":"checkpoint","modelVersionId":1,"modelName":"base"},'
        '{"type":"lora","weight":0.7,"modelVersionId":2,"modelName":"Cat Ears, new","modelVersionName":"v1"}]'
    )
    found = read_pasted(f"cat\nSteps: 1, Sampler: Euler, Seed: 2, RNG: CPU, Civitai resources: {resources}")
    assert found.adapters == (NamedFile("Cat Ears, new", "", 0.7),)
    found = read_pasted(f"cat <lora:ears:1>\nSteps: 1, Sampler: Euler, Seed: 2, Civitai resources: {resources}")
    assert [one.name for one in found.adapters] == ["ears"], "it names the tag's LoRA again by its title"


def test_the_additional_networks_extension() -> None:
    found = read_pasted(
        "cat\nSteps: 1, Sampler: Euler, Seed: 2, RNG: CPU, AddNet Enabled: True, AddNet Module 1: LoRA, "
        "AddNet Model 1: ears-v1(0a1b2c3d4e5f), AddNet Weight A 1: 0.6, AddNet Weight B 1: 0.3, AddNet Model 2: None"
    )
    assert found.adapters == (NamedFile("ears-v1", "0a1b2c3d4e5f", 0.6, 0.3),)
    assert found.remarks == ()


def test_fooocus_in_a1111_s_layout() -> None:
    found = read_texts(
        {
            "parameters": "cat, cinematic still\nNegative prompt: anime\nSteps: 30, Sampler: DPM++ 2M SDE Karras, "
            "Seed: 5, Size: 1152x896, CFG scale: 4, Sharpness: 2.0, Model: juggernaut, Model hash: aeb7e9e689, "
            'Raw prompt: "cat\\nwith hat", Raw negative prompt: , '
            'Lora hashes: "offset: 4852686128, x: aaaabbbb", Lora weights: "offset: 0.1, x: 1.5", '
            "Version: Fooocus v2.5.5",
            "fooocus_scheme": "a1111",
        }
    )
    words = ("cat, cinematic still", "anime")  # of its styles too: they drew the picture, and are nowhere else
    assert (found.program, found.prompt, found.negative) == ("fooocus", *words)
    assert found.adapters == (NamedFile("offset", "4852686128", 0.1), NamedFile("x", "aaaabbbb", 1.5))
    assert "sampler_other" in codes(found)


def test_fooocus_2_2_wrote_weights_among_the_hashes() -> None:
    found = read_pasted(
        'cat\nSteps: 30, Sampler: Euler, Seed: 5, Lora hashes: "offset: 4852686128: 0.1, x: aaaabbbb: 1.5", '
        "Version: Fooocus v2.2.1"
    )
    assert found.adapters == (NamedFile("offset", "4852686128", 0.1), NamedFile("x", "aaaabbbb", 1.5))


def test_sd_next_s_own_keys() -> None:
    """Its rescale was read as 0, and it and the lists of LoRAs and embeddings were said to have no counterpart."""
    text = (
        "cat <lora:ears:1>\nSteps: 9, Sampler: Euler, Seed: 2, RNG: CPU, CFG rescale: 0.7, LoRA networks: ears, "
        'LoRA hashes: 1a2b3c4d, Embeddings: "bad, ok", Parser: native, App: SD.Next'
    )
    found = read_pasted(text)
    assert (found.settings["guidance_rescale"], codes(found)) == (0.7, [])
    assert found.embeddings == (NamedFile("bad"), NamedFile("ok"))
    other = read_pasted(text.replace("native", "Compel parser"))
    assert [(one.code, one.values) for one in other.remarks] == [("prompt_dialect", {"program": "SD.Next"})]


@pytest.mark.parametrize("prompt", ["[cat:dog:0.5]", "a [b|c]", "[a::2] b"])
def test_schedules_of_a1111_are_told_to_act_a_step_later_there(prompt: str) -> None:
    last = "\nSteps: 9, Sampler: Euler, Seed: 2, RNG: CPU, Version: "
    assert codes(read_pasted(prompt + last + "v1.10.1")) == ["schedule_later"]
    assert codes(read_pasted(prompt + last + "lora-studio 9.9")) == []
    assert codes(read_pasted("[cat]" + last + "v1.10.1")) == []


# ------------------------------------------------------------ tags
@pytest.mark.parametrize(
    ("tag", "remarks"),
    [
        ("<lora:x:0.5>", {}),
        ("<lora:x:1:lbwe=A:start=soon>", {"not_acting": {"names": "x: lbwe=A, start=soon"}}),
        ("<lora:x:1:lbw=NONE:start=5:stop=0.5>", {}),
        ("<lora:x:1:1:8>", {"not_acting": {"names": "x: dyn=8"}}),
        ("<lora:x:15>", {"lora_weight": {"name": "x", "given": 15.0, "allowed": 10.0}}),
    ],
)
def test_what_is_lost_with_a_tag_is_told(tag: str, remarks: dict[str, dict[str, Any]]) -> None:
    """The block weights of a picture were dropped, and the card said that everything was taken over."""
    found = read_pasted(f"cat {tag}\nSteps: 1, Sampler: Euler, Seed: 2, RNG: CPU")
    assert {remark.code: remark.values for remark in found.remarks} == remarks


@pytest.mark.parametrize(
    ("prompt", "rest", "found"),
    [
        ("a <lora:x:0.5> b", "a  b", [("x", 0.5, None)]),
        ("a <lora:x>", "a", [("x", 1.0, None)]),
        ("<lora:x:0.5:1>", "", [("x", 1.0, 0.5)]),
        ("<lora:x:te=0:unet=0.4>", "", [("x", 0.4, 0.0)]),
        ("<lora:x:99>", "", [("x", 10.0, None)]),
        ("a <lora:x:much> b", "a <lora:x:much> b", []),
        ("a <hypernet:x:1> ", "a <hypernet:x:1> ", []),
        ("a <lora:> b", "a <lora:> b", []),
    ],
)
def test_tags_leave_the_prompt(prompt: str, rest: str, found: list[tuple[str, float, float | None]]) -> None:
    kept, loras = take_loras(prompt, Draft(), 20)
    assert kept == rest
    assert [(one.name, one.weight, one.text_encoder_weight) for one in loras] == found
