"""One adapter in a mix: how strongly it acts, in which part of the steps, and in which blocks of the UNet.

Steps are counted from 1. What the blocks of a UNet are called follows the original checkpoints (`UNetBlocks`), as the
people do who weigh them one by one (hako-mikan/sd-webui-lora-block-weight).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lora_studio.errors import InvalidInput
from lora_studio.types.fields import check, check_text, spec

MOST_WEIGHT = 10.0
"""Largest weight of an adapter, of its reading of words and of a block, up or down."""

MOST_BLOCKS = 128
"""More blocks than any UNet has."""

_NEARLY = 1e-3
"""Steps: a share of the steps is often a quotient, rounded to six digits."""


def held(weight: float) -> float:
    """The weight, or the nearest one that a mix may have."""
    return max(-MOST_WEIGHT, min(MOST_WEIGHT, weight))


@dataclass(frozen=True)
class UNetBlocks:
    """The blocks of a base's UNet, in the order in which they act; empty where they are not known.

    Attributes:
        names: IN00 ..., M00, OUT00 ...: `input_blocks.0` ... of the original layout.
        attended: those of them that hold attention, which nearly every LoRA changes and many change alone.
    """

    names: tuple[str, ...] = ()
    attended: tuple[str, ...] = ()


NO_BLOCKS = UNetBlocks()


@dataclass(frozen=True)
class AdapterWeight:
    """One adapter in a mix: its file's sha256, the name it was chosen by, and the weight `s` of `W + s·ΔW`.

    Attributes:
        text_encoder_weight: the `s` of the text encoder's layers where it is another one; None: `weight` holds for all.
        start, stop: the part of the steps in which it acts on the picture. Step k of n is one of them where k - 1 is at
            least start · n and k at most stop · n. The words are read once: `text_encoder_weight` acts in any case.
        blocks: what `weight` is multiplied by in each block of the UNet, in the order of `UNetBlocks.names`; () is 1 in
            all. Layers outside of the blocks (the embedding of the step, the last convolution) keep `weight`.
    """

    sha256: str
    name: str
    weight: float = spec(
        1.0,
        doc="How strongly this LoRA acts; 0 is not at all, 1 as trained.",
        minimum=-MOST_WEIGHT,
        maximum=MOST_WEIGHT,
    )
    text_encoder_weight: float | None = spec(
        None,
        doc="How strongly it acts on the reading of the words; as the weight if left out.",
        minimum=-MOST_WEIGHT,
        maximum=MOST_WEIGHT,
    )
    start: float = spec(
        0.0, doc="The share of the steps that pass before it acts on the picture.", minimum=0, maximum=1
    )
    stop: float = spec(1.0, doc="The share of the steps after which it acts no more.", minimum=0, maximum=1)
    blocks: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check(self)
        check_text(self.name, "adapters")
        check_text(self.sha256, "adapters")
        if self.start > self.stop:
            raise InvalidInput(
                f"start was given as {self.start:g} and stop as {self.stop:g}; stop may not be smaller; change one of "
                "them.",
                code="steps_reversed",
                start=self.start,
                stop=self.stop,
            )
        few = isinstance(self.blocks, tuple) and len(self.blocks) <= MOST_BLOCKS
        if not few or not all(map(_is_weight, self.blocks)):
            shown, most = str(self.blocks)[:200], f"{MOST_WEIGHT:g}"
            raise InvalidInput(
                f"blocks was given as {shown}; it must be numbers from -{most} to {most}, one for each block of the "
                "UNet, or none; change it.",
                code="blocks_range",
                given=shown,
                allowed=most,
            )

    @property
    def always(self) -> bool:
        """It acts in every step."""
        return self.start == 0.0 and self.stop == 1.0

    def acts_in(self, step: int, steps: int) -> bool:
        """Whether it acts on the picture in step `step` (1 to `steps`)."""
        return step - 1 >= self.start * steps - _NEARLY and step <= self.stop * steps + _NEARLY

    def span(self, steps: int) -> tuple[int, int] | None:
        """First and last of the steps in which it acts, None where it acts in none."""
        acting = [step for step in range(1, steps + 1) if self.acts_in(step, steps)]
        return (acting[0], acting[-1]) if acting else None


def _is_weight(given: Any) -> bool:
    return isinstance(given, int | float) and not isinstance(given, bool) and abs(given) <= MOST_WEIGHT  # no NaN is
