"""Prompts that change while the picture is made: `[a:b:n]`, `[a::n]`, `[a:n]` and `[a|b]`, one in another.

The language is that of the grammar in AUTOMATIC1111 stable-diffusion-webui v1.10.1
(`get_learned_conditioning_prompt_schedules`,
https://github.com/AUTOMATIC1111/stable-diffusion-webui/blob/v1.10.1/modules/prompt_parser.py), read by a stack instead
of an Earley parser. What its grammar comes to:

- a bracket is understood if its partner is found with nothing crossed in between, all brackets inside are understood,
  and it is one of: `(x)` with at most one `:`, `[x]`, `[x:n]`, `[x:y:n]`, `[x|y|...]`; `:` and `|` do not mix;
- brackets that are not understood are characters, and so are all those around them; what is understood inside of
  them still acts;
- a `|` outside of `[x|y]`, or a backslash at the end or before a line break, makes the whole text plain words.

The n: a whole number is a step, one with a point is a part of all steps; with a second pass (`hires_steps`) steps count
on from the first and 1.0 to 2.0 is the second pass. Old counting: below 1 is a part, from 1 on a step.

Different on purpose: where a bracket that is a character comes right behind a schedule, as in `[a:b:3])`, A1111 sees
the schedule in about half of its runs and plain words in the others (its parser, lark 1.1.2, decides by the hash seed
of the process); here it is always the schedule. A number beyond all floats is words where A1111 raises; no depth is
too deep. The lists of (last step, text) are A1111's; what acts in a step is what its documentation says of them:
`[a:b:5]` is a for five steps, `[a|b]` begins a, b. A1111 itself counts the calls of the model from 0 against these
steps (`CFGDenoiser.step`, `reconstruct_cond_batch`), so that there the first text holds one step longer, `[a|b]` begins
a, a, b, and a change at the step before the last never comes; a picture that is taken over says so.

It does not know weights or tokens. Reading is linear in the text; saying the texts is linear in what is said.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lora_studio.prompt.notices import PromptWarning, quote, warning
from lora_studio.prompt.source import Place, SourceText

_TOKEN = re.compile(r"\\.|[\[\]():|\\]|[^\\\[\]():|]++")
_WHEN = re.compile(r"\s*+([+-]?(?:D+[eE][+-]?D+|(?:D+\.D*|\.D+)(?:[eE][+-]?D+)?|D+))\s*+".replace("D", "[0-9]"))
_PARTNER = {")": "(", "]": "["}


@dataclass(frozen=True)
class Counting:
    """How the numbers of schedules are read.

    Attributes:
        steps: of the first pass, at least 1.
        hires_steps: of A1111's second pass (which only `prompt` on the command line counts) if the texts are for that
            one, else None.
        old: A1111's `use_old_scheduling` (before 1.6); it knows no second pass.
    """

    steps: int
    hires_steps: int | None = None
    old: bool = False

    @property
    def total(self) -> int:
        """Steps of the pass that is counted."""
        return self.steps if self.hires_steps is None or self.old else self.hires_steps

    def step(self, number: str) -> int:
        """The last step before the change that `number` asks for; 0 or less: it is there from the start."""
        value = float(number)
        if self.old:
            value = value * self.total if value < 1 else value
        elif "." in number:
            value = (value - (0.0 if self.hires_steps is None else 1.0)) * self.total
        elif self.hires_steps is not None:
            value -= self.steps
        return min(self.total, int(max(-1e9, min(1e9, value))))


@dataclass(frozen=True)
class Change:
    """One schedule that was understood, for a timeline.

    Attributes:
        kind: "switch" (`[a:b:n]` and its kin) or "alternate" (`[a|b]`).
        place: of the whole brackets in what was typed.
        step: last step before a switch; of an alternation, how many texts take turns.
    """

    kind: str
    place: Place | None
    step: int


@dataclass(frozen=True)
class Scheduled:
    """The text that holds until `last_step` (counted from 1, inclusive)."""

    last_step: int
    words: SourceText


@dataclass(slots=True)
class _Group:
    """Slices of the text, groups and nodes in a row; `at` is the separator before them, -1 where there is none."""

    items: list[tuple[int, int] | _Group | _Node] = field(default_factory=list)
    at: int = -1


@dataclass(slots=True)
class _Node:
    """A schedule: the groups to choose from, and when (None: they take turns)."""

    span: tuple[int, int]
    options: list[_Group]
    when: str | None
    step: int = 0


@dataclass(slots=True)
class _Frame:
    """An open bracket: what stands between its separators, and whether all brackets inside are understood."""

    bracket: str
    start: int
    parts: list[_Group] = field(default_factory=lambda: [_Group()])
    understood: bool = True

    @property
    def separators(self) -> list[int]:
        """Where its colons and bars stand."""
        return [part.at for part in self.parts[1:]]


class _Reader:
    """One pass over a text."""

    def __init__(self, words: SourceText) -> None:
        self.words = words
        self.nodes: list[_Node] = []
        self.warnings: list[PromptWarning] = []
        self.offence: int | None = None
        self.stack: list[_Frame | int] = [_Frame("", -1)]
        """Open brackets from the outermost; a bare number is the place of one in which nothing stands but the next."""

    def read(self) -> _Group:
        """The whole text as one group; `offence` is where it stopped being a schedule's text, if it did."""
        for match in _TOKEN.finditer(self.words.text):
            token, start = match.group(), match.start()
            if token in ("(", "["):
                self.stack.append(start)
                continue
            frame = self._top()
            if token in (")", "]"):
                if frame.bracket == _PARTNER[token]:
                    self._close(start)
                else:
                    self._abandon()
                    self._top().parts[-1].items.append((start, start + 1))
            elif token in (":", "|"):
                frame.parts.append(_Group(at=start))
            else:
                if token == "\\":
                    self._offend(start)
                frame.parts[-1].items.append(match.span())
        self._abandon()
        self._plain(self._top(), None)
        return self._top().parts[0]

    def _top(self) -> _Frame:
        """The innermost open bracket."""
        top = self.stack[-1]
        if isinstance(top, int):
            top = self.stack[-1] = _Frame(self.words.text[top], top)
        return top

    def _close(self, end: int) -> None:
        """The innermost bracket has found its partner at `end`."""
        frame = self._top()
        self.stack.pop()
        around = self._top()
        node = self._node(frame, end)
        if node is not None:
            self.nodes.append(node)
            around.parts[-1].items.append(node)
            return
        bars = sum(self.words.text[at] == "|" for at in frame.separators)
        colons = len(frame.separators) - bars
        fits = bars == 0 and colons <= (1 if frame.bracket == "(" else 0)
        if not (frame.understood and fits):
            around.understood = False
            if frame.bracket == "[" and frame.separators:
                span = (frame.start, end + 1)
                words = quote(self.words.text[slice(*span)])
                self.warnings.append(warning("schedule_literal", self.words.place(*span), text=words))
        self._plain(frame, end)
        around.parts[-1].items.append(frame.parts[0])

    def _node(self, frame: _Frame, end: int) -> _Node | None:
        """The schedule that the frame is, or None."""
        if frame.bracket != "[" or not frame.separators or not frame.understood:
            return None
        span = (frame.start, end + 1)
        bars = sum(self.words.text[at] == "|" for at in frame.separators)
        if bars:
            return _Node(span, frame.parts, None) if bars == len(frame.separators) else None
        match = _WHEN.fullmatch(self.words.text, frame.separators[-1] + 1, end)
        if match is None or len(frame.separators) > 2:
            return None
        number = match.group(1)
        if math.isinf(float(number)):
            words = quote(self.words.text[slice(*span)])
            self.warnings.append(warning("schedule_number", self.words.place(*span), text=words, number=quote(number)))
            return None
        return _Node(span, [_Group(), frame.parts[0]] if len(frame.parts) == 2 else frame.parts[:2], number)

    def _abandon(self) -> None:
        """All open brackets are characters: their partners will never be found."""
        inside = self.stack[1:]
        del self.stack[1:]
        items = self._top().parts[-1].items
        for frame in inside:
            if isinstance(frame, int):
                items.append((frame, frame + 1))
            else:
                self._spell(frame, items)

    def _plain(self, frame: _Frame, end: int | None) -> None:
        """Make the frame one group in which its brackets and separators are characters."""
        group = _Group()
        self._spell(frame, group.items)
        if end is not None:
            group.items.append((end, end + 1))
        frame.parts = [group]

    def _spell(self, frame: _Frame, items: list[tuple[int, int] | _Group | _Node]) -> None:
        """Put the frame behind `items`, its opening bracket and its separators as characters."""
        if frame.bracket:
            items.append((frame.start, frame.start + 1))
        for part in frame.parts:
            if part.at >= 0:
                items.append((part.at, part.at + 1))
                if self.words.text[part.at] == "|":
                    self._offend(part.at)
            if part.items:
                items.append(part)

    def _offend(self, at: int) -> None:
        """A character that the language has no place for."""
        self.offence = at if self.offence is None else min(at, self.offence)


