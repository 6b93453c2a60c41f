"""Which pictures each step takes: a function of (seed, step) alone, so that a stopped training can go on anywhere.

Each bucket has an endless stream of its pictures: one random permutation after the other. A visit takes the next
`batch_size` of them; what a permutation leaves over goes into the bucket's next batch together with the beginning of
the next permutation. So no picture is ever more than one use ahead of another in its bucket, whatever the batch size
(other trainers drop the left-over pictures, or whole small buckets). Buckets are visited in proportion to their
size, each visit at its fair time: after t steps a bucket of share p was visited floor(p t) or ceil(p t) times
(earliest deadline first; R. Tijdeman, "The chairman assignment problem", 1980). It knows numbers only.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from lora_studio.errors import DatasetError, InvalidInput


@dataclass(frozen=True)
class Plan:
    """Made by `plan`; every method is a pure function."""

    batch_size: int
    seed: int
    buckets: tuple[tuple[int, ...], ...]
    """The items' indices in each bucket."""
    cycle: tuple[tuple[int, int], ...]
    """(bucket, how many visits it had before in this cycle) of each step of a cycle; then it begins again."""

    def batch(self, step: int) -> list[int]:
        """The indices of the items of a step (from 0), all of one bucket, `batch_size` of them."""
        if step < 0:
            raise InvalidInput(f"The step was given as {step}; steps count from 0.", code="step_negative", given=step)
        round_, place = divmod(step, len(self.cycle))
        bucket, before = self.cycle[place]
        items = self.buckets[bucket]
        visits = len(items) * len(self.cycle) // self.items
        start = (round_ * visits + before) * self.batch_size
        taken: list[int] = []
        epoch, offset = divmod(start, len(items))
        while len(taken) < self.batch_size:
            order = self._permutation(bucket, epoch)
            taken += order[offset : offset + self.batch_size - len(taken)]
            epoch, offset = epoch + 1, 0
        return taken

    @property
    def items(self) -> int:
        """How many pictures there are."""
        return sum(len(items) for items in self.buckets)

    def epochs(self, steps: int) -> float:
        """How often every picture was used on average after so many steps."""
        return steps * self.batch_size / self.items

    def _permutation(self, bucket: int, epoch: int) -> list[int]:
        order = list(self.buckets[bucket])
        _rng(self.seed, bucket, epoch).shuffle(order)
        return order


def plan(bucket_of_item: Sequence[Hashable], batch_size: int, seed: int) -> Plan:
    """The plan for items whose buckets are given (any value; equal values are one bucket).

    Raises:
        DatasetError: there are no items.
        InvalidInput: the batch size is below 1.
    """
    if batch_size < 1:
        raise InvalidInput(
            f"The batch size was given as {batch_size}; it must be 1 or more.", code="batch_size", given=str(batch_size)
        )
    if not bucket_of_item:
        raise DatasetError(
            "0 pictures can be trained on; at least 1 is needed; add pictures.", code="dataset_empty", given="0"
        )
    groups: dict[Hashable, list[int]] = {}
    for index, bucket in enumerate(bucket_of_item):
        groups.setdefault(bucket, []).append(index)
    buckets = tuple(tuple(items) for items in groups.values())
    return Plan(batch_size, seed, buckets, _cycle([len(items) for items in buckets], seed))


def _cycle(sizes: list[int], seed: int) -> tuple[tuple[int, int], ...]:
    """The order of visits: over sum/gcd steps each bucket is visited size/gcd times, each visit in its fair window.

    Visit k of a bucket of share p may not come before floor(k/p) nor after ceil((k+1)/p) - 1; taking the earliest
    deadline among those that may come keeps every window. Equals are ordered by the seed.
    """
    divisor = math.gcd(*sizes)
    counts = [size // divisor for size in sizes]
    length = sum(counts)
    ties = list(range(len(sizes)))
    _rng(seed, -1, 0).shuffle(ties)
    waiting: list[list[tuple[int, int, int]]] = [[] for _ in range(length)]
    for bucket, count in enumerate(counts):
        for visit in range(count):
            deadline = -(-(visit + 1) * length // count) - 1
            waiting[visit * length // count].append((deadline, ties[bucket], visit))
    of_tie = {tie: bucket for bucket, tie in enumerate(ties)}
    ready: list[tuple[int, int, int]] = []
    order: list[tuple[int, int]] = []
    for arrived in waiting:
        for visit_entry in arrived:
            heapq.heappush(ready, visit_entry)
        _, tie, visit = heapq.heappop(ready)
        order.append((of_tie[tie], visit))
    return tuple(order)


def _rng(seed: int, bucket: int, epoch: int) -> random.Random:
    digest = hashlib.sha256(f"order/{seed}/{bucket}/{epoch}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))
