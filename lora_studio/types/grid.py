"""A grid of pictures: one request with one or two of its values varied, everything else as it is, the seed included.

The values of an axis are written as in A1111's X/Y/Z plot: `0, 0.5, 1`, `1-4` (1, 2, 3, 4), `0-1 (+0.25)` (steps of
0.25), `0-1 [5]` (five values); see AUTOMATIC1111 stable-diffusion-webui v1.10.1, scripts/xyz_grid.py (`re_range`,
`re_range_float`, `re_range_count_float`). Different on purpose: what cannot be read is refused instead of left out.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from lora_studio.errors import InvalidInput
from lora_studio.types.fields import check, check_text, from_json, to_json
from lora_studio.types.generate import GenerateRequest
from lora_studio.types.mix import AdapterWeight

OF_REQUEST = ("seed", "guidance_scale", "guidance_rescale", "num_inference_steps", "clip_skip")
"""Fields of a request that an axis may vary."""

OF_ADAPTER = ("weight", "from", "to")
"""What of one adapter it may vary: its weight (of the words too), the first and the last step in which it acts."""

MOST_VALUES, MOST_PICTURES = 16, 64

_NUMBER = r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*"
_RANGE = re.compile(rf"{_NUMBER}-{_NUMBER}(?:\(\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*\)|\[\s*(\d+)\s*\])?\s*")
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
            return replace(used, weight=value, text_encoder_weight=None)
        if not float(value).is_integer() or not 0 <= value <= steps + 1:
            raise InvalidInput(
                f"A step of the grid was given as {value:g}; it must be a whole number from 0 to {steps + 1}; change "
                "it.",
                code="grid_step",
                given=f"{value:g}",
                allowed=str(steps + 1),
            )
        if self.what == "from":
            start = max(0.0, min(1.0, (value - 1) / steps))
            return replace(used, start=start, stop=max(start, used.stop))
        stop = min(1.0, value / steps)
        return replace(used, start=min(used.start, stop), stop=stop)


def read_values(text: str) -> tuple[float, ...]:
    """The numbers that a text names, each once, in order.

    Raises:
        InvalidInput: a part of it is neither a number nor a range of numbers.
    """
    found: dict[float, None] = {}
    for part in re.split(r"[,，、;；\n]", text):
        if part.strip():
            found |= dict.fromkeys(_part(part))
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
            gaps = max(1, count - 1)
            few = range(count if count <= MOST_VALUES else 0)
            numbers = [first + (last - first) * at / gaps for at in few]
        else:
            step = float(span[3] or 1)
            count = math.floor((last - first) / step + 1e-9) + 1 if step else 0
            numbers = [first + step * at for at in range(count)] if 0 < count <= MOST_VALUES else []
    if not numbers:
        raise InvalidInput(
            f"The values of the grid were given as {part.strip()[:80]!r}; write numbers, like 0, 0.5, 1, or a range of "
            f"at most {MOST_VALUES}, like 0-1 (+0.25).",
            code="grid_unreadable",
            given=part.strip()[:80],
            allowed=str(MOST_VALUES),
        )
    return [round(number, _DIGITS) for number in numbers]


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
    rows = [request] if y is None else [y.put(request, value) for value in y.values]
    count = len(rows) * len(x.values)
    if count > MOST_PICTURES:
        raise InvalidInput(
            f"The grid has {count} pictures; at most {MOST_PICTURES} are made at once; take some values out.",
            code="grid_large",
            given=str(count),
            allowed=str(MOST_PICTURES),
        )
    return tuple(replace(x.put(row, value), num_images=1) for row in rows for value in x.values)