def parse_schedule(
    words: SourceText, counting: Counting
) -> tuple[tuple[Scheduled, ...], tuple[Change, ...], tuple[PromptWarning, ...]]:
    """The texts over the steps, the schedules that were understood, and warnings; never raises."""
    reader = _Reader(words)
    group = reader.read()
    if not reader.nodes:
        return (Scheduled(counting.total, words),), (), tuple(reader.warnings)
    if reader.offence is not None:
        at, first = reader.offence, quote(words.text[slice(*reader.nodes[0].span)])
        off = warning("schedule_off", words.place(at, at + 1), text=first, because=words.text[at])
        return (Scheduled(counting.total, words),), (), (*reader.warnings, off)
    edges = {counting.total}
    for node in reader.nodes:
        if node.when is None:
            edges |= set(range(1, counting.total + 1))
            continue
        node.step = counting.step(node.when)
        edges |= {node.step} if node.step >= 1 else set()
    texts = tuple(Scheduled(step, words.take(_slices(group, step))) for step in sorted(edges))
    changes = [_change(words, node) for node in sorted(reader.nodes, key=lambda node: node.span)]
    never = [_never(words, node, counting) for node in reader.nodes if node.when and counting.hires_steps is None]
    return texts, tuple(changes), (*reader.warnings, *(warning for warning in never if warning))


def _slices(group: _Group, step: int) -> Iterator[tuple[int, int]]:
    """The slices of the text that hold at `step`, neighbours joined."""
    waiting = [iter(group.items)]
    start = end = 0
    while waiting:
        item = next(waiting[-1], None)
        if item is None:
            waiting.pop()
        elif isinstance(item, _Group):
            waiting.append(iter(item.items))
        elif isinstance(item, _Node):
            count = len(item.options)
            number = (step - 1) % count if item.when is None else int(step > item.step)
            waiting.append(iter(item.options[number].items))
        elif item[0] == end:
            end = item[1]
        else:
            yield start, end
            start, end = item
    yield start, end


def _change(words: SourceText, node: _Node) -> Change:
    """The node for a timeline."""
    place = words.place(*node.span)
    return Change("alternate", place, len(node.options)) if node.when is None else Change("switch", place, node.step)


def _never(words: SourceText, node: _Node, counting: Counting) -> PromptWarning | None:
    """A warning where the change comes after the last step."""
    if node.step < counting.total or node.when is None:
        return None
    text = quote(words.text[slice(*node.span)])
    return warning("schedule_never", words.place(*node.span), text=text, step=node.when, steps=counting.total)
