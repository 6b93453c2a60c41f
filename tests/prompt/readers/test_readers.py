"""`lora_studio.prompt.readers`: which text counts, and that none raises."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio.prompt.infotext import CHUNK, PARAMETERS, ModelFacts, infotext, request_chunk
from lora_studio.prompt.readers import REMARKS, NamedFile, read_pasted, read_texts
from lora_studio.prompt.readers.reading import MAX_TEXT, clean_hash, number, stem, weight
from lora_studio.types import AdapterWeight, EmbeddingUse, GenerateRequest

SHA = "ab" * 32
ASKED = GenerateRequest(
    prompt="cat\n ears", negative_prompt="dog", width=128, height=192, num_inference_steps=5, guidance_scale=2.5,
    sampler="euler_a", seed=10, num_images=4, adapters=(AdapterWeight(SHA, "猫", 0.5, 0.25),), base="cd" * 32,
    embeddings=(EmbeddingUse("bad", "ef" * 32),), clip_skip=2, emphasis="comfy",
)  # fmt: skip


def test_our_own_exact_request_comes_first() -> None:
    texts = {"parameters": infotext(ASKED, ModelFacts("m", "0" * 10), index=2), CHUNK: request_chunk(ASKED, 2)}
    found = read_texts(texts)
    assert found.request is not None
    assert (found.request.seed, found.request.num_images) == (12, 1), "that one picture"
    assert (found.prompt, found.negative, found.settings["seed"]) == ("cat\n ears", "dog", 12)
    assert found.adapters == (NamedFile("猫", SHA, 0.5, 0.25),)
    assert found.embeddings == (NamedFile("bad", "ef" * 32),)
    assert found.model == NamedFile("", "cd" * 32)
    assert (found.settings["clip_skip"], found.settings["emphasis"]) == (2, "comfy")


def test_a_damaged_request_gives_way_to_the_text() -> None:
    text = infotext(ASKED, ModelFacts("m", "0" * 10))
    found = read_texts({CHUNK: request_chunk(ASKED)[:-5], "parameters": text})
    assert (found.program, found.prompt, found.request) == ("lora_studio", "cat\n ears", None)
    assert [remark.code for remark in found.remarks] == ["damaged"]


@pytest.mark.parametrize("damage", [{"format": 99}, {"request": {"prompt": "a"}}, {"index": -1}])
def test_a_pasted_request_that_cannot_be_read_is_no_prompt(damage: dict[str, Any]) -> None:
    """Its JSON became the prompt, and nothing said why."""
    found = read_pasted(json.dumps(json.loads(request_chunk(ASKED)) | damage))
    assert (found.program, found.prompt, dict(found.settings)) == ("lora_studio", None, {})
    assert [(remark.code, remark.values) for remark in found.remarks] == [("damaged", {"what": CHUNK})]


def test_every_program_says_what_was_off() -> None:
    """Clip skip, old schedules and alternatives of an earlier picture stayed where a text left them unsaid."""
    graph = {"1": {"class_type": "KSampler", "inputs": {"positive": 0, "negative": 0, "steps": 3}}}
    texts = {
        "comfy": {"prompt": json.dumps(graph)},
        "original": {"parameters": "cat\nSteps: 3, Sampler: Euler, Seed: 2"},
        "compel": {"invokeai_metadata": json.dumps({"positive_prompt": "cat", "steps": 3})},
    }
    other = {"compel": {"sd-metadata": json.dumps({"image": {"prompt": "cat", "steps": 3}})},
             "original": {"parameters": json.dumps({"base_model": "x", "prompt": "cat", "steps": 3})}}  # fmt: skip
    for emphasis, written in (*texts.items(), *other.items()):
        found = read_texts(written)
        assert found.settings["num_inference_steps"] == 3
        assert {key: found.settings[key] for key in ("clip_skip", "pad_prompts", "old_scheduling", "dynamic")} == {
            "clip_skip": 1, "pad_prompts": False, "old_scheduling": False, "dynamic": False,
        }  # fmt: skip
        assert (found.settings["emphasis"], found.settings["guidance_rescale"]) == (emphasis, 0.0)


EVERY_FIELD = {
    "negative_prompt": "dog", "clip_skip": 2, "emphasis": "no norm", "pad_prompts": True, "old_scheduling": True,
    "guidance_rescale": 0.7, "adapters": (AdapterWeight(SHA, "ears", 0.5, 0.25),),
    "embeddings": (EmbeddingUse("bad", "ef" * 32),), "base": "cd" * 32, "num_images": 3, "sampler": "dpmpp_2m_karras",
}  # fmt: skip


@pytest.mark.parametrize("field", EVERY_FIELD)
def test_our_own_text_has_nothing_without_a_counterpart(field: str) -> None:
    """`CFG Rescale` of our own pictures was taken over, and named among what has no counterpart here."""
    request = dataclasses.replace(ASKED, **{field: EVERY_FIELD[field]})
    found = read_pasted(infotext(request, ModelFacts("m", "0" * 10, {SHA: "a" * 12})))
    assert [remark.sentence() for remark in found.remarks] == []


HOSTILE = {
    "brackets": lambda n: {"sd-metadata": json.dumps({"image": {"prompt": "[]" * n}})},
    "open brackets": lambda n: {"sd-metadata": json.dumps({"image": {"prompt": "[" * n}})},
    "adapters": lambda n: {"parameters": "cat\n" + "AddNet Model 1: a," * n},
    "tags": lambda n: {"parameters": "<lora:a:1>" * n + "\nSteps: 1, Sampler: Euler, Seed: 2"},
    "colons": lambda n: {"parameters": "cat\nSteps: 1, Sampler: Euler, " + "a:" * n},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_time_grows_with_the_length_alone(kind: str) -> None:
    """Four million characters of empty brackets were copied two million times; hundreds of thousands of pairs made a
    dictionary each."""

    def seconds(count: int) -> float:
        began = time.perf_counter()
        read_texts(HOSTILE[kind](count))
        return time.perf_counter() - began

    seconds(1000)
    few, many = min(seconds(10_000) for _ in range(3)), seconds(100_000)
    assert many < 40 * few + 0.5


def test_the_keywords_in_order() -> None:
    graph = json.dumps({"1": {"class_type": "KSampler", "inputs": {"positive": 0, "negative": 0, "steps": 3}}})
    a1111 = "cat\nSteps: 1, Sampler: Euler, Seed: 2"
    assert read_texts({"prompt": graph, "parameters": a1111}).program == "a1111"
    assert read_texts({"prompt": graph, "parameters": "words"}).program == "comfyui"
    assert read_texts({"UserComment": a1111}).program == "a1111"
    assert read_texts({"Comment": "holiday"}).program == ""
    assert read_texts({}).program == ""


def test_a_text_that_is_too_long_is_left_out() -> None:
    found = read_texts({"parameters": "a" * (MAX_TEXT + 1), "Comment": "cat\nSteps: 1, Sampler: Euler, Seed: 2"})
    assert (found.program, found.remarks[0].code) == ("a1111", "too_long")
    assert read_pasted("a" * (MAX_TEXT + 1)).remarks[0].code == "too_long"


def test_every_remark_has_a_sentence_that_its_values_fill() -> None:
    many = {
        "prompt": json.dumps({"1": {"class_type": "X", "inputs": {}}}),
        "parameters": "cat\nSteps: 0, Sampler: odd, Schedule type: odd, Face restoration: x, Emphasis: None, "
        "Denoising strength: 1",
    }
    found = [*read_texts(many).remarks, *read_texts({"prompt": many["prompt"]}).remarks]
    assert len(found) >= 6
    for remark in found:
        assert "{" not in remark.sentence()
        assert remark.code in REMARKS


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                [
                    *("inputs", "class_type", "prompt", "1", "positive", "negative", "steps", "model", "lora", "image"),
                    *("loras", "weight", "name", "seed", "positive_prompt", "base_model", "resolution", "styles"),
                    *("request", "format", "adapters", "width", "index"),
                ]
            ),
            inner,
            max_size=6,
        ),
    ),
    max_leaves=30,
)
PAIRS = st.lists(
    st.tuples(
        st.sampled_from(["Steps", "Seed", "Size", "Sampler", "Lora hashes", "Hashes", "Civitai resources", "Version"]),
        st.one_of(st.text(max_size=12), JSON.map(json.dumps)),
    ),
    max_size=8,
).map(lambda pairs: "cat\n" + ", ".join(f"{key}: {value}" for key, value in pairs))
TEXTS = st.one_of(st.text(max_size=60), JSON.map(json.dumps), PAIRS)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from([CHUNK, "parameters", "prompt", "invokeai_metadata", "sd-metadata", "UserComment"]), TEXTS
    )
)
def test_nothing_raises_and_everything_can_be_sent(texts: dict[str, str]) -> None:
    for found in (read_texts(texts), *(read_pasted(text) for text in texts.values())):
        sent: Any = [found.prompt, found.negative, dict(found.settings), [r.sentence() for r in found.remarks]]
        json.dumps(sent, allow_nan=False, ensure_ascii=False).encode()
        assert all(-10 <= one.weight <= 10 for one in found.adapters)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("7", 7), (" 1.5 ", 1.5), ("9" * 25, None), ("1e400", None), ("x", None), (True, None), (None, None), ([], None),
     (float("nan"), None), (2**70, None), ("9007199254740993", 9007199254740993)],
)  # fmt: skip
def test_numbers(given: Any, wanted: Any) -> None:
    assert number(given) == wanted


def test_small_helpers() -> None:
    assert weight("x") == 1.0
    assert weight(-50) == -10.0
    assert clean_hash("0xABCDEF0123") == "abcdef0123"
    assert clean_hash("blake3:abcdef0123") == ""
    assert stem("C:\\a\\b.v1.SafeTensors") == "b.v1"


def test_our_own_pictures_have_a1111s_fields_too() -> None:
    """Only the exact request was read, and `infotext` printed no field for the pictures that are made here."""
    request = GenerateRequest("a cat", 64, 96, 7, 4.0, "euler", 3)
    texts = {CHUNK: request_chunk(request), PARAMETERS: infotext(request, ModelFacts("m", "0123456789"))}
    found = read_texts(texts)
    assert found.request == request
    assert (found.fields["Steps"], found.fields["Seed"], found.fields["Prompt"]) == ("7", "3", "a cat")
