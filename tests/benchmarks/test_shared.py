"""A training's pace is that of its steps, over enough of them, and an ended one is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import shared


class Told:
    """The store's jobs with one training that makes a step every `seconds` until it ends."""

    def __init__(self, state: str = "running") -> None:
        self.jobs = self
        self.state = state
        self.times = [100.0]
        self.error = {"message": "no memory"}

    def get(self, job: str) -> Any:
        return self

    def events(self, job: str) -> list[Any]:
        steps = [SimpleNamespace(type="step", time=time) for time in self.times]
        return [SimpleNamespace(type="queued", time=0.0), *steps, SimpleNamespace(type="preview", time=1e9)]

    def make(self, steps: int, seconds: float) -> None:
        for _ in range(steps):
            self.times.append(self.times[-1] + seconds)


def test_the_pace_is_that_of_the_steps_and_not_of_the_clock() -> None:
    """Four seconds of a training held nine steps, one more or less."""
    workspace: Any = Told()
    calls: list[int] = []

    def meanwhile() -> None:
        calls.append(1)
        workspace.make(7, 0.4)

    assert shared.pace(workspace, "job", meanwhile) == pytest.approx(2.5)
    assert len(calls) == 5  # of 7 steps each: thirty at least
    assert shared.pace(workspace, "job", meanwhile, 9) == pytest.approx(2.5)
    assert len(calls) == 5 + 9


@pytest.mark.parametrize("state", ["failed", "done", "interrupted"])
def test_a_training_that_has_ended_is_told(state: str) -> None:
    """Its next step was waited for for ever."""
    workspace: Any = Told(state)
    engine: Any = SimpleNamespace(info=lambda: SimpleNamespace(base=None), submit=lambda spec: "job")
    with pytest.raises(RuntimeError, match=rf"has ended \({state}\)"):
        shared.begin_training(engine, workspace, "cats")


def test_a_training_that_makes_no_steps_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "PATIENCE", 0.0)
    engine: Any = SimpleNamespace(info=lambda: SimpleNamespace(base=None), submit=lambda spec: "job")
    workspace: Any = Told()
    with pytest.raises(RuntimeError, match="made no five steps"):
        shared.begin_training(engine, workspace, "cats")
