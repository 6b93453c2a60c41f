"""What the door found in a LoRA file: the report that cards, `adapter inspect` and warnings are made of.

It does not know how a file is read.
Sources of the header's keys: Stability-AI/ModelSpec 1.0.1 (`modelspec.*`); kohya-ss/sd-scripts train_network.py
(`ss_*`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.adapters.formats.parsed import Ignored, ParsedFile
from lora_studio.errors import AdapterRefused
from lora_studio.headers.adapter import words_of
from lora_studio.headers.parts import trained_rank

Range = tuple[float, float]
"""Smallest and largest."""


@dataclass(frozen=True)
class AdapterReport:
    """What was found in a file, let in or refused.

    Attributes:
        format: layout and algebra, e.g. "kohya LoRA", "" of a file that could not be read.
        family: `headers.adapter.TITLES`' key, "" where nothing tells.
        ranks: smallest and largest rank of its layers as its trainer was told it (a LoHa of rank r comes to factors of
            rank r²), None where none has one.
        alphas: smallest and largest alpha in the file, None where it holds none.
        text_encoder: it changes a text encoder.
        layers_matched: of its layers, those that the base has and takes.
        layers_in_file: its layers.
        layers_in_base: linear layers and convolutions of the base; 0 where none was asked.
        dense_layers: matched layers whose difference is kept as a whole.
        ignored: what does nothing, and why.
        strength: |ΔW|/|W| over all matched layers, None where no weights were given.
        blocks: the same for each block (`unet.down_blocks.0`, `unet.mid_block`, `text_encoder` ...).
        trigger_words: by the header: its phrase, else its most frequent tags.
        embeddings: bundled textual-inversion embeddings: name to number of vectors.
        bundled: the same themselves.
        dtypes: of the file's tensors.
        converted: the safetensors form of a pickle, to be kept so that it is opened only once.
        refused: why it is not let in, None where it is.
    """

    format: str = ""
    family: str = ""
    ranks: tuple[int, int] | None = None
    alphas: Range | None = None
    text_encoder: bool = False
    layers_matched: int = 0
    layers_in_file: int = 0
    layers_in_base: int = 0
    dense_layers: int = 0
    ignored: tuple[Ignored, ...] = ()
    finite: bool = True
    strength: float | None = None
    blocks: Mapping[str, float] = field(default_factory=dict)
    trigger_words: tuple[str, ...] = ()
    license: str = ""
    embeddings: Mapping[str, int] = field(default_factory=dict)
    bundled: Mapping[str, TextEmbedding] = field(default_factory=dict)
    sha256: str = ""
    dtypes: tuple[str, ...] = ()
    warnings: tuple[dict[str, Any], ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    converted: bytes | None = None
    refused: AdapterRefused | None = None

    @property
    def rank(self) -> int | None:
        """The rank where all layers have the same."""
        return self.ranks[0] if self.ranks and self.ranks[0] == self.ranks[1] else None

    @property
    def alpha(self) -> float | None:
        """The alpha where all layers have the same."""
        return self.alphas[0] if self.alphas and self.alphas[0] == self.alphas[1] else None


def said_of(parsed: ParsedFile) -> dict[str, Any]:
    """The fields of a report that the file alone tells."""
    alphas = [float(m.tensors["alpha"]) for m in parsed.modules.values() if _counts(m.kind, m.tensors)]
    alphas = [alpha for alpha in alphas or parsed.folded if math.isfinite(alpha)]
    ranks = sorted(rank for module in parsed.modules.values() if (rank := rank_of(module.tensors)))
    return {
        "ranks": (ranks[0], ranks[-1]) if ranks else None,
        "format": parsed.format,
        "family": parsed.family,
        "alphas": (min(alphas), max(alphas)) if alphas else None,
        "text_encoder": any(module.component.startswith("text_encoder") for module in parsed.modules.values()),
        "layers_in_file": len(parsed.modules),
        "ignored": parsed.ignored,
        "trigger_words": words_of(parsed.metadata),
        "license": parsed.metadata.get("modelspec.license", "")[:200],
        "embeddings": {name: max(map(_rows, own.values())) for name, own in parsed.embeddings.items()},
        "dtypes": parsed.dtypes,
        "metadata": parsed.metadata,
        "converted": parsed.converted,
    }


def _rows(vectors: Tensor) -> int:
    """How many vectors; 0 of one number, which is none."""
    return int(vectors.shape[0]) if vectors.dim() else 0


def rank_of(tensors: Mapping[str, Tensor]) -> int:
    """The rank that a module was trained with, 0 where it has none."""
    return trained_rank({part: tuple(tensor.shape) for part, tensor in tensors.items()})


def _counts(kind: str, tensors: Mapping[str, Any]) -> bool:
    """True for an alpha that scales factors; of rotations it is a bound, of two whole LoKr matrices nothing."""
    whole = "lokr_w1" in tensors and "lokr_w2" in tensors
    return (
        "alpha" in tensors
        and tensors["alpha"].numel() == 1
        and kind in ("lora", "dora", "loha", "lokr", "glora")
        and not whole
    )
