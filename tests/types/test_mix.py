"""`lora_studio.types.mix`: which steps a share of them is, and what is refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.errors import InvalidInput
from lora_studio.types import AdapterWeight, from_json, to_json


def used(**changes: Any) -> AdapterWeight:
    return AdapterWeight("0" * 64, "ink", 0.8, **changes)


@given(st.integers(1, 1000), st.data())
def test_a_share_that_was_a_step_is_that_step_again(steps: int, data: st.DataObject) -> None:
    """Rounded quotients name the very steps that they were made of, for every number of steps."""
    first = data.draw(st.integers(1, steps))
    last = data.draw(st.integers(first, steps))
    chosen = used(start=round((first - 1) / steps, 6), stop=round(last / steps, 6))
    assert chosen.span(steps) == (first, last)
    acting = [step for step in range(1, steps + 1) if chosen.acts_in(step, steps)]
    assert acting == list(range(first, last + 1))


@given(st.integers(1, 50), st.integers(0, 100), st.integers(0, 100))
def test_a_step_acts_where_it_lies_in_the_part_as_a_whole(steps: int, one: int, other: int) -> None:
    """Step k is the part from (k - 1)/n to k/n: as ControlNet's start and end in diffusers."""
    start, stop = sorted((one, other))
    chosen = used(start=start / 100, stop=stop / 100)
    for step in range(1, steps + 1):
        within = Fraction(step - 1, steps) >= Fraction(start, 100) and Fraction(step, steps) <= Fraction(stop, 100)
        assert chosen.acts_in(step, steps) == within


def test_two_halves_are_the_whole_and_share_no_step() -> None:
    for steps in range(1, 40):
        halves = [used(stop=0.5), used(start=0.5)]
        acting = [[step for step in range(1, steps + 1) if half.acts_in(step, steps)] for half in halves]
        middle = [(steps + 1) // 2] if steps % 2 else []
        assert sorted([*acting[0], *acting[1], *middle]) == list(range(1, steps + 1))


def test_old_requests_act_in_all_steps_and_blocks() -> None:
    old = from_json(AdapterWeight, {"sha256": "0" * 64, "name": "ink", "weight": 0.8})
    assert (old.always, old.blocks, old.span(7)) == (True, (), (1, 7))
    new = used(start=0.25, stop=0.5, blocks=(1.0, 0.0))
    assert from_json(AdapterWeight, to_json(new)) == new


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"start": 0.6, "stop": 0.5}, "steps_reversed"),
        ({"start": 1.5}, "field_number"),
        ({"stop": -0.1}, "field_number"),
        ({"blocks": (1.0, float("nan"))}, "blocks_range"),
        ({"blocks": (11.0,)}, "blocks_range"),
        ({"blocks": (10**400,)}, "blocks_range"),
        ({"blocks": (float("-inf"),)}, "blocks_range"),
        ({"blocks": ("1",)}, "blocks_range"),
        ({"blocks": (1.0,) * 129}, "blocks_range"),
        ({"blocks": "111"}, "blocks_range"),
        ({"blocks": None}, "blocks_range"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidInput) as told:
        used(**changes)
    assert told.value.code == code
