"""What a training says while it runs: a line now and then, and the same figures in `log.jsonl`.

Speed and the time that is left come from the wall clock of the last minutes, with checkpoints and sheets in them; so
the time that is left is what will really pass if nothing changes. It knows no models.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretrain.files import write_text

WINDOW = 600.0  # seconds that speed is taken over
SMOOTH = 0.98  # of the loss that is shown, from step to step
Clock = Callable[[], float]
Stop = Callable[[], float | None]  # seconds until a call shall end (0 or less: now), None for never


class Stopped(Exception):
    """A call ended before its first step; the text says how far it came."""


def never() -> None:
    """A `Stop` that does not."""


class Log:
    """Lines of JSON, one a report; lines that a killed training wrote after its last checkpoint are taken out."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        if path.exists():
            kept = [row for row in read_log(path) if row["step"] <= step]
            write_text(path, "".join(json.dumps(row) + "\n" for row in kept))

    def add(self, row: dict[str, Any]) -> None:
        """Appends one line."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a log; one that was cut off by a kill is left out."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


class Progress:
    """Counts steps and says how far it is. `samples`, `before`: pictures and seconds of the calls before."""

    def __init__(
        self,
        first: int,
        steps: int,
        batch: int,
        seconds_between: float,
        samples: int = 0,
        before: float = 0.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._first, self._steps, self._batch = first, steps, batch
        self._samples, self._before = samples, before
        self._between, self._clock = seconds_between, clock
        self._start = self._said = clock()
        self._marks: deque[tuple[float, int]] = deque([(self._start, first)])
        self.loss = math.nan

    def count(self, step: int, loss: float, ends: bool = False) -> bool:
        """Takes note of a finished step (its number from 1); True when it is time for a line, as at the end."""
        self.loss = loss if math.isnan(self.loss) else SMOOTH * self.loss + (1 - SMOOTH) * loss
        now = self._clock()
        if now - self._said < self._between and not ends:
            return False
        self._said = now
        self._marks.append((now, step))
        while len(self._marks) > 2 and now - self._marks[1][0] > WINDOW:
            self._marks.popleft()
        return True

    def samples(self, step: int) -> int:
        """Pictures that were seen up to a step."""
        return self._samples + (step - self._first) * self._batch

    def seconds(self) -> float:
        """Wall time of this training, with all its calls."""
        return self._before + self._clock() - self._start

    def speed(self) -> float:
        """Steps a second over the window; 0 before the first line."""
        (began, first), (now, step) = self._marks[0], self._marks[-1]
        return (step - first) / (now - began) if now > began else 0.0

    def row(self, step: int, rate: float, extra: dict[str, float]) -> dict[str, Any]:
        """The figures of this moment."""
        speed = self.speed()
        left = (self._steps - step) / speed if speed else None
        return {
            "step": step,
            "samples": self.samples(step),
            "loss": round(self.loss, 5),
            "rate": round(rate, 5),
            "samples_per_second": round(speed * self._batch, 2),
            "hours": round(self.seconds() / 3600, 4),
            "seconds_left": None if left is None else round(left, 1),
            **{name: round(value, 5) for name, value in extra.items()},
        }


def line(row: dict[str, Any], steps: int, stops_in: float | None = None) -> str:
    """One report in words. stops_in: seconds until the call ends anyhow."""
    left = row["seconds_left"]
    text = (
        f"step {row['step']} of {steps} ({100 * row['step'] / steps:.1f} %), {row['samples']} samples, "
        f"loss {row['loss']:.4f}, rate {row['rate']:.3f}, {row['samples_per_second']:.1f} samples/s, "
        f"ends in {'?' if left is None else spell(left)}"
    )
    if stops_in is not None and (left is None or stops_in < left):
        text += f", this call in {spell(max(0.0, stops_in))}"
    return text


def spell(seconds: float) -> str:
    """3725 as `1 h 02 min`."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
