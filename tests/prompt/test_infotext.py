"""`lora_studio.prompt.infotext`: layout, order, names and quoting of A1111's text, and that it can be read again."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio import __version__
from lora_studio.prompt.infotext import ModelFacts, infotext, number, quote
from lora_studio.prompt.readers import read_pasted
from lora_studio.types import EMPHASES, SAMPLERS, AdapterWeight, EmbeddingUse, GenerateRequest

SHA = "ab" * 32
FACTS = ModelFacts("v1-5-pruned-emaonly", "6ce0161689", {SHA: "1a2b3c4d5e6f"})


def request(**changes: Any) -> GenerateRequest:
    """A whole request with a few values changed."""
    given: dict[str, Any] = {
        "prompt": "1girl, red hair",
        "negative_prompt": "hat",
        "width": 512,
        "height": 768,
        "num_inference_steps": 28,
        "guidance_scale": 7.0,
        "sampler": "dpmpp_2m_karras",
        "seed": 123,
        "adapters": (AdapterWeight(SHA, "nekomimi", 0.8),),
    }
    return GenerateRequest(**(given | changes))


def test_the_whole_text() -> None:
    assert infotext(request(), FACTS) == (
        "1girl, red hair <lora:nekomimi:0.8>\n"
        "Negative prompt: hat\n"
        "Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 123, Size: 512x768, "
        "Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, RNG: CPU, "
        f'Lora hashes: "nekomimi: 1a2b3c4d5e6f", Version: lora-studio {__version__}'
    )


def test_what_is_absent_is_not_written() -> None:
    text = infotext(request(negative_prompt="", adapters=(), sampler="euler_a"), FACTS)
    assert text.splitlines()[0] == "1girl, red hair"
    assert len(text.splitlines()) == 2
    for absent in ("Negative prompt", "Schedule type", "Lora hashes", "<lora", "Denoising strength"):
        assert absent not in text
    assert "Sampler: Euler a, CFG scale" in text


def test_picture_i_has_seed_plus_i() -> None:
    assert "Seed: 126," in infotext(request(num_images=4), FACTS, index=3)


def test_names_are_written_in_letters_that_civitai_reads_and_stay_apart() -> None:
    other = "cd" * 32
    adapters = (
        AdapterWeight(SHA, "cat ears (v2)", 1.0),
        AdapterWeight(other, "cat:ears v2", -0.25),
        AdapterWeight(other, "猫耳", 1.0),
    )
    text = infotext(request(adapters=adapters), ModelFacts("m", "h", {SHA: "1" * 12, other: "2" * 12}))
    assert f"<lora:cat_ears_v2:1> <lora:cat_ears_v2_2:-0.25> <lora:{other[:12]}:1>" in text
    assert '"cat_ears_v2: 111111111111, cat_ears_v2_2: 222222222222, ' in text
    civitai = re.findall(r"<(lora|hypernet):([a-zA-Z0-9_\.\-]+):([0-9.]+)>", text)
    assert [name for _, name, _ in civitai] == ["cat_ears_v2", other[:12]]


def test_the_whole_last_line_in_a1111_s_order() -> None:
    asked = request(
        adapters=(AdapterWeight(SHA, "nekomimi", 0.8, text_encoder_weight=0.5),),
        embeddings=(EmbeddingUse("EasyNegativeV2", "aabbccddeeff" + "0" * 52),),
        clip_skip=2,
        emphasis="no norm",
        pad_prompts=True,
        old_scheduling=True,
        guidance_rescale=0.7,
    )
    text = infotext(asked, FACTS)
    assert text.startswith("1girl, red hair <lora:nekomimi:0.5:0.8>\n"), "text encoder first, as A1111 reads it"
    assert text.splitlines()[-1] == (
        "Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 123, Size: 512x768, "
        "Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Clip skip: 2, RNG: CPU, "
        'Lora hashes: "nekomimi: 1a2b3c4d5e6f", TI hashes: "EasyNegativeV2: aabbccddeeff", CFG Rescale: 0.7, '
        f"Emphasis: No norm, Pad conds: True, Old prompt editing timelines: True, Version: lora-studio {__version__}"
    )


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"start": 0.25}, ":start=6"),
        ({"stop": 0.5}, ":stop=11"),
        ({"start": 0.3, "stop": 0.77}, ":start=7:stop=16"),
        ({"stop": 1e-3}, ":start=21"),
        ({"blocks": (1.0, 0.0, -0.5)}, ":lbw=1,1,0,-0.5"),
    ],
)
def test_steps_and_blocks_are_written_as_the_extension_reads_them(changes: dict[str, Any], options: str) -> None:
    """The same steps act again where the text is read back; BASE is 1, the words have their weight already."""
    used = dataclasses.replace(request().adapters[0], **changes)
    text = infotext(request(adapters=(used,), num_inference_steps=20), FACTS)
    assert text.splitlines()[0] == f"1girl, red hair <lora:nekomimi:0.8{options}>"
    (read,) = read_pasted(text).adapters
    assert dataclasses.replace(used, start=read.start, stop=read.stop).span(20) == used.span(20)
    assert read.lbw == options.partition("lbw=")[2]


def test_even_steps_of_dpm_are_named() -> None:
    """Left out, the schedule is Automatic, and that is Karras for DPM++ 2M in A1111."""
    assert "Sampler: DPM++ 2M, Schedule type: Uniform, CFG" in infotext(request(sampler="dpmpp_2m"), FACTS)


def test_a_model_s_name_needs_no_quotes() -> None:
    """Civitai's reader takes whatever stands in quotes for a list."""
    assert "Model: my model v1.5, RNG" in infotext(request(), ModelFacts('my, "model": v1.5', "h"))


