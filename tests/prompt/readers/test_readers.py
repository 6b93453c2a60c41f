"""`lora_studio.prompt.readers`: which text counts, and that none raises."""

from __future__ import annotations

import json
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
