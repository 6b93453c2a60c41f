"""Weights of words as ComfyUI reads them.

`token_weights` and `parse_parentheses` of ComfyUI
(https://github.com/comfyanonymous/ComfyUI/blob/00728eb20fce05955f89ef1ccf5f6167416e94cf/comfy/sd1_clip.py): `(a)` is
1.1 times what is around it, `(a:1.3)` is 1.3 whatever is around it, square brackets and BREAK are words, only `\\(` and
`\\)` are escapes, and neighbours of one weight stay apart. Two of its habits are kept: after a stray `)` the next `(`
is a character, and an unclosed `(` whose text ends with `)` still counts as closed by it. A number that is not finite
is no weight here, and weights are held within 1e4.

The original recurses and looks at each character once for each bracket around it; here windows of the text wait on a
stack and jump over what is inside by a table of partners, so that the work is linear and no depth is too deep.

It does not know A1111's language.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_left
from dataclasses import dataclass

from lora_studio.prompt.attention import ROUND, Span, clamp, finite_product
from lora_studio.prompt.notices import PromptWarning
from lora_studio.prompt.source import SourceText

_MARK = re.compile(r"\\[()]|[():]")


@dataclass(frozen=True, slots=True)
class _Marks:
    """Tables over a text.

    Attributes:
        opens: places of each `(` that may open, ascending.
        partner: place of the `)` of each `(` that has one.
        before: for each `)` that may close, the last `:` and the last bracket before it (-1: none).
        escapes: places of the backslashes before brackets, ascending.
    """

    opens: list[int]
    partner: dict[int, int]
    before: dict[int, tuple[int, int]]
    escapes: list[int]


def parse_comfy(words: SourceText) -> tuple[tuple[Span, ...], tuple[PromptWarning, ...]]:
    """The spans of a text as ComfyUI weighs them; none for an empty text; never raises, time linear in its length."""
    text = words.text
    marks = _read_marks(text)
    spans: list[Span] = []
    warnings: list[PromptWarning] = []

    def say(start: int, end: int, weight: float) -> None:
        if start < end:
            held = clamp(weight, words.place(start, end), warnings)
            spans.append(Span(_unescape(words, start, end, marks), held))

    waiting = [(0, len(text), 1.0)]
    while waiting:
        start, end, weight = waiting.pop()
        number = bisect_left(marks.opens, start)
        opened = min(marks.opens[number], end) if number < len(marks.opens) else end
        say(start, opened, weight)
        if opened == end:
            continue
        closed = marks.partner.get(opened, end)
        if closed < end:
            waiting.append((closed + 1, end, weight))
        elif end - 1 in marks.before and end - 1 > opened:
            closed = end - 1
        else:
            say(opened, end, weight)
            continue
        waiting.append(_inside(text, opened + 1, closed, weight, marks))
    return tuple(spans), tuple(warnings)


def _read_marks(text: str) -> _Marks:
    """One pass: partners, escapes, and which brackets are characters because a stray `)` stood before them."""
    marks = _Marks([], {}, {}, [])
    waiting: list[int] = []
    level, colon, bracket = 0, -1, -1
    for match in _MARK.finditer(text):
        mark, at = match.group(), match.start()
        if len(mark) == 2:
            marks.escapes.append(at)
        elif mark == ":":
            colon = at
        elif mark == "(":
            if level >= 0:
                marks.opens.append(at)
                waiting.append(at)
            level += 1
            bracket = at
        else:
            level -= 1
            if waiting:
                marks.partner[waiting.pop()] = at
                marks.before[at] = (colon, bracket)
            bracket = at
    return marks


def _inside(text: str, start: int, end: int, weight: float, marks: _Marks) -> tuple[int, int, float]:
    """What stands in a group from `start` to its `)` at `end`, and its weight: written behind `:`, else 1.1 times."""
    colon, bracket = marks.before[end]
    if colon > start and colon > bracket:
        try:
            given = float(text[colon + 1 : end])
        except ValueError:
            given = math.nan
        if math.isfinite(given):
            return start, colon, given
    return start, end, finite_product(weight, ROUND)


def _unescape(words: SourceText, start: int, end: int, marks: _Marks) -> SourceText:
    """The words without the backslashes before brackets."""
    first = bisect_left(marks.escapes, start)
    last = bisect_left(marks.escapes, end)
    edges = [start, *(edge for at in marks.escapes[first:last] for edge in (at, at + 1)), end]
    return words.take(zip(edges[::2], edges[1::2], strict=True))
