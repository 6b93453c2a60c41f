"""`lora_studio.prompt.readers.comfyui`: graphs as ComfyUI saves them, and graphs that nobody should have."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio.prompt.language import parse
from lora_studio.prompt.readers import NamedFile, Reading, read_pasted, read_texts
from lora_studio.prompt.readers.comfyui import read_comfyui
from lora_studio.prompt.schedules import Counting


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """One node."""
    return {"class_type": kind, "inputs": inputs}


def plain() -> dict[str, Any]:
    """The graph that ComfyUI opens with, with two LoRAs and clip skip."""
    return {
        "3": node(
            "KSampler",
            seed=156680208700286,
            steps=20,
            cfg=8.0,
            sampler_name="dpmpp_2m",
            scheduler="karras",
            denoise=1.0,
            model=["11", 0],
            positive=["6", 0],
            negative=["7", 0],
            latent_image=["5", 0],
        ),
        "4": node("CheckpointLoaderSimple", ckpt_name="SD15\\v1-5-pruned.safetensors"),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=1),
        "6": node("CLIPTextEncode", text="a (red:1.2) bottle", clip=["12", 0]),
        "7": node("CLIPTextEncode", text="text, watermark", clip=["12", 0]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
        "10": node("LoraLoader", lora_name="a/ears.safetensors", strength_model=0.8, strength_clip=0.8, model=["4", 0],
                   clip=["4", 1]),
        "11": node("LoraLoader", lora_name="style.safetensors", strength_model=0.5, strength_clip=0.2, model=["10", 0],
                   clip=["10", 1]),
        "12": node("CLIPSetLastLayer", stop_at_clip_layer=-2, clip=["11", 1]),
    }  # fmt: skip


def codes(found: Reading) -> list[str]:
    """The codes of its remarks."""
    return [remark.code for remark in found.remarks]


def test_the_plain_graph() -> None:
    found = read_texts({"prompt": json.dumps(plain()), "workflow": "{}"})
    assert (found.program, found.prompt, found.negative) == ("comfyui", "a (red:1.2) bottle", "text, watermark")
    assert found.settings == {
        "seed": 156680208700286,
        "num_inference_steps": 20,
        "guidance_scale": 8.0,
        "guidance_rescale": 0.0,
        "sampler": "dpmpp_2m_karras",
        "width": 512,
        "height": 768,
        "clip_skip": 2,
        "emphasis": "comfy",
        "pad_prompts": False,
        "old_scheduling": False,
        "dynamic": False,
    }
    assert found.adapters == (NamedFile("ears", "", 0.8), NamedFile("style", "", 0.5, 0.2))
    assert found.model == NamedFile("v1-5-pruned")
    assert found.remarks == ()


def test_rescaled_guidance() -> None:
    graph = plain()
    graph["60"] = node("RescaleCFG", model=graph["3"]["inputs"]["model"], multiplier=0.7)
    graph["3"]["inputs"]["model"] = ["60", 0]
    found = read_comfyui(graph)
    assert found.settings["guidance_rescale"] == 0.7
    assert [one.name for one in found.adapters] == ["ears", "style"]
    assert found.remarks == ()


def test_a_pasted_graph_and_one_inside_a_request_to_its_api() -> None:
    assert read_pasted(json.dumps(plain())).program == "comfyui"
    assert read_pasted(json.dumps({"prompt": plain(), "client_id": "x"})).prompt == "a (red:1.2) bottle"


def test_values_and_words_behind_links() -> None:
    graph = plain()
    graph["3"]["inputs"] |= {"seed": ["20", 0], "steps": ["21", 0]}
    graph["6"]["inputs"]["text"] = ["22", 0]
    graph |= {
        "20": node("Seed Everywhere", seed=7),
        "21": node("PrimitiveInt", value=9),
        "22": node("StringConcatenate", string_a=["23", 0], string_b="dog", delimiter=" and "),
        "23": node("PrimitiveString", value="cat"),
    }
    found = read_comfyui(graph)
    assert (found.settings["seed"], found.settings["num_inference_steps"]) == (7, 9)
    assert found.prompt == "cat and dog"


def test_conditionings_that_pass_through_and_join() -> None:
    graph = plain()
    graph["3"]["inputs"] |= {"positive": ["30", 0], "negative": ["30", 1]}
    graph |= {
        "30": node(
            "ControlNetApplyAdvanced", positive=["31", 0], negative=["7", 0], strength=1.0, control_net=["33", 0]
        ),
        "31": node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["32", 0]),
        "32": node("CLIPTextEncodeSDXL", text_g="big", text_l="small", width=1024, height=1024, clip=["4", 1]),
        "33": node("ControlNetLoader", control_net_name="x"),
    }
    found = read_comfyui(graph)
    assert found.prompt == "a (red:1.2) bottle :0.5 AND big, small :0.5"
    assert found.negative == "text, watermark"
    assert found.remarks == ()


def combined(kind: str, *texts: str) -> Reading:
    """Texts joined by nodes of that kind, two at a time, on both sides."""
    graph = plain()
    graph |= {f"t{n}": node("CLIPTextEncode", text=text, clip=["12", 0]) for n, text in enumerate(texts)}
    last = ["t0", 0]
    for n in range(1, len(texts)):
        graph[f"j{n}"] = node(kind, conditioning_1=last, conditioning_2=[f"t{n}", 0])
        last = [f"j{n}", 0]
    graph["3"]["inputs"] |= {"positive": last, "negative": last}
    return read_comfyui(graph)


def test_combined_texts_are_averaged() -> None:
    """AND with weights of 1 each adds what ComfyUI averages: two texts had twice the guidance, three three times."""
    found = combined("ConditioningCombine", "red", "blue # not green", "red", "dusk 16:9")
    assert found.prompt == "red :0.5 AND blue # not green\n:0.25 AND dusk 16:9 :0.25"
    parts = parse(found.prompt, Counting(10), reading="comfy").parts
    read = [(part.words.text.strip(), part.weight) for part in parts]
    assert read == [("red", 0.5), ("blue", 0.25), ("dusk 16:9", 0.25)]
    assert found.negative == "red,\nblue # not green,\ndusk 16:9", "AND is a word there"
    assert codes(found) == ["prompt_acts", "texts_joined"]
    assert combined("ConditioningCombine", "red", "red").prompt == "red"


def test_texts_one_behind_the_other_are_one_text() -> None:
    """They were joined by BREAK, which in ComfyUI's reading is the word "break"."""
    found = combined("ConditioningConcat", "red", "blue")
    assert (found.prompt, found.negative) == ("red, blue", "red, blue")
    assert codes(found) == ["texts_joined"]


