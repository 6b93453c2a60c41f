"""Weights of words: `(a)` 1.1, `[a]` 1/1.1, `(a:1.3)`, nested by product, and the word BREAK.

The reading of AUTOMATIC1111 stable-diffusion-webui v1.10.1 (`parse_prompt_attention`,
https://github.com/AUTOMATIC1111/stable-diffusion-webui/blob/v1.10.1/modules/prompt_parser.py): round and square
brackets are matched apart from each other; a bracket that is never closed weighs everything after it; a closing one
that was never opened is a character; a backslash goes and the bracket or backslash after it is a character; BREAK has
weight -1 and its brackets weigh it too, so that `(a BREAK b:1.2)` breaks nothing; neighbours of one weight are one.

Different on purpose: where A1111 raises, in `(a:1.2.3)`, the number is words and the bracket weighs 1.1; a product
beyond 1e4 is held there, with a warning. A1111 multiplies every span by every bracket around it, which is quadratic;
here the brackets around a span form two chains whose products are shared. Up to `EXACT` brackets of a kind are
multiplied in A1111's own order, so that even the last digit is the same; deeper ones come in as one factor.

It does not know tokens, chunks or schedules (which have been resolved before).
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass

from lora_studio.prompt.notices import PromptWarning, quote, warning
from lora_studio.prompt.source import Place, SourceText

LIMIT = 1e4
"""Largest weight, up or down."""

EXACT = 32
"""Depth of brackets of one kind up to which products are formed in A1111's order."""

ROUND, SQUARE = 1.1, 1 / 1.1

_TOKEN = re.compile(
    r"(?P<escape>\\[()\[\]\\]?)"
    r"|(?P<weight>:\s*+(?P<number>[+-]?[.\d]++)\s*+\))"
    r"|(?P<bracket>[()\[\]])"
    r"|(?P<words>[^\\()\[\]:]++|:)"
)
_BREAK = re.compile(r"\bBREAK\b")
_PARTNER = {")": "(", "]": "["}


@dataclass(frozen=True)
class Span:
    """Words of one weight.

    Attributes:
        words: the text without brackets, and where it was typed.
        weight: finite, within ±1e4.
        is_break: the word BREAK that ends a chunk, as A1111 knows it: text BREAK, weight -1.
    """

    words: SourceText
    weight: float
    is_break: bool = False

    @property
    def text(self) -> str:
        """The words."""
        return self.words.text

    @property
    def places(self) -> tuple[Place, ...]:
        """Where the words were typed, in order, without their brackets and backslashes."""
        return self.words.places()


def clamp(weight: float, place: Place | None, warnings: list[PromptWarning]) -> float:
    """`weight` within ±1e4; where that changes it, `warnings` gains a `weight_clamped`."""
    if abs(weight) <= LIMIT:
        return weight
    used = math.copysign(LIMIT, weight)
    warnings.append(warning("weight_clamped", place, given=f"{weight:g}", used=used))
    return used


def finite_product(first: float, second: float) -> float:
    """The product of two finite numbers, held at the largest number there is: never infinite, never nan."""
    product = first * second
    return product if math.isfinite(product) else math.copysign(sys.float_info.max, product)


class _Brackets:
    """The opening brackets in order, a list for each thing that is known of them.

    No object for each: a hundred thousand that never close would keep the collector of garbage busy.

    Attributes:
        parent: the one of its kind around each, -1 for none.
        start: where each stands.
        factor: what each multiplies by.
        closed: when each was closed, counted from 1; -1 until then.
    """

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.start: list[int] = []
        self.factor: list[float] = []
        self.closed: list[int] = []

    def add(self, parent: int, start: int, factor: float) -> int:
        """A new one; its number."""
        self.parent.append(parent)
        self.start.append(start)
        self.factor.append(factor)
        self.closed.append(-1)
        return len(self.parent) - 1

    def products(self) -> list[float]:
        """For each the product of its factor and all those around it."""
        found: list[float] = []
        for parent, factor in zip(self.parent, self.factor, strict=True):
            found.append(factor if parent < 0 else finite_product(found[parent], factor))
        return found


@dataclass(frozen=True, slots=True)
class _Entry:
    """A piece of text or a BREAK, and the innermost round and square bracket around it (-1: none)."""

    start: int
    end: int
    around: tuple[int, int]
    is_break: bool = False


