"""The order of pictures: every picture is used equally often, whatever the batch size and the buckets."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio.dataset import plan
from lora_studio.errors import DatasetError, InvalidInput

ITEMS = st.lists(st.integers(0, 4), min_size=1, max_size=40)
BATCH = st.integers(1, 9)
SEED = st.integers(0, 2**53 - 1)


@given(buckets=ITEMS, batch=BATCH, seed=SEED, steps=st.integers(1, 120))
def test_uses_in_a_bucket_differ_by_at_most_one_at_any_time(
    buckets: list[int], batch: int, seed: int, steps: int
) -> None:
    made = plan(buckets, batch, seed)
    uses: Counter[int] = Counter()
    for step in range(steps):
        taken = made.batch(step)
        assert len(taken) == batch
        assert len({buckets[index] for index in taken}) == 1, "a batch is of one size"
        uses.update(taken)
    for bucket in set(buckets):
        counts = [uses[index] for index, mine in enumerate(buckets) if mine == bucket]
        assert max(counts) - min(counts) <= 1


@given(buckets=ITEMS, batch=BATCH, seed=SEED, steps=st.integers(1, 120))
def test_buckets_are_visited_in_proportion_to_their_size(buckets: list[int], batch: int, seed: int, steps: int) -> None:
    made = plan(buckets, batch, seed)
    visits = Counter(buckets[made.batch(step)[0]] for step in range(steps))
    for bucket, size in Counter(buckets).items():
        assert abs(visits[bucket] - steps * size / len(buckets)) < 1


@given(buckets=ITEMS, batch=BATCH, seed=SEED, rounds=st.integers(1, 3))
def test_after_as_many_steps_as_pictures_all_were_used_exactly_equally(
    buckets: list[int], batch: int, seed: int, rounds: int
) -> None:
    made = plan(buckets, batch, seed)
    steps = rounds * len(buckets)
    uses = Counter(index for step in range(steps) for index in made.batch(step))
    assert uses == dict.fromkeys(range(len(buckets)), rounds * batch)
    assert made.epochs(steps) == rounds * batch


@given(count=st.integers(1, 30), batch=BATCH, seed=SEED, epochs=st.integers(1, 4))
def test_with_one_bucket_every_epoch_has_every_picture_once(count: int, batch: int, seed: int, epochs: int) -> None:
    made = plan(["square"] * count, batch, seed)
    stream = [index for step in range(-(-count * epochs // batch)) for index in made.batch(step)]
    for epoch in range(epochs):
        assert sorted(stream[epoch * count : (epoch + 1) * count]) == list(range(count))


@given(buckets=ITEMS, batch=BATCH, seed=SEED, steps=st.lists(st.integers(0, 10**6), min_size=1, max_size=10))
def test_a_step_does_not_depend_on_which_were_asked_before(
    buckets: list[int], batch: int, seed: int, steps: list[int]
) -> None:
    made = plan(buckets, batch, seed)
    once = {step: made.batch(step) for step in steps}
    again = plan(buckets, batch, seed)
    assert all(again.batch(step) == once[step] for step in reversed(steps))


@settings(max_examples=20)
@given(seed=SEED)
def test_epochs_are_shuffled_and_seeds_differ(seed: int) -> None:
    made = plan([0] * 20, 20, seed)
    orders = [made.batch(step) for step in range(3)] + [plan([0] * 20, 20, seed + 1).batch(0)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_no_picture_of_a_small_bucket_is_left_out() -> None:
    """Twelve pictures in shapes 3+3+2+2+2 at batch 4 train nothing where left-overs are dropped."""
    buckets = [0] * 3 + [1] * 3 + [2] * 2 + [3] * 2 + [4] * 2
    made = plan(buckets, 4, 0)
    assert Counter(i for step in range(12) for i in made.batch(step)) == dict.fromkeys(range(12), 4)


def test_the_order_is_the_one_it_always_was() -> None:
    """A change here would make a continued training differ from one that never stopped."""
    made = plan(["a", "a", "b", "a", "a"], 3, 42)
    assert [made.batch(step) for step in range(6)] == PINNED


PINNED = [[1, 4, 3], [0, 4, 0], [3, 1, 3], [2, 2, 2], [0, 1, 4], [4, 3, 1]]


def test_no_pictures_and_bad_numbers_are_refused() -> None:
    with pytest.raises(DatasetError, match="0 pictures"):
        plan([], 4, 0)
    with pytest.raises(InvalidInput, match="batch size was given as 0"):
        plan([1], 0, 0)
    with pytest.raises(InvalidInput, match="step was given as -1"):
        plan([1], 1, 0).batch(-1)
