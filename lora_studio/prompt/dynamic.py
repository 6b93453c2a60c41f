"""Alternatives and wildcards: `{red|blue} hair, __place__` becomes one of its texts, drawn by a seed.

The language is that of the Dynamic Prompts extension (github.com/adieyal/sd-dynamic-prompts):

    {a|b|c}                 one of them; {2::a|b} draws a twice as often (a million times at most); {|a} may be nothing
    {2$$a|b|c}              two of them, each at most once, joined by ", "
    {1-3$$ and $$a|b|c}     one to three, joined by " and "; {-3$$...} the same, {2-$$...} two up to all
    {2$$__name__}           two lines of the wildcard, each at most once
    __name__                a line of the wildcard `name`; __season/*__: of any wildcard of that folder

All of it may stand in one another, and lines of wildcards may hold more of it; `\\{`, `\\|` and `\\}` are characters.
Not read: variables (`${a=...}`, they stay with a warning), names of wildcards with blanks in them.
It is off unless it is asked for: in A1111's own language braces are plain text. What cannot be read stays as it is,
with a warning; nothing here raises, and no text makes it run long (`DRAWS`, `DEPTH`, `LONGEST`).
"""

from __future__ import annotations

import random
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lora_studio.prompt.notices import PromptWarning, gather, quote, warning

Wildcards = Callable[[str], Sequence[str]]
"""The lines of a wildcard by its name, which may hold `*`; none where there is no such wildcard."""

DRAWS = 1000
"""Choices and wildcards of one text; what comes after stays as it is."""
DEPTH = 20
"""How deep wildcards may stand in lines of wildcards."""
LONGEST = 20_000
"""Characters beyond which nothing more is put in."""

_MARK = re.compile(r"\\.|[{}|]|__(?!_)([^\s_{}|\\](?:[^\s{}|\\]{0,200}?[^\s_{}|\\])??)__(?!_)", re.DOTALL)
_COUNT = re.compile(r"\s*(\d{1,3})?(?:\s*(-)\s*(\d{1,3})?)?\s*\$\$")
_WEIGHT = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*::")
_JOINED = ", "
_MOST = 1e6
"""The largest weight of an alternative; the sum of larger ones may be no number."""


@dataclass
class _Choice:
    """One pair of braces: its alternatives, each a list of pieces, and where in which text it stands."""

    options: list[list[_Piece]]
    source: str
    began: int
    ended: int = 0

    @property
    def text(self) -> str:
        """As it was written."""
        return self.source[self.began : self.ended]


@dataclass(frozen=True)
class _Wildcard:
    name: str
    text: str


@dataclass(frozen=True)
class _Line:
    """A line of a wildcard, chosen already."""

    name: str
    text: str


_Piece = str | _Choice | _Wildcard | _Line


@dataclass
class _Drawing:
    """What is common to one text and all that is put into it."""

    wildcards: Wildcards
    source: random.Random
    draws: int = 0
    length: int = 0
    warnings: list[PromptWarning] = field(default_factory=list)


def expand(text: str, wildcards: Wildcards, seed: int) -> tuple[str, tuple[PromptWarning, ...]]:
    """One of the texts that `text` stands for, the same for the same seed and wildcards; and what is to be said.

    Args:
        text: any text. wildcards: the lines of a wildcard. seed: of the drawing.
    """
    drawing = _Drawing(wildcards, random.Random(seed))
    return _drawn(_read(text, drawing), drawing, ()), gather(drawing.warnings)


def draw_alternatives(
    texts: tuple[str, str], wildcards: Wildcards, seed: int
) -> tuple[tuple[str, str], list[PromptWarning]]:
    """Prompt and negative prompt with one of each of their alternatives, the same for the same seed."""
    (prompt, first), (negative, second) = (expand(text, wildcards, seed) for text in texts)
    return (prompt, negative), [*first, *second]


def has_alternatives(text: str) -> bool:
    """Whether there is anything to draw in a text."""
    return any(not isinstance(piece, str) for piece in _read(text, _Drawing(lambda name: (), random.Random(0))))


def _read(text: str, drawing: _Drawing) -> list[_Piece]:
    """The pieces of a text; braces without a partner are characters."""
    partners, variables = _partners(text)
    if variables:
        drawing.warnings.append(warning("dynamic_variable", text=quote(text[variables[0][0] : variables[0][1]])))
    stray = sum(1 for mark in _MARK.finditer(text) if mark[0] in "{}" and mark.start() not in partners)
    if stray:
        drawing.warnings.append(warning("dynamic_brace", count=stray))
    top: list[_Piece] = []
    stack: list[_Choice] = []
    here, at = top, 0
    for mark in _MARK.finditer(text):
        if mark.start() > at:
            here.append(text[at : mark.start()])
        at = mark.end()
        found = mark[0]
        while variables and variables[0][1] <= mark.start():
            variables.popleft()
        if variables and variables[0][0] <= mark.start():
            here.append(found)
        elif found == "{" and mark.start() in partners:
            choice = _Choice([[]], text, mark.start())
            stack.append(choice)
            here.append(choice)
            here = choice.options[0]
        elif found == "}" and mark.start() in partners:
            stack.pop().ended = at
            here = stack[-1].options[-1] if stack else top
        elif found == "|" and stack:
            stack[-1].options.append([])
            here = stack[-1].options[-1]
        elif mark[1]:
            here.append(_Wildcard(mark[1], found))
        else:
            here.append(found[1:] if found[0] == "\\" and found[1] in "{}|" else found)
    here.append(text[at:])
    return top


