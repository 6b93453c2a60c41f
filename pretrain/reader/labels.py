"""What a reader is asked: which tags, and which things of any colour, a caption names. It knows captions only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pretrain.tags import QUALITY, split


def questions(tags: Iterable[str]) -> list[str]:
    """The tags of a caption and, for every `red t-shirt`, the `t-shirt`; words of quality are not asked."""
    found = [tag for tag in tags if tag not in QUALITY]
    return list(dict.fromkeys([*found, *(tag.split(" ", 1)[1] for tag in found if " " in tag)]))


def labels_of(captions: Sequence[str], least: int) -> list[str]:
    """The questions that at least `least` captions answer with yes, in the order of the alphabet."""
    counts = Counter(question for text in captions for question in questions(split(text)))
    return sorted(question for question, count in counts.items() if count >= least)


class Answers:
    """Which labels each caption has."""

    def __init__(self, captions: Sequence[str], labels: Sequence[str]) -> None:
        place = {label: k for k, label in enumerate(labels)}
        self._count = len(labels)
        self._rows = [
            [place[question] for question in questions(split(text)) if question in place] for text in captions
        ]

    def take(self, indices: Tensor) -> Tensor:
        """float32 (n, labels) of 0 and 1."""
        found = torch.zeros(len(indices), self._count)
        for row, index in zip(found, indices.tolist(), strict=True):
            row[self._rows[index]] = 1
        return found