class _Reader:
    """One pass over a text: entries, brackets and what is to be said of them."""

    def __init__(self, words: SourceText) -> None:
        self.words = words
        self.brackets = _Brackets()
        self.open: dict[str, list[int]] = {"(": [], "[": []}
        self.entries: list[_Entry] = []
        self.warnings: list[PromptWarning] = []
        self.stray: dict[str, list[int]] = {}
        self.closings = 0

    def read(self) -> None:
        """Fill `entries` and `brackets`."""
        for match in _TOKEN.finditer(self.words.text):
            start, end = match.span()
            if match["escape"] is not None:
                self._add(start + 1, end)
            elif match["number"] is not None:
                self._weigh(match)
            elif (bracket := match["bracket"]) in self.open:
                above = self.open[bracket]
                parent = above[-1] if above else -1
                above.append(self.brackets.add(parent, start, ROUND if bracket == "(" else SQUARE))
            elif bracket and self.open[_PARTNER[bracket]]:
                self._close(_PARTNER[bracket])
            else:
                if bracket:
                    self.stray.setdefault(bracket, []).append(start)
                self._add_words(start, end)
        for kind in ("(", "["):  # in A1111's order: those never closed come last, the outermost first, round ones first
            for number in self.open[kind]:
                self.brackets.closed[number] = self._next_closing()

    def _weigh(self, match: re.Match[str]) -> None:
        """`:1.3)` closes a bracket, if there is one and the number is one."""
        start, end = match.span()
        if not self.open["("]:
            self.stray.setdefault(")", []).append(end - 1)
            self._add_words(start, end)
            return
        try:
            factor = float(match["number"])
        except ValueError:
            opened = self.brackets.start[self.open["("][-1]]
            words, number = quote(self.words.text[opened:end]), quote(match["number"])
            place = self.words.place(match.start("number"), match.end("number"))
            self.warnings.append(warning("weight_not_number", place, text=words, number=number))
            self._add_words(start, start + 1)
            self._add_words(start + 1, end - 1)
            self._close("(")
            return
        self.brackets.factor[self.open["("][-1]] = finite_product(1.0, factor)
        self._close("(")

    def _close(self, kind: str) -> None:
        self.brackets.closed[self.open[kind].pop()] = self._next_closing()

    def _next_closing(self) -> int:
        self.closings += 1
        return self.closings

    def _add(self, start: int, end: int, is_break: bool = False) -> None:
        around = [stack[-1] if stack else -1 for stack in (self.open["("], self.open["["])]
        self.entries.append(_Entry(start, end, (around[0], around[1]), is_break))

    def _add_words(self, start: int, end: int) -> None:
        """Words, parted at each BREAK; the blanks around it go with it."""
        words = self.words.text[start:end]
        done = 0
        for match in _BREAK.finditer(words):
            before = len(words[done : match.start()].rstrip()) + done
            self._add(start + done, start + before)
            self._add(start + match.start(), start + match.end(), True)
            done = match.end()
            while done < len(words) and words[done].isspace():
                done += 1
        self._add(start + done, end)

    def complain(self) -> list[PromptWarning]:
        """What was found wrong, with brackets without a partner counted."""
        unclosed = {kind: [self.brackets.start[n] for n in self.open[kind]] for kind in self.open}
        for code, found in (("bracket_unclosed", unclosed), ("bracket_stray", self.stray)):
            for bracket, starts in found.items():
                if starts:
                    place = self.words.place(starts[0], starts[0] + 1)
                    self.warnings.append(warning(code, place, bracket=bracket, count=len(starts)))
        return self.warnings


def parse_attention(words: SourceText) -> tuple[tuple[Span, ...], tuple[PromptWarning, ...]]:
    """The spans of a text in order, at least one; never raises, time linear in the text's length."""
    reader = _Reader(words)
    reader.read()
    products = reader.brackets.products()
    weights: dict[tuple[int, int], float] = {}
    runs: list[tuple[float, list[tuple[int, int]]]] = []
    warnings = reader.complain()
    for entry in reader.entries:
        if entry.around not in weights:
            weights[entry.around] = _weight(reader.brackets, products, entry.around)
        weight = weights[entry.around]
        if abs(weight) > LIMIT:
            weight = clamp(weight, words.place(entry.start, entry.end), warnings)
        if entry.is_break:
            weight = -weight
            if weight != -1:
                warnings.append(warning("break_weighted", words.place(entry.start, entry.end), weight=weight))
        if not runs or runs[-1][0] != weight:
            runs.append((weight, []))
        runs[-1][1].append((entry.start, entry.end))
    if not runs:
        return (Span(words.cut(0, 0), 1.0),), tuple(warnings)
    return tuple(_span(words.take(slices), weight) for weight, slices in runs), tuple(warnings)


def _span(words: SourceText, weight: float) -> Span:
    """Words of one weight; A1111 knows its BREAK by text and weight alone, however they came about."""
    return Span(words, weight, words.text == "BREAK" and weight == -1)


def _weight(brackets: _Brackets, products: list[float], around: tuple[int, int]) -> float:
    """The product of the factors around an entry, in the order in which they were closed."""
    near: list[tuple[int, float]] = []
    far: list[float] = []
    for number in around:
        for _ in range(EXACT):
            if number < 0:
                break
            near.append((brackets.closed[number], brackets.factor[number]))
            number = brackets.parent[number]
        if number >= 0:
            far.append(products[number])
    weight = 1.0
    for factor in [factor for _, factor in sorted(near)] + far:
        weight = finite_product(weight, factor)
    return weight
