"""Block weights: what `lbw=` of a `<lora:...>` tag says, as a factor for the words and one for each block of the UNet.

A list begins with BASE, the text encoder. Behind it stand numbers for all blocks of the base, or for those alone that
hold attention (the rest is then 0): 26 or 17 numbers for Stable Diffusion 1 and 2, 20 or 12 for XL. The presets that
the extension comes with are read by place: of the blocks with attention, S are the outer ones, where the picture is
large, D the inner ones. So they mean the same on a UNet of any depth, and on Stable Diffusion 1 the extension's own
numbers.

Different on purpose: a list for another kind of base is refused, where the extension takes what is missing for 0; so
are random numbers (`R`, `U`), from which no picture can be made again, and `X`. It does not know adapters.

Source: hako-mikan/sd-webui-lora-block-weight, scripts/lora_block_weight.py (`DEF_WEIGHT_PRESET`, `to26`, `loradealer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lora_studio.prompt.tags import finite
from lora_studio.types import UNetBlocks
from lora_studio.types.mix import MOST_WEIGHT

PRESETS: Mapping[str, tuple[float, frozenset[str]]] = {
    "NONE": (0.0, frozenset()),
    "ALL": (1.0, frozenset({"BASE", "INS", "IND", "M", "OUTD", "OUTS"})),
    "INS": (1.0, frozenset({"BASE", "INS"})),
    "IND": (1.0, frozenset({"BASE", "IND"})),
    "INALL": (1.0, frozenset({"BASE", "INS", "IND"})),
    "MIDD": (1.0, frozenset({"BASE", "IND", "M", "OUTD"})),
    "OUTD": (1.0, frozenset({"BASE", "OUTD"})),
    "OUTS": (1.0, frozenset({"BASE", "OUTS"})),
    "OUTALL": (1.0, frozenset({"BASE", "OUTD", "OUTS"})),
    "ALL0.5": (0.5, frozenset({"BASE", "INS", "IND", "M", "OUTD", "OUTS"})),
}
"""The extension's own presets: a factor, and the parts that have it; the others have 0."""


@dataclass(frozen=True)
class BlockWeights:
    """Factors of an adapter's weights: `words` of the text encoder's, `blocks` of the UNet's in `UNetBlocks.names`."""

    words: float
    blocks: tuple[float, ...]


def read_block_weights(text: str, blocks: UNetBlocks) -> BlockWeights | None:
    """What a list or the name of a preset means on a base; None where it means nothing there.

    Args:
        text: as it stands behind `lbw=`; names in capital letters, as in the extension.
        blocks: the base's, at least one.
    """
    if text.strip() in PRESETS:
        return _preset(text.strip(), blocks)
    numbers = [finite(part) for part in text.split(",")]
    given = [number for number in numbers if number is not None and abs(number) <= MOST_WEIGHT]
    if len(given) != len(numbers) or len(given) - 1 not in (len(blocks.names), len(blocks.attended)):
        return None
    places = blocks.names if len(given) - 1 == len(blocks.names) else blocks.attended
    named = dict(zip(places, given[1:], strict=True))
    return BlockWeights(given[0], tuple(named.get(name, 0.0) for name in blocks.names))


def lengths(blocks: UNetBlocks) -> str:
    """How many numbers a list may have, as `26 / 17`."""
    return " / ".join(str(count) for count in dict.fromkeys((len(blocks.names) + 1, len(blocks.attended) + 1)))


def _preset(name: str, blocks: UNetBlocks) -> BlockWeights:
    factor, parts = PRESETS[name]
    part_of = _parts(blocks)
    factors = tuple(factor if part_of.get(block) in parts else 0.0 for block in blocks.names)
    return BlockWeights(factor if "BASE" in parts else 0.0, factors)


def _parts(blocks: UNetBlocks) -> dict[str, str]:
    """INS, IND, M, OUTD or OUTS of each block with attention; of an odd number the outer half has one more."""
    down = [name for name in blocks.attended if name.startswith("IN")]
    up = [name for name in blocks.attended if name.startswith("OUT")]
    found = {name: "M" for name in blocks.attended if name.startswith("M")}
    half = (len(down) + 1) // 2
    found |= {name: "INS" if at < half else "IND" for at, name in enumerate(down)}
    half = len(up) // 2
    return found | {name: "OUTD" if at < half else "OUTS" for at, name in enumerate(up)}