def test_embeddings_are_called_by_their_names_alone() -> None:
    graph = plain()
    graph["6"]["inputs"]["text"] = "a (embedding:sub\\Fancy.pt:1.2), my_embedding:x"
    graph["7"]["inputs"]["text"] = "embedding:EasyNegative, embedding:bad-hands-5.safetensors."
    found = read_comfyui(graph)
    assert (found.prompt, found.negative) == ("a (Fancy:1.2), my_embedding:x", "EasyNegative, bad-hands-5.")
    assert found.embeddings == (NamedFile("Fancy"), NamedFile("EasyNegative"), NamedFile("bad-hands-5"))


@pytest.mark.parametrize("text", ["a # b", "a AND b", "[a:b:3]", "[a|b]", "a <lora:x:1>", "ratio 16:9"])
def test_signs_that_are_words_in_comfyui_and_act_here_are_told(text: str) -> None:
    graph = plain()
    graph["6"]["inputs"]["text"] = text
    found = read_comfyui(graph)
    assert (found.prompt, codes(found)) == (text, ["prompt_acts"])


def test_the_sampler_of_parts() -> None:
    graph = plain()
    graph["3"] = node("SamplerCustomAdvanced", noise=["40", 0], guider=["41", 0], sampler=["42", 0], sigmas=["43", 0],
                      latent_image=["5", 0])  # fmt: skip
    graph |= {
        "40": node("RandomNoise", noise_seed=11),
        "41": node("CFGGuider", model=["11", 0], positive=["6", 0], negative=["7", 0], cfg=3.5),
        "42": node("KSamplerSelect", sampler_name="euler_ancestral"),
        "43": node("BasicScheduler", scheduler="simple", steps=6, denoise=1.0, model=["11", 0]),
    }
    found = read_comfyui(graph)
    assert found.settings == {
        "seed": 11, "num_inference_steps": 6, "guidance_scale": 3.5, "sampler": "euler_a", "width": 512, "height": 768,
        "clip_skip": 2, "emphasis": "comfy", "guidance_rescale": 0.0,
        "pad_prompts": False, "old_scheduling": False, "dynamic": False,
    }  # fmt: skip
    assert [one.name for one in found.adapters] == ["ears", "style"]


def test_of_two_samplers_the_one_from_noise_counts() -> None:
    graph = plain()
    second = node("KSampler", **(graph["3"]["inputs"] | {"seed": 1, "latent_image": ["50", 0]}))
    found = read_comfyui({"1": second, **graph, "50": node("LatentUpscale", samples=["3", 0], width=1024, height=1024)})
    assert found.settings["seed"] == 156680208700286, "the latent of the other goes back to the empty one through it"
    assert codes(found) == ["several_samplers"]


def test_a_graph_from_a_picture() -> None:
    graph = plain()
    graph["5"] = node("VAEEncode", pixels=["51", 0], vae=["4", 2])
    assert "first_picture" in codes(read_comfyui(graph | {"51": node("LoadImage", image="a.png")}))


def test_loras_in_stacks_and_for_the_model_only() -> None:
    graph = plain()
    graph["10"] = node("Power Lora Loader (rgthree)", model=["4", 0], clip=["4", 1],
                       lora_1={"on": True, "lora": "x/one.safetensors", "strength": 0.3},
                       lora_2={"on": False, "lora": "two.safetensors", "strength": 0.3})  # fmt: skip
    graph["11"] = node("LoraLoaderModelOnly", lora_name="three.safetensors", strength_model=-1, model=["10", 0])
    assert read_comfyui(graph).adapters == (NamedFile("one", "", 0.3), NamedFile("three", "", -1.0, 0.0))


