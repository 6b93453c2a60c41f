"""`lora_studio.engine.tagged`: what tags come to beside the adapters of a request, steps and blocks included."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from lora_studio.engine.tagged import Ground, acting
from lora_studio.prompt.language import parse
from lora_studio.prompt.names import Named, Names
from lora_studio.prompt.schedules import Counting
from lora_studio.types import AdapterWeight, UNetBlocks

STEPS = 20
BLOCKS = UNetBlocks(("IN00", "IN01", "M00", "OUT00", "OUT01"), ("IN01", "M00", "OUT00"))
INK = AdapterWeight("1" * 64, "ink", 0.8)


def made(text: str, *given: AdapterWeight, blocks: UNetBlocks = BLOCKS) -> tuple[AdapterWeight, list[str]]:
    """The one adapter that comes of a prompt, and the codes of what is said."""
    known = Names([Named(INK.sha256, "ink"), Named("2" * 64, "fog")])
    found, warnings = acting(given, parse(text, Counting(STEPS)).loras, Ground(known, STEPS, blocks))
    assert len(found) == 1
    return found[0], [warn.code for warn in warnings]


@pytest.mark.parametrize(
    ("options", "span"),
    [
        ("", (1, 20)),
        ("start=6", (6, 20)),
        ("stop=6", (1, 5)),
        ("end=6", (1, 5)),
        ("step=6-11", (6, 10)),
        ("start=0", (1, 20)),
        ("start=1:stop=21", (1, 20)),
        ("start=0.25", (6, 20)),
        ("stop=0.5", (1, 10)),
        ("step=0.25-0.5", (6, 10)),
        ("start=0.33", (8, 20)),
        ("stop=1.0", (1, 20)),
        ("stop=99", (1, 20)),
    ],
)
def test_steps_are_those_of_the_extension_and_shares_are_of_all(options: str, span: tuple[int, int]) -> None:
    """`start=6`: from the sixth step on; `stop=6`: the sixth is the first without it (`denoiser_callback`)."""
    found, told = made(f"x <lora:ink:0.8{options and ':'}{options}>")
    assert (found.span(STEPS), told) == (span, [])
    assert (found.weight, found.text_encoder_weight) == (0.8, None), "the words are read once, whatever the steps"


def test_a_part_of_no_steps_is_told() -> None:
    for options in ("stop=1", "start=21", "start=8:stop=3", "step=8-8"):
        found, told = made(f"<lora:ink:1:{options}>")
        assert (found.span(STEPS), told) == (None, ["tag_steps_none"])


def test_blocks_and_the_words() -> None:
    found, told = made("<lora:ink:0.8:lbw=0.5,1,0,1>")
    assert (found.blocks, told) == ((0.0, 1.0, 0.0, 1.0, 0.0), [])
    assert (found.weight, found.text_encoder_weight) == (0.8, 0.4), "BASE is of the words alone"
    found, _ = made("<lora:ink:0.2:0.8:lbw=1,0,0,1,2,3>")
    assert (found.blocks, found.weight, found.text_encoder_weight) == ((0.0, 0.0, 1.0, 2.0, 3.0), 0.8, 0.2)


def test_a_list_for_another_base_does_nothing_and_is_told() -> None:
    found, told = made(f"<lora:ink:0.8:lbw={','.join(['0'] * 17)}>")
    assert (found, told) == (INK, ["tag_blocks_unreadable"])
    found, told = made("<lora:ink:0.8:lbw=NONE>", blocks=UNetBlocks())
    assert (found, told) == (INK, ["tag_option_inactive"]), "without a base there are no blocks to be weighed"


def test_several_tags_of_one() -> None:
    found, told = made("<lora:ink:0.5:stop=11> <lora:ink:0.3:stop=11>")
    assert (found.weight, found.span(STEPS), told) == (0.8, (1, 10), [])
    found, told = made("<lora:ink:0.5:stop=11> <lora:ink:0.3:start=11>")
    assert (found.weight, found.span(STEPS), told) == (0.8, (11, 20), ["tag_places_differ"])


def test_what_the_mix_leaves_open_comes_from_the_tag() -> None:
    """The page sends its row's weight; where and when stand in the text alone."""
    text = "<lora:ink:0.8:stop=11:lbw=0.5,0,1,0>"
    found, told = made(text, INK)
    assert (found.weight, found.span(STEPS), found.blocks, told) == (0.8, (1, 10), (0.0, 0.0, 1.0, 0.0, 0.0), [])
    assert found.text_encoder_weight == 0.4
    assert made(text, found) == (found, []), "completing twice changes nothing"
    moved, told = made(text, dataclasses.replace(INK, weight=0.4))
    assert (moved.weight, moved.text_encoder_weight, told) == (0.4, 0.2, ["tag_overruled"])


@pytest.mark.parametrize(
    ("own", "told"),
    [
        ({"start": 0.5}, ["tag_places_overruled"]),
        ({"stop": 0.5, "blocks": (0.0, 0.0, 1.0, 0.0, 0.0), "text_encoder_weight": 0.4}, []),
        ({"blocks": (1.0, 0.0, 1.0, 0.0, 0.0), "text_encoder_weight": 0.4}, ["tag_places_overruled"]),
    ],
)
def test_what_the_mix_says_itself_is_used(own: dict[str, Any], told: list[str]) -> None:
    given = dataclasses.replace(INK, **own)
    found, said = made("<lora:ink:0.8:stop=11:lbw=0.5,0,1,0>", given)
    assert said == told
    assert found.blocks == (given.blocks or (0.0, 0.0, 1.0, 0.0, 0.0))
    assert (found.start, found.stop) == ((given.start, given.stop) if "start" in own else (0.0, 0.5))


def test_a_plain_tag_says_nothing_of_steps_and_blocks() -> None:
    given = dataclasses.replace(INK, start=0.5, blocks=(1.0, 0.0, 1.0, 0.0, 0.0))
    assert made("<lora:ink:0.8>", given) == (given, [])


def test_weights_beyond_what_a_mix_may_have_are_held() -> None:
    found, told = made("<lora:ink:8:1:lbw=9,1,1,1>")
    assert (found.text_encoder_weight, told) == (10.0, ["tag_weight_limit"])
