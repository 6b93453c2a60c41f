"""Prompts read and encoded as a job does it, for tests of the parts."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

import torch

from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.pipeline import SharedBase, TextCondition
from lora_studio.pipeline.conditioning import WantedText
from lora_studio.prompt.chunks import Chunk, Embedding, cut_chunks, vocabulary
from lora_studio.prompt.language import parse
from lora_studio.prompt.schedules import Counting


def chunks_of(base: SharedBase, text: str, embeddings: Mapping[str, TextEmbedding] | None = None) -> tuple[Chunk, ...]:
    """The chunks of a text without schedules, cut with the base's own tokenizer."""
    named = [Embedding(name, embedding.count) for name, embedding in (embeddings or {}).items()]
    spans = parse(text, Counting(1), negative=True).parts[0].segments[0].spans
    return cut_chunks(spans, vocabulary(base.tokenize, named)).chunks


def wanted(base: SharedBase, text: str, **options: Any) -> WantedText:
    """A text to encode; `options` are fields of `WantedText`."""
    return WantedText(chunks_of(base, text, options.get("embeddings")), **options)


def run(job: Generator[Any, Any, Any]) -> tuple[Any, list[Any]]:
    """A generator that is sent nothing: its result and all that it yielded."""
    seen = []
    while True:
        try:
            seen.append(next(job))
        except StopIteration as end:
            return end.value, seen


def encode(base: SharedBase, texts: Sequence[WantedText]) -> list[TextCondition]:
    """The texts' conditions."""
    conditions: list[TextCondition] = run(base.family.encode(texts))[0]
    return conditions


def random_embedding(name: str, count: int, width: int = 32, seed: int = 0) -> TextEmbedding:
    """An embedding of `count` random vectors as large as the tiny base's own tokens."""
    vectors = torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * 0.02
    return TextEmbedding(name=name, sha256=f"{seed:064d}", vectors={"clip_l": vectors})
