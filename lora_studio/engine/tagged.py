"""Which adapters act in a request, and how: those of its list, and those that `<lora:...>` tags of its prompt name.

- An adapter that the list has keeps its weights, whatever a tag says; a tag that says otherwise is told.
- In which steps and blocks it acts is taken from its tag where the list leaves that open.
- Several tags of one adapter add up. (A1111 puts the last one's weight in as often as the file is named: there
  `<lora:a:0.5> <lora:a:0.3>` acts at 0.6, here at 0.8; equal weights agree.) Steps and blocks are the last one's.

It does not know files, texts or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lora_studio.prompt.block_weights import BlockWeights, lengths, read_block_weights
from lora_studio.prompt.explain import unknown_tag
from lora_studio.prompt.names import Names
from lora_studio.prompt.notices import PromptWarning, quote, warning
from lora_studio.prompt.tags import LoraTag, shares
from lora_studio.types import AdapterWeight, UNetBlocks
from lora_studio.types.mix import MOST_WEIGHT, NO_BLOCKS, held

_SAME = 1e-4
"""Weights of a page's rows are rounded to four digits."""


@dataclass(frozen=True)
class Ground:
    """What tags are read on: the names of the adapters, the steps of the request, the blocks of the base (or none)."""

    known: Names
    steps: int
    blocks: UNetBlocks = NO_BLOCKS


def acting(
    given: Sequence[AdapterWeight], loras: Sequence[LoraTag], ground: Ground
) -> tuple[tuple[AdapterWeight, ...], list[PromptWarning]]:
    """The adapters of the list, then those of the tags, and what is to be said of these."""
    warnings: list[PromptWarning] = []
    asked: dict[str, list[LoraTag]] = {}
    names: dict[str, str] = {}
    for lora in loras:
        entry = ground.known.find(lora.name)
        told = unknown_tag(lora, ground.known)
        warnings += [told] if told else []
        if entry is not None:
            names[entry.key] = entry.name
            asked.setdefault(entry.key, []).append(lora)
            if lora.dyn is not None:
                option = f"dyn={lora.dyn}"
                warnings.append(warning("tag_option_inactive", lora.place, tag=quote(lora.text), option=option))
    tagged = {key: _Tagged(AdapterWeight(key, names[key]), tags, ground) for key, tags in asked.items()}
    made = [tagged[one.sha256].beside(one) if one.sha256 in tagged else one for one in given]
    listed = {one.sha256 for one in given}
    made += [one.alone() for key, one in tagged.items() if key not in listed]
    return tuple(made), [*warnings, *(warn for one in tagged.values() for warn in one.warnings)]


class _Tagged:
    """What the tags of one adapter ask for.

    Attributes:
        warnings: what is to be said of them so far.
    """

    def __init__(self, plain: AdapterWeight, tags: Sequence[LoraTag], ground: Ground) -> None:
        self.warnings: list[PromptWarning] = []
        self._plain, self._tags, self._ground = plain, tags, ground
        self._last = tags[-1]
        if len({(tag.start, tag.stop, tag.lbw) for tag in tags}) > 1:
            self._warn("tag_places_differ", name=plain.name)
        self._blocks = self._read_blocks()
        self._start, self._stop = shares(self._last, ground.steps)
        if replace(plain, start=self._start, stop=self._stop).span(ground.steps) is None:
            self._warn("tag_steps_none", steps=ground.steps)

    def alone(self) -> AdapterWeight:
        """The adapter as the tags alone ask for it."""
        te, unet = self._weights()
        words = 1.0 if self._blocks is None else self._blocks.words
        return self._placed(self._with_words(replace(self._plain, weight=unet), te * words), self._blocks)

    def beside(self, given: AdapterWeight) -> AdapterWeight:
        """The adapter of the list, its steps and blocks where it leaves these open."""
        te, unet = self._weights()
        own = given.weight if given.text_encoder_weight is None else given.text_encoder_weight
        words = 1.0 if self._blocks is None or not given.blocks else self._blocks.words  # in the list it is in already
        agree = abs(own - te * words) < _SAME and abs(given.weight - unet) < _SAME
        if given.weight != 0.0 and not agree:
            self._warn("tag_overruled", name=given.name, weight=given.weight)
        new = None if given.blocks else self._blocks
        made = self._placed(given if new is None else self._with_words(given, own * new.words), new)
        wanted, steps = self.alone(), self._ground.steps
        limited = self._last.start is not None or self._last.stop is not None
        other_steps = limited and made.span(steps) != wanted.span(steps)
        other_blocks = self._blocks is not None and made.blocks != wanted.blocks
        if given.weight != 0.0 and (other_steps or other_blocks):
            self._warn("tag_places_overruled", name=given.name)
        return made

    def _placed(self, adapter: AdapterWeight, blocks: BlockWeights | None) -> AdapterWeight:
        """The adapter in the tags' steps where it has none of its own, with other blocks where there are some."""
        start, stop = (self._start, self._stop) if adapter.always else (adapter.start, adapter.stop)
        return replace(adapter, start=start, stop=stop, blocks=adapter.blocks if blocks is None else blocks.blocks)

    def _with_words(self, adapter: AdapterWeight, te: float) -> AdapterWeight:
        """The adapter with another weight of the text encoder, held within what a mix may have."""
        kept = self._held(te)
        return replace(adapter, text_encoder_weight=None if kept == adapter.weight else kept)

    def _weights(self) -> tuple[float, float]:
        """The weights of the text encoder and the UNet together, within what a mix may have."""
        return self._held(sum(tag.te for tag in self._tags)), self._held(sum(tag.unet for tag in self._tags))

    def _held(self, weight: float) -> float:
        if held(weight) != weight:
            self._warn("tag_weight_limit", allowed=MOST_WEIGHT)
        return held(weight)

    def _read_blocks(self) -> BlockWeights | None:
        """The last tag's block weights; None where it has none, or none that can be read here."""
        text, blocks = self._last.lbw, self._ground.blocks
        if text is None or not blocks.names:
            if text is not None:
                self._warn("tag_option_inactive", option=quote(f"lbw={text}"))
            return None
        found = read_block_weights(text, blocks)
        if found is None:
            self._warn("tag_blocks_unreadable", option=quote(f"lbw={text}"), allowed=lengths(blocks))
        return found

    def _warn(self, code: str, **values: str | int | float) -> None:
        """Say something of the last tag, once."""
        told = warning(code, self._last.place, tag=quote(self._last.text), **values)
        if told not in self.warnings:
            self.warnings.append(told)