def test_tags_that_were_typed_stand_once_and_with_the_weight_that_acted() -> None:
    asked = request(prompt="a <lora:nekomimi:0.3> b <lora:unknown:1>")
    first, *_, last = infotext(asked, FACTS).splitlines()
    assert first == "a  b  <lora:nekomimi:0.8>"
    assert 'Raw prompt: "a <lora:nekomimi:0.3> b <lora:unknown:1>", Version' in last


def test_tags_are_not_hidden_by_what_the_prompt_ends_with() -> None:
    assert infotext(request(prompt="cat # a comment"), FACTS).splitlines()[1] == "<lora:nekomimi:0.8>"
    assert infotext(request(prompt="cat <note: open"), FACTS).startswith("<lora:nekomimi:0.8> cat <note: open\n")


WORDS = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            [
                *'\n "\\:,猫',
                "cat",
                "Negative prompt: x",
                "Steps: 3, Seed: 4, Size: 5x6, CFG scale: 1",
                "<lora:a:1>",
                "<note: ",
                "#c",
                "512x512",
                "(b:1.2)",
                "[a:b:3]",
                "\r",
                "\x00",
                "\u2028",
            ]
        ),
        max_size=8,
    ).map("".join),
)
MIXES = st.lists(
    st.tuples(st.text(min_size=1, max_size=6), st.floats(-10, 10), st.one_of(st.none(), st.floats(-10, 10))), max_size=3
)


@settings(deadline=None, max_examples=200)
@given(WORDS.filter(str.strip), WORDS, MIXES, st.integers(1, 12), st.sampled_from(EMPHASES), st.sampled_from(SAMPLERS))
def test_the_text_alone_gives_the_request_again(
    prompt: str, negative: str, mix: Any, clip_skip: int, emphasis: str, sampler: str
) -> None:
    """Whatever the words are: lines that look like settings, tags, comments, quotes."""
    adapters = tuple(AdapterWeight(f"{i:064x}", name, weight, te) for i, (name, weight, te) in enumerate(mix))
    fields = {"clip_skip": clip_skip, "emphasis": emphasis, "sampler": sampler}
    asked = request(prompt=prompt, negative_prompt=negative, adapters=adapters, **fields)
    text = infotext(asked, ModelFacts("m", "0" * 10, {a.sha256: a.sha256[:12] for a in adapters}))
    found = read_pasted(text)
    assert (found.program, found.prompt, found.negative, found.remarks) == ("lora_studio", prompt, negative, ())
    assert found.settings == fields | {
        "width": 512,
        "height": 768,
        "num_inference_steps": 28,
        "guidance_scale": 7.0,
        "guidance_rescale": 0.0,
        "seed": 123,
        "pad_prompts": False,
        "old_scheduling": False,
        "dynamic": False,
    }
    assert [(a.hash, a.weight, a.text_encoder_weight) for a in found.adapters] == [
        (a.sha256[:12], a.weight, None if a.text_encoder_weight == a.weight else a.text_encoder_weight)
        for a in adapters
    ]
    names = [a.name for a in found.adapters]
    again = dataclasses.replace(
        asked, adapters=tuple(dataclasses.replace(a, name=n) for a, n in zip(adapters, names, strict=True))
    )
    assert infotext(again, ModelFacts("m", "0" * 10, {a.sha256: a.sha256[:12] for a in adapters})) == text


def test_an_adapter_without_hash_is_left_out_of_the_hashes() -> None:
    text = infotext(request(), ModelFacts("m", "h"))
    assert "Lora hashes" not in text
    assert "<lora:nekomimi:0.8>" in text


def test_strength_stands_only_with_a_first_picture() -> None:
    assert "Denoising strength: 0.75, RNG" in infotext(request(init_image=SHA, strength=0.75), FACTS)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("plain", "plain"),
        ("a, b", '"a, b"'),
        ("a: b", '"a: b"'),
        ("a\nb", '"a\\nb"'),
        ('say "猫", b', '"say \\"猫\\", b"'),
    ],
)
def test_quoting_is_a_json_string_where_needed(value: str, wanted: str) -> None:
    assert quote(value) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"), [(7.0, "7"), (0.8, "0.8"), (1e-05, "0.00001"), (-1.5, "-1.5"), (100.0, "100"), (0.0, "0")]
)
def test_numbers_have_no_exponent_and_no_idle_digits(value: float, wanted: str) -> None:
    assert number(value) == wanted


@given(st.floats(min_value=-10, max_value=10, allow_nan=False))
def test_numbers_lose_nothing(value: float) -> None:
    assert float(number(value)) == value
