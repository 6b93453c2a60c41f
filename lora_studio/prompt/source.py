"""Text that remembers where each of its characters stood in what the person typed.

Styles put text in, comments and tags take text out, schedules choose among parts: after each of these stages a
view must still be able to shade the words as they were typed. A `SourceText` is a text with runs: from an offset
of the text on, the characters stand at a place of the original, or nowhere where a style brought them.

It does not know what the text means.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

NOWHERE = -1
"""Source offset of a run whose characters were not typed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Characters `start` (inclusive) to `end` (exclusive) of the text that was typed, counted from 0."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SourceText:
    """A text and where it came from.

    Attributes:
        text: the characters.
        runs: (offset in `text`, offset in the original or `NOWHERE`), offsets ascending from 0; a run lasts until the
            next one. An empty text keeps one run, so that even it has a place.
    """

    text: str
    runs: tuple[tuple[int, int], ...]

    @classmethod
    def typed(cls, text: str) -> SourceText:
        """The original itself."""
        return cls(text, ((0, 0),))

    @classmethod
    def foreign(cls, text: str) -> SourceText:
        """Text that was not typed (a style's)."""
        return cls(text, ((0, NOWHERE),))

    def cut(self, start: int, end: int) -> SourceText:
        """The characters from `start` to `end` (0 <= start <= end <= length)."""
        return self.take([(start, end)])

    def take(self, slices: Iterable[tuple[int, int]]) -> SourceText:
        """The given slices in a row; each begins where the one before ended, or later."""
        texts: list[str] = []
        runs: list[tuple[int, int]] = []
        offset, number = 0, -1
        for start, end in slices:
            if number < 0:
                number = bisect_right(self.runs, start, key=lambda run: run[0]) - 1
            position = start
            while True:
                while number + 1 < len(self.runs) and self.runs[number + 1][0] <= position:
                    number += 1
                at, source = self.runs[number]
                stop = min(end, self.runs[number + 1][0]) if number + 1 < len(self.runs) else end
                _append(runs, offset, source if source == NOWHERE else source + position - at)
                offset += stop - position
                position = stop
                if position >= end:
                    break
            texts.append(self.text[start:end])
        return _made(texts, runs, offset)

    def places(self) -> tuple[Place, ...]:
        """Where the characters stood, in order; characters that were not typed are left out."""
        ends = [at for at, _ in self.runs[1:]] + [len(self.text)]
        return tuple(
            Place(source, source + end - at)
            for (at, source), end in zip(self.runs, ends, strict=True)
            if source != NOWHERE
        )

    def place(self, start: int = 0, end: int | None = None) -> Place | None:
        """The smallest stretch of the original that holds the typed characters of `text[start:end]`; None: none."""
        found = self.cut(start, len(self.text) if end is None else end).places()
        return Place(min(p.start for p in found), max(p.end for p in found)) if found else None


def join(parts: Iterable[SourceText]) -> SourceText:
    """The texts in a row."""
    texts: list[str] = []
    runs: list[tuple[int, int]] = []
    offset = 0
    for part in parts:
        for at, source in part.runs:
            _append(runs, offset + at, source)
        texts.append(part.text)
        offset += len(part.text)
    return _made(texts, runs, offset)


def _made(texts: list[str], runs: list[tuple[int, int]], length: int) -> SourceText:
    """The text of these pieces; an empty piece at the end leaves no run unless it is all there is."""
    while len(runs) > 1 and runs[-1][0] == length:
        runs.pop()
    return SourceText("".join(texts), tuple(runs) or ((0, NOWHERE),))


def _append(runs: list[tuple[int, int]], offset: int, source: int) -> None:
    """Begin a run at `offset`, unless the last one goes on; a run that stayed empty gives way."""
    if runs and runs[-1][0] == offset:
        runs.pop()
    if runs:
        at, before = runs[-1]
        if (before == NOWHERE) == (source == NOWHERE) and (source == NOWHERE or before + offset - at == source):
            return
    runs.append((offset, source))
