"""Waiting for the other process that opens a file: who has other work meanwhile, and who has none."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from lora_studio.adapters import unpacking
from lora_studio.adapters.unpacking import ELSEWHERE, PATIENCE, unpacked


class Pretended:
    """A process that ends after some looks; `waited` is how long each look would have waited."""

    looks = 6

    def __init__(self, path: Path, *_: Any, **__: Any) -> None:
        self.waited: list[float] = []
        made.append(self)

    def __enter__(self) -> Pretended:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        return len(self.waited) > self.looks

    def result(self) -> bytes:
        return b"tensors"


made: list[Pretended] = []


@pytest.mark.parametrize("busy", [True, False])
def test_a_look_waits_only_for_who_has_nothing_else_to_do(monkeypatch: pytest.MonkeyPatch, busy: bool) -> None:
    """Every look slept, and a training beside it went at a third of its pace."""
    monkeypatch.setattr(unpacking, "Unpacking", Pretended)
    turns = unpacked(Path("a.pt"), "embedding")
    seen = []
    for told in turns:
        seen.append(told)
        if busy:
            time.sleep(2 * PATIENCE)
    assert seen == [ELSEWHERE] * Pretended.looks
    first, *later = made[-1].waited
    assert first == 0.0
    assert all(seconds == 0.0 for seconds in later) if busy else all(0.0 < seconds <= PATIENCE for seconds in later)
