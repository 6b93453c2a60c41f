"""Whose turn it is: start-time fair queueing over turns.

Each flow carries a tag, the virtual time at which its next turn starts. The flow with the smallest tag is served and
its tag grows by what the turn cost. A flow that (re)joins starts at the present virtual time: no old credit, no old
debt, so a newcomer is served within one round. It knows nothing of jobs or clocks.

Source: Goyal, Vin & Cheng 1997, Start-time Fair Queueing, IEEE/ACM Transactions on Networking 5(5), section II.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class FairQueue(Generic[K]):
    """Flows in start-time fair order."""

    def __init__(self) -> None:
        self._virtual = 0.0
        self._tags: dict[K, float] = {}
        self._left: dict[K, float] = {}

    def __len__(self) -> int:
        return len(self._tags)

    def __contains__(self, key: object) -> bool:
        return key in self._tags

    def join(self, key: K) -> None:
        """A flow has something to do; joining twice changes nothing."""
        if key not in self._tags:
            # Leaving and coming back within a round does not wipe out what was just used.
            self._tags[key] = max(self._virtual, self._left.pop(key, 0.0))

    def leave(self, key: K) -> None:
        """A flow has nothing to do any more."""
        tag = self._tags.pop(key, None)
        self._left = {other: left for other, left in self._left.items() if left > self._virtual}
        if tag is not None and tag > self._virtual:
            self._left[key] = tag

    def pick(self) -> K:
        """The flow whose turn it is; of equal ones the one that joined first. Raises ValueError when there is none."""
        return min(self._tags, key=lambda key: self._tags[key])

    def charge(self, key: K, cost: float) -> None:
        """The flow had a turn that cost this much (seconds, or any unit that all flows share)."""
        self._virtual = max(self._virtual, self._tags[key])
        self._tags[key] += cost
