"""`lora_studio.prompt.readers.fooocus`: its JSON scheme, its log."""

from __future__ import annotations

import json

import pytest

from lora_studio.prompt.readers import NamedFile, read_pasted, read_texts

SCHEME = {
    "adm_guidance": "(1.5, 0.8, 0.3)",
    "base_model": "juggernautXL_v8Rundiffusion",
    "base_model_hash": "aeb7e9e689",
    "full_prompt": ["cinematic still cat", "cat, sharp"],
    "guidance_scale": 4,
    "lora_combined_1": "sd_xl_offset : 0.1",
    "loras": [["sd_xl_offset_example-lora_1.0", 0.1, "4852686128"], ["x.safetensors", 2]],
    "negative_prompt": "",
    "prompt": "cat",
    "resolution": "(1152, 896)",
    "sampler": "euler",
    "scheduler": "normal",
    "seed": "7",
    "steps": 30,
    "styles": "['Fooocus V2', \"Fooocus Sharp\"]",
    "version": "Fooocus v2.5.5",
}


def test_the_scheme() -> None:
    found = read_texts({"parameters": json.dumps(SCHEME), "fooocus_scheme": "fooocus"})
    assert (found.program, found.prompt, found.negative) == ("fooocus", "cat", "")
    assert found.settings == {
        "seed": 7, "num_inference_steps": 30, "guidance_scale": 4.0, "guidance_rescale": 0.0, "width": 1152,
        "height": 896, "sampler": "euler",
        "clip_skip": 1, "emphasis": "original", "pad_prompts": False, "old_scheduling": False, "dynamic": False,
    }  # fmt: skip
    assert found.adapters == (NamedFile("sd_xl_offset_example-lora_1.0", "4852686128", 0.1), NamedFile("x", "", 2.0))
    assert found.model == NamedFile("juggernautXL_v8Rundiffusion", "aeb7e9e689")
    values = {remark.code: remark.values for remark in found.remarks}
    assert values["styles"] == {"names": "Fooocus V2, Fooocus Sharp"}
    assert {"not_acting", "noise"} <= set(values)


def test_the_log_with_labels() -> None:
    log = {"Prompt": "cat", "Negative Prompt": "dog", "Resolution": "('512', '768')", "Base Model": "a.safetensors",
           "Seed": 3, "LoRA 1": "True : ears.safetensors : 0.5", "LoRA 2": "False : off.safetensors : 1.0",
           "LoRA 3": "None : 1.0"}  # fmt: skip
    found = read_pasted(json.dumps(log))
    assert (found.prompt, found.negative, found.settings["height"]) == ("cat", "dog", 768)
    assert found.adapters == (NamedFile("ears", "", 0.5),)


@pytest.mark.parametrize(
    "changes",
    [{"prompt": 5}, {"loras": 5}, {"loras": [5, [], ["a"], [1, 2]]}, {"resolution": "(1e9, 2)"}, {"seed": []}],
)
def test_other_values_than_expected(changes: dict[str, object]) -> None:
    assert read_texts({"parameters": json.dumps(SCHEME | changes)}).program == "fooocus"


@pytest.mark.parametrize(("prompt", "acts"), [("a [cat]", True), ("a AND b", True), ("(a:1.2), <lora:x:1>", False)])
def test_signs_that_are_plain_words_there_are_told(prompt: str, acts: bool) -> None:
    found = read_texts({"parameters": json.dumps(SCHEME | {"prompt": prompt})})
    assert ("prompt_acts" in [one.code for one in found.remarks]) is acts