def test_nodes_that_are_not_known_are_named() -> None:
    graph = plain()
    graph["6"] = node("MagicPrompter", idea=5)
    found = read_comfyui(graph)
    assert (found.prompt, found.remarks[0].values) == ("", {"names": "MagicPrompter"})


def test_links_that_go_round() -> None:
    graph = plain()
    graph["6"]["inputs"] = {"conditioning": ["6", 0]}
    graph["4"] = node("ModelPatcher", model=["11", 0])
    graph["5"] = node("LatentFlip", samples=["5", 0])
    graph["3"]["inputs"]["seed"] = ["60", 0]
    found = read_comfyui(graph | {"60": node("Int", value=["60", 0])})
    assert found.program == "comfyui"
    assert "seed" not in found.settings


def branching(keys: tuple[str, ...]) -> dict[str, Any]:
    """A node whose every input leads back to itself."""
    text = node("X", **{key: ["2", 0] for key in keys})
    return {"1": node("KSampler", positive=["2", 0], negative=["2", 0], steps=1), "2": text}


def diamonds(count: int) -> dict[str, Any]:
    """Nodes each of which joins the next one's text with a longer one of it."""
    graph: dict[str, Any] = {"1": node("KSampler", positive=["n0", 0], negative=["n0", 0], steps=1)}
    for n in range(count):
        graph[f"n{n}"] = node("X", text=[f"n{n + 1}", 0], text_g=[f"m{n}", 0])
        graph[f"m{n}"] = node("Y", text=[f"n{n + 1}", 0], text_g=f"word {n}")
    return graph | {f"n{count}": node("CLIPTextEncode", text="end")}


def combining(count: int) -> dict[str, Any]:
    """Combinations each of which holds the next one twice."""
    graph: dict[str, Any] = {"1": node("KSampler", positive=["n0", 0], negative=["n0", 0], steps=1)}
    for n in range(count):
        graph[f"n{n}"] = node("ConditioningCombine", a=[f"n{n + 1}", 0], b=[f"n{n + 1}", 0])
    return graph | {f"n{count}": node("CLIPTextEncode", text="end")}


@pytest.mark.parametrize(
    "graph",
    [
        branching(("text", "text_g", "text_l")),
        branching(("text", "text_g", "text_l", "text1", "text2", "value", "string", "seed")),
        {"1": branching(())["1"], "2": node("ConditioningCombine", a=["2", 0], b=["2", 0])},
        diamonds(60),
        combining(60),
        combining(5000),
        {**diamonds(0), "n0": node("ConditioningCombine", **{f"i{n}": ["t", 0] for n in range(50_000)}),
         "t": node("CLIPTextEncode", text="a")},
    ],
    ids=["three", "eight", "combine", "diamonds", "combining", "deep", "wide"],
)  # fmt: skip
def test_no_graph_takes_long(graph: dict[str, Any]) -> None:
    """A picture of two hundred bytes kept a thread busy for ever: every way through the graph was followed anew."""
    began = time.monotonic()
    found = read_texts({"prompt": json.dumps(graph)})
    assert time.monotonic() - began < 2
    assert len(found.prompt or "") <= 2_000_000


def test_legal_graphs_with_a_text_used_often() -> None:
    found = read_comfyui(diamonds(3))
    half = "end, end, word 2, end, end, word 2, word 1"
    assert found.prompt == f"{half}, {half}, word 0"
    assert codes(read_comfyui(diamonds(60))) == ["too_long"]
    assert codes(read_comfyui(combining(60))) == ["graph"]
    assert read_comfyui(combining(6)).prompt == "end"


VALUES = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(max_size=5), st.booleans(),
    st.tuples(st.sampled_from("1234567"), st.integers(0, 2)).map(list),
    st.lists(st.integers(), max_size=3), st.fixed_dictionaries({"lora": st.text(max_size=3), "strength": st.floats()}),
)  # fmt: skip
KEYS = st.sampled_from(
    [
        *("positive", "negative", "model", "steps", "seed", "cfg", "latent_image", "clip", "text", "text_g", "samples"),
        *("conditioning", "lora_name", "strength_model", "sampler_name", "scheduler", "width", "height", "sampler"),
        *("stop_at_clip_layer", "noise", "guider", "sigmas", "ckpt_name", "value", "text_l", "string_a", "a", "b"),
    ]
)
KINDS = st.sampled_from(
    ["KSampler", "SamplerCustomAdvanced", "CLIPTextEncode", "LoraLoader", "ConditioningCombine", "X"]
)
GRAPHS = st.dictionaries(
    st.sampled_from("1234567"),
    st.fixed_dictionaries({"class_type": KINDS, "inputs": st.dictionaries(KEYS, VALUES, max_size=8)}),
    max_size=7,
)


@settings(deadline=None, max_examples=300)
@given(GRAPHS)
def test_no_graph_raises(graph: dict[str, Any]) -> None:
    found = read_comfyui(graph)
    json.dumps(dict(found.settings), allow_nan=False)
    assert all(-10 <= one.weight <= 10 for one in found.adapters)
