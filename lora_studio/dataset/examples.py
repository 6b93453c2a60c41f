"""What a training is handed for each picture; neither the store nor the trainer knows the other's form of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_studio.dataset.captions import captions_for, renamed
from lora_studio.errors import DatasetError
from lora_studio.types import DatasetItem


@dataclass(frozen=True)
class Example:
    """One picture to learn from: where its normalised PNG lies, that file's sha256, and its caption."""

    image: Path
    sha256: str
    caption: str


def examples_for(
    items: Sequence[DatasetItem], trigger: str, path_of: Callable[[str], Path], embedding: str = ""
) -> list[Example]:
    """The examples of a set, in its order; `path_of` finds a stored file by its sha256.

    The name of an `embedding` that is to be learnt stands in the trigger's place, or is the trigger where there is
    none.

    Raises:
        DatasetError: there are no pictures, or one has neither caption nor trigger.
        NotFound: a picture's file is gone (from `path_of`).
    """
    if not items:
        raise DatasetError(
            "0 pictures can be trained on; at least 1 is needed; add pictures.", code="dataset_empty", given="0"
        )
    captions = captions_for(items, trigger.strip() or embedding)
    if embedding and trigger.strip():
        captions = [renamed(caption, trigger, embedding) for caption in captions]
    return [Example(path_of(item.sha256), item.sha256, text) for item, text in zip(items, captions, strict=True)]
