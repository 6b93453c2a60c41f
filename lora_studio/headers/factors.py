"""The rank factors of a LoRA file by its header: how many numbers each layer takes for one rank.

So that the size of a file to be made can be told before it is made. Only plain pairs of factors are counted by rank;
it does not read numbers, and knows no tools.

Sources: the names of kohya-ss/sd-scripts (`lora_down`), huggingface/peft (`lora_A`) and huggingface/diffusers
(`.lora.down`, `_lora.down`, `lora_linear_layer.down`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_PAIR = re.compile(r"(.+?)[._]lora(?:_linear_layer)?[._](down|up|A|B)(?:\.default)?(?:\.weight)?")
_WHOLE = re.compile(r"(.+?)\.(diff|diff_b|w_norm|b_norm|dora_scale|lora_magnitude_vector)(?:\.\w+)?")


@dataclass(frozen=True)
class Pair:
    """One layer's factors.

    Attributes:
        rank: of its factors.
        each: how many numbers it takes for each rank.
        spatial: it is a convolution of more than one pixel.
        whole: numbers of the layer's whole weight.
        full: the most that a rank of it can be, the shorter side of the weight.
        dora: magnitudes stand beside; with the base's weight it comes to a whole difference, of full rank.
    """

    rank: int
    each: int
    spatial: bool
    whole: int
    full: int
    dora: bool = False


@dataclass(frozen=True)
class Factors:
    """A file's layers by their names, dots and underscores alike; `others` are the numbers of what has no rank."""

    pairs: dict[str, Pair] = field(default_factory=dict)
    others: int = 0


def factors_of(header: Mapping[str, Any]) -> Factors | None:
    """What a file's factors take; None for a file of another algebra (LoHa, LoKr ...), whose products have other sizes.

    Args:
        header: as `lora_studio.headers.header.read` gives it.
    """
    sides: dict[str, dict[str, tuple[int, ...]]] = {}
    others = 0
    magnitudes: set[str] = set()
    for name, entry in header.items():
        if name == "__metadata__" or name.endswith(".alpha"):
            continue
        shape = tuple(entry["shape"])
        pair = _PAIR.fullmatch(name)
        if pair is not None and len(shape) > 1:
            sides.setdefault(_plain(pair[1]), {})["down" if pair[2] in ("down", "A") else "up"] = shape
        elif (whole := _WHOLE.fullmatch(name)) is not None:
            others += math.prod(shape)
            if whole[2] not in ("diff", "diff_b", "w_norm", "b_norm"):
                magnitudes.add(_plain(whole[1]))
        else:
            return None
    pairs = {}
    for module, found in sides.items():
        if len(found) < 2 or not found["down"][0]:
            return None
        rank, inputs = found["down"][0], math.prod(found["down"][1:])
        out = math.prod(found["up"]) // rank
        spatial = found["down"][2:] not in ((), (1, 1))
        pairs[module] = Pair(rank, inputs + out, spatial, inputs * out, min(inputs, out), module in magnitudes)
    return Factors(pairs, others)


def _plain(module: str) -> str:
    """A module's name, dots and underscores alike, without what layouts put before it."""
    return module.replace(".", "_").removeprefix("base_model_model_").removeprefix("lora_")