def _partners(text: str) -> tuple[set[int], deque[tuple[int, int]]]:
    """Places of all braces that have a partner; and where variables stand, `${` to `}`, the outermost only."""
    found: set[int] = set()
    variables: deque[tuple[int, int]] = deque()
    opened: list[int] = []
    for mark in _MARK.finditer(text):
        if mark[0] == "{":
            opened.append(mark.start())
        elif mark[0] == "}" and opened:
            start = opened.pop()
            found |= {start, mark.start()}
            if text[start - 1 : start] == "$":
                while variables and variables[-1][0] > start:
                    variables.pop()
                variables.append((start - 1, mark.end()))
    return found, variables


def _drawn(pieces: Sequence[_Piece], drawing: _Drawing, inside: tuple[str, ...]) -> str:
    """The text of some pieces. inside: the wildcards that these pieces came from."""
    parts: list[str] = []
    todo: list[_Piece] = list(reversed(pieces))  # a stack of our own: braces may be nested more deeply than calls
    while todo:
        piece = todo.pop()
        if isinstance(piece, str):
            drawing.length += len(piece)
            parts.append(piece)
        elif drawing.draws >= DRAWS or drawing.length > LONGEST:
            if not any(warn.code == "dynamic_limit" for warn in drawing.warnings):
                drawing.warnings.append(warning("dynamic_limit", text=quote(piece.text), allowed=DRAWS))
            parts.append(piece.text)
            drawing.length += len(piece.text)
        elif isinstance(piece, _Line):
            drawing.draws += 1
            parts.append(_drawn(_read(piece.text, drawing), drawing, (*inside, piece.name)))
        elif isinstance(piece, _Choice):
            drawing.draws += 1
            todo.extend(reversed(_chosen(piece, drawing, inside)))
        else:
            drawing.draws += 1
            parts.append(_line_of(piece, drawing, inside))
    return "".join(parts)


def _chosen(choice: _Choice, drawing: _Drawing, inside: tuple[str, ...]) -> list[_Piece]:
    """The pieces that stand for one pair of braces. inside: the wildcards that it came from."""
    options = [list(option) for option in choice.options]
    least, most, joint = 1, 1, _JOINED
    first = options[0]
    if first and isinstance(first[0], str) and (count := _COUNT.match(first[0])) and (count[1] or count[2]):
        least = int(count[1]) if count[1] else 1
        rest = first[0][count.end() :]
        own, sign, behind = rest.partition("$$")
        if sign:
            joint, rest = own, behind
        first[0] = rest
        options = _lines_for(options, drawing, inside) or options
        most = (int(count[3]) if count[3] else len(options)) if count[2] else least
    weights = []
    for option in options:
        weight = _WEIGHT.match(option[0]) if option and isinstance(option[0], str) else None
        weights.append(_share(weight))
        if weight:
            option[0] = str(option[0])[weight.end() :]
    least, most = min(least, most), max(least, most)
    wanted = min(drawing.source.randint(least, most), len(options))
    left = [k for k, weight in enumerate(weights) if weight > 0]
    pieces: list[_Piece] = []
    for _ in range(min(wanted, len(left))):
        k = drawing.source.choices(left, [weights[one] for one in left])[0]
        left.remove(k)
        pieces += ([joint] if pieces else []) + options[k]
    return pieces


def _lines_for(options: Sequence[Sequence[_Piece]], drawing: _Drawing, inside: tuple[str, ...]) -> list[list[_Piece]]:
    """The lines of the one wildcard that a counted choice is made of; none where it is made of anything else."""
    pieces = [one for one in options[0] if not isinstance(one, str) or one.strip()] if len(options) == 1 else []
    if len(pieces) != 1 or not isinstance(pieces[0], _Wildcard):
        return []
    name = pieces[0].name
    if name in inside or len(inside) >= DEPTH:
        return []  # the wildcard itself stays, with a warning
    lines = [(line, weight.end() if (weight := _WEIGHT.match(line)) else 0) for line in drawing.wildcards(name)]
    return [[line[:end], _Line(name, line[end:])] for line, end in lines]


def _share(weight: re.Match[str] | None) -> float:
    """The weight that is written before `::`, held at `_MOST`; 1 where none is."""
    return min(_MOST, float(weight[1])) if weight else 1.0


def _line_of(wildcard: _Wildcard, drawing: _Drawing, inside: tuple[str, ...]) -> str:
    """A line of a wildcard with what stands in it drawn too."""
    if wildcard.name in inside or len(inside) >= DEPTH:
        drawing.warnings.append(warning("wildcard_in_itself", name=wildcard.name))
        return wildcard.text
    lines = drawing.wildcards(wildcard.name)
    if not lines:
        drawing.warnings.append(warning("wildcard_unknown", name=wildcard.name))
        return wildcard.text
    weights = [_WEIGHT.match(line) for line in lines]
    shares = [_share(weight) for weight in weights]
    if not any(shares):
        shares = [1.0] * len(lines)
    k = drawing.source.choices(range(len(lines)), shares)[0]
    found = weights[k]
    line = lines[k][found.end() :] if found else lines[k]
    return _drawn(_read(line, drawing), drawing, (*inside, wildcard.name))
