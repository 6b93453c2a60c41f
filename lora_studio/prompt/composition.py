"""AND: several prompts, each with a weight, whose directions the denoiser adds.

The reading of AUTOMATIC1111 stable-diffusion-webui v1.10.1 (`get_multicond_prompt_list`,
https://github.com/AUTOMATIC1111/stable-diffusion-webui/blob/v1.10.1/modules/prompt_parser.py): the word AND, in
capitals, parts the text wherever it stands, inside brackets too; `: 1.2` at the end of a part is its weight (an
optional sign, digits with at most one point, no exponent); blanks at a part's end go. The sum itself is that of Liu et
al. 2022, "Compositional Visual Generation with Composable Diffusion Models".

It does not know schedules or brackets, which are read in each part afterwards; a negative prompt never comes here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lora_studio.prompt.attention import LIMIT, clamp
from lora_studio.prompt.notices import PromptWarning, warning
from lora_studio.prompt.source import SourceText

_AND = re.compile(r"\bAND\b")
_WEIGHT = re.compile(r"\s*+([-+]?(?:\d++\.?|\d*+\.\d++))")


@dataclass(frozen=True)
class Weighted:
    """One part: its words and the weight of its direction, finite and within ±1e4."""

    words: SourceText
    weight: float


def split_and(text: SourceText) -> tuple[tuple[Weighted, ...], tuple[PromptWarning, ...]]:
    """The parts in order, at least one; time linear in the text's length."""
    warnings: list[PromptWarning] = []
    edges = [0, *(edge for match in _AND.finditer(text.text) for edge in match.span()), len(text.text)]
    parts = [_weigh(text, start, end, warnings) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    if len(parts) == 1 and parts[0].weight != 1.0:
        # "aspect ratio 16:9" multiplies guidance by nine, as in A1111, and nobody who writes it means that.
        place = text.place(len(parts[0].words.text), len(text.text.rstrip()))
        warnings.append(warning("prompt_weighted", place, weight=parts[0].weight))
    return tuple(parts), tuple(warnings)


def _weigh(text: SourceText, start: int, end: int, warnings: list[PromptWarning]) -> Weighted:
    """One part without its weight and the blanks at its end."""
    end = start + len(text.text[start:end].rstrip())
    colon = text.text.rfind(":", start, end)
    weight = 1.0
    if colon >= 0 and (match := _WEIGHT.fullmatch(text.text, colon + 1, end)):
        weight = clamp(_number(match.group(1)), text.place(*match.span(1)), warnings)
        end = start + len(text.text[start:colon].rstrip())
    return Weighted(text.cut(start, end), weight)


def _number(digits: str) -> float:
    """The number; more digits than a float holds are held just beyond the limit, so that the clamp speaks of them."""
    return max(-10 * LIMIT, min(10 * LIMIT, float(digits)))
