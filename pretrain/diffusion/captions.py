"""What the model reads of a caption at one step: all of it, shuffled, shortened, two or three things, or nothing.

Tags are separated by commas. Each tag is tokenized once; put together, the numbers are those that the tokenizer gives
for the whole text. It does not know pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from pretrain.recipe import Captions
from pretrain.tags import is_head, split


def variant(tags: Sequence[str], rng: np.random.Generator, recipe: Captions) -> list[str]:
    """The tags of one sample at one step."""
    choice = rng.random()
    found = list(tags)
    if choice < recipe.dropped:
        return []
    few = choice < recipe.dropped + recipe.few
    if few or choice < recipe.dropped + recipe.few + recipe.shortened:
        head = [tag for tag in tags if is_head(tag)] if recipe.keep_head else []
        rest = [tag for tag in tags if tag not in head]
        if few:
            count = int(rng.integers(recipe.few_least, recipe.few_most + 1))
        else:
            count = max(1, round(len(rest) * rng.uniform(recipe.shortest, 1)))
        found = head + [rest[k] for k in rng.permutation(len(rest))[:count]]
    elif choice < recipe.dropped + recipe.few + recipe.shortened + recipe.shuffled:
        found = [found[k] for k in rng.permutation(len(found))]
    return [tag.replace(" ", "_") if rng.random() < recipe.underscores else tag for tag in found]


class TagTokens:
    """Token numbers of every tag of some captions, with spaces and with underscores."""

    def __init__(self, tokenizer: Any, captions: Iterable[str], more: Iterable[str] = ()) -> None:
        tags = sorted({tag for caption in captions for tag in split(caption)} | set(more))
        tags += [tag.replace(" ", "_") for tag in tags if " " in tag]
        found = tokenizer([*tags, ","], add_special_tokens=False).input_ids
        self._ids = dict(zip([*tags, ","], found, strict=True))
        self._begin, self._end = tokenizer.bos_token_id, tokenizer.eos_token_id
        self._padding = tokenizer.pad_token_id
        self.length: int = tokenizer.model_max_length

    def row(self, tags: Sequence[str]) -> list[int]:
        """Begin, the tags with commas between, end, padding: `length` numbers; what is too long is cut off."""
        numbers: list[int] = []
        for place, tag in enumerate(tags):
            numbers += self._ids[","] if place else []
            numbers += self._ids[tag]
        return self.framed(numbers)

    @property
    def room(self) -> int:
        """Tokens between begin and end."""
        return self.length - 2

    def framed(self, numbers: Sequence[int]) -> list[int]:
        """Begin, these numbers, end, padding."""
        row = [self._begin, *numbers[: self.room], self._end]
        return row + [self._padding] * (self.length - len(row))

    def tag(self, tag: str) -> list[int]:
        """The numbers of one tag, or of the comma; KeyError where it was not given."""
        found: list[int] = self._ids[tag]
        return found

    def count(self, tag: str) -> int:
        """How many tokens a tag has."""
        return len(self._ids[tag])
