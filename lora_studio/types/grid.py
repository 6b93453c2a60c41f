"""A grid of pictures: one request with one or two of its values varied, everything else as it is, the seed included.

The values of an axis are written as in A1111's X/Y/Z plot: `0, 0.5, 1`, `1-4` (1, 2, 3, 4), `0-1 (+0.25)` (steps of
0.25), `0-1 [5]` (five values); see AUTOMATIC1111 stable-diffusion-webui v1.10.1, scripts/xyz_grid.py (`re_range`,
`re_range_float`, `re_range_count_float`). Different on purpose: what cannot be read is refused instead of left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lora_studio.errors import InvalidInput
from lora_studio.types.fields import check, check_text, from_json, to_json
from lora_studio.types.generate import GenerateRequest
from lora_studio.types.mix import AdapterWeight

OF_REQUEST = ("seed", "guidance_scale", "guidance_rescale", "num_inference_steps", "clip_skip")
"""Fields of a request that an axis may vary."""

OF_ADAPTER = ("weight", "from", "to")
"""What of one adapter it may vary: its weight (a weight of its own on the words stays), the first and the last step in
which it acts; one step beyond the others is no step at all."""

MOST_VALUES, MOST_PICTURES = 16, 64

MOST_TEXT = 1000
"""Characters in which the values of an axis are written."""

# No sign can be read in two ways, so that a text takes no longer than its length.
_NUMBER = r"([+-]?(?:\d{1,16}(?:\.\d{0,16})?|\.\d{1,16}))"
_RANGE = re.compile(rf"{_NUMBER}\s*+-\s*+{_NUMBER}(?:\s*+(?:\(\s*+{_NUMBER}\s*+\)|\[\s*+(\d{{1,4}})\s*+\]))?")
_SINGLE = re.compile(_NUMBER)
_DIGITS = 6


@dataclass(frozen=True)
class Axis:
    """What is varied, and its values in order.

    Attributes:
        what: one of `OF_REQUEST`, or one of `OF_ADAPTER`.
        adapter: sha256 of the adapter that it is of; "" for what is of the request.
        values: numbers, each once.
    """

    what: str
    values: tuple[float, ...]
    adapter: str = ""

    def __post_init__(self) -> None:
        check(self)
        check_text(self.adapter, "adapter")
        allowed = OF_ADAPTER if self.adapter else OF_REQUEST
        if self.what not in allowed:
            raise InvalidInput(
                f"The axis of a grid was given as {self.what!r}; allowed is one of {', '.join(allowed)}; choose one of "
                "these.",
                code="grid_axis",
                given=str(self.what)[:80],
                allowed=", ".join(allowed),
            )
        if not 1 <= len(self.values) <= MOST_VALUES:
            raise InvalidInput(
                f"An axis of a grid has {len(self.values)} values; 1 to {MOST_VALUES} are allowed; change them.",
                code="grid_values",
                given=str(len(self.values)),
                allowed=str(MOST_VALUES),
            )

    def put(self, request: GenerateRequest, value: float) -> GenerateRequest:
        """The request with that value.

        Raises:
            InvalidInput: it is not allowed there, or the request has no such adapter.
        """
        number = int(value) if float(value).is_integer() else value
        if not self.adapter:
            return from_json(GenerateRequest, to_json(request) | {self.what: number})
        if all(used.sha256 != self.adapter for used in request.adapters):
            raise InvalidInput(
                f"The grid varies the LoRA {self.adapter[:10]}, which is not in the stack; add it, or choose another.",
                code="grid_adapter",
                given=self.adapter[:10],
            )
        steps = request.num_inference_steps
        adapters = (
            self._used(used, value, steps) if used.sha256 == self.adapter else used for used in request.adapters
        )
        return replace(request, adapters=tuple(adapters))

    def _used(self, used: AdapterWeight, value: float, steps: int) -> AdapterWeight:
        if self.what == "weight":
            return replace(used, weight=value)
        least, most = (1, steps + 1) if self.what == "from" else (0, steps)
        if not float(value).is_integer() or not least <= value <= most:
            raise InvalidInput(
                f"A step of the grid was given as {value:g}; it must be a whole number from {least} to {most}; change "
                "it.",
                code="grid_step",
                given=f"{value:g}",
                least=str(least),
                allowed=str(most),
            )
        if self.what == "from":
            start = (value - 1) / steps
            return replace(used, start=start, stop=max(start, used.stop))
        stop = value / steps
        return replace(used, start=min(used.start, stop), stop=stop)


def read_values(text: str) -> tuple[float, ...]:
    """The numbers that a text names, each once, in order.

    Raises:
        InvalidInput: a part of it is neither a number nor a range of numbers.
    """
    if len(text) > MOST_TEXT:
        raise _unreadable(text)
    found: dict[float, None] = {}
    for part in re.split(r"[,，、;；\n]", text):
        if part.strip():
            found |= dict.fromkeys(_part(part.strip()))
    return tuple(found)


def _part(part: str) -> list[float]:
    single, span = _SINGLE.fullmatch(part), _RANGE.fullmatch(part)
    numbers: list[float] = []
    if single is not None:
        numbers = [float(single[1])]
    elif span is not None:
        first, last = float(span[1]), float(span[2])
        if span[4] is not None:
            count = int(span[4])
            few = range(count if count <= MOST_VALUES else 0)
            numbers = [first + (last - first) * at / max(1, count - 1) for at in few]
        else:
            step = float(span[3] or 1)
            gaps = (last - first) / step if step else math.inf
            count = math.floor(gaps + 1e-9) + 1 if math.isfinite(gaps) else 0
            numbers = [first + step * at for at in range(count)] if 0 < count <= MOST_VALUES else []
    if not numbers:
        raise _unreadable(part)
    return [round(number, _DIGITS) for number in numbers]


def _unreadable(text: str) -> InvalidInput:
    return InvalidInput(
        f"The values of the grid were given as {text[:80]!r}; write numbers, like 0, 0.5, 1, or a range of at most "
        f"{MOST_VALUES}, like 0-1 (+0.25).",
        code="grid_unreadable",
        given=text[:80],
        allowed=str(MOST_VALUES),
    )


def pictures_of(request: GenerateRequest, x: Axis, y: Axis | None) -> tuple[GenerateRequest, ...]:
    """The requests of a grid, row by row, one picture each.

    Raises:
        InvalidInput: a value is not allowed where it is put, there are too many pictures, or both axes vary the same.
    """
    if y is not None and (x.what, x.adapter) == (y.what, y.adapter):
        raise InvalidInput(
            "Both axes of the grid vary the same; choose another for one of them, or leave it out.",
            code="grid_same_axis",
            given=x.what,
        )
    count = len(x.values) * (1 if y is None else len(y.values))
    if count > MOST_PICTURES:
        raise InvalidInput(
            f"The grid has {count} pictures; at most {MOST_PICTURES} are made at once; take some values out.",
            code="grid_large",
            given=str(count),
            allowed=str(MOST_PICTURES),
        )
    cells = [((x, across), *([(y, down)] if y else [])) for down in (y.values if y else (0.0,)) for across in x.values]
    return tuple(replace(_put_all(request, cell), num_images=1) for cell in cells)


def _put_all(request: GenerateRequest, cell: Sequence[tuple[Axis, float]]) -> GenerateRequest:
    """The request with the values of one cell; steps of an adapter are of the number of steps that the cell has."""
    for axis, value in sorted(cell, key=lambda one: one[0].what != "num_inference_steps"):
        request = axis.put(request, value)
    return request
