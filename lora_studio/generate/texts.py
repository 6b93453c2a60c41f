"""What the prompts of a job say, as conditionings: read, cut into chunks, encoded once, put together over the steps.

`<lora:...>` tags are taken out of the text and do not act: the request names the adapters. What the reading has to say
becomes warnings of the job. It does not know the denoiser.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.errors import InvalidInput
from lora_studio.pipeline.base import SharedBase
from lora_studio.pipeline.calls import Mix, Report
from lora_studio.pipeline.clip import mix_key
from lora_studio.pipeline.conditioning import Conditioning, Segment, TextCondition, WantedText, pad_alike
from lora_studio.prompt.attention import Span
from lora_studio.prompt.chunks import Embedding, Vocabulary, cut_chunks, vocabulary
from lora_studio.prompt.language import ParsedPrompt, parse
from lora_studio.prompt.notices import PromptWarning
from lora_studio.prompt.schedules import Counting
from lora_studio.sentences import sentence
from lora_studio.types import EmbeddingUse, GenerateRequest

ReadEmbedding = Callable[[str], TextEmbedding]
"""The embedding of a file's sha256; raises `NotFound` or `EmbeddingRefused`."""

Said = tuple[Conditioning, Conditioning]
"""What a request's prompt and negative prompt say."""

MOST_CHUNKS = 4096
"""Chunks of all different texts of a job. One is 236 KB for Stable Diffusion 1.x and 631 KB for XL, all are held at
once, and a schedule of three alternations over a thousand steps has a thousand different texts."""

_Key = tuple[Any, ...]
"""What decides the embeddings of one text: its words, embeddings, mix, clip skip, emphasis, side."""


@dataclass(eq=False)
class _Reader:
    """Reads the texts of all requests; remembers what is to be encoded and what was said already."""

    base: SharedBase
    embedding: ReadEmbedding
    wanted: dict[_Key, WantedText] = field(default_factory=dict)
    warnings: dict[_Key, PromptWarning] = field(default_factory=dict)
    chunks: int = 0
    _parsed: dict[_Key, ParsedPrompt] = field(default_factory=dict)
    _known: dict[tuple[EmbeddingUse, ...], tuple[Vocabulary, dict[str, TextEmbedding]]] = field(default_factory=dict)

    def read(self, request: GenerateRequest, mix: Mix) -> None:
        """Note every text of a request."""
        for negative in (False, True):
            for part in self.parsed(request, negative).parts:
                for segment in part.segments:
                    self.want(segment.text, segment.spans, request, mix, negative)
        if request.pad_prompts:
            self.want("", (), request, mix)

    def parsed(self, request: GenerateRequest, negative: bool) -> ParsedPrompt:
        """One side of a request, read once for all requests that read it alike."""
        text = request.negative_prompt if negative else request.prompt
        reading = "comfy" if request.emphasis == "comfy" else "a1111"
        key = (text, request.num_inference_steps, request.old_scheduling, negative, reading)
        if key not in self._parsed:
            counting = Counting(request.num_inference_steps, old=request.old_scheduling)
            self._parsed[key] = parse(text, counting, negative=negative, reading=reading)
            self._note(self._parsed[key].warnings)
        return self._parsed[key]

    def want(
        self, text: str, spans: tuple[Span, ...], request: GenerateRequest, mix: Mix, negative: bool = False
    ) -> _Key:
        """The key of a text, which from now on is to be encoded."""
        key = (text, request.embeddings, mix_key(mix), request.clip_skip, request.emphasis, negative)
        if key not in self.wanted:
            words, embeddings = self._vocabulary(request.embeddings)
            cut = cut_chunks(spans, words)
            self._note(cut.warnings)
            self._count(len(cut.chunks))
            self.wanted[key] = WantedText(cut.chunks, embeddings, mix, request.clip_skip, request.emphasis, negative)
        return key

    def _vocabulary(self, uses: tuple[EmbeddingUse, ...]) -> tuple[Vocabulary, dict[str, TextEmbedding]]:
        """The base's tokens with the embeddings of a request, read from their files."""
        if uses not in self._known:
            read = {use.name: self.embedding(use.sha256) for use in uses}
            for embedding in read.values():
                self.base.family.check_embedding(embedding)
            named = [Embedding(name, embedding.count) for name, embedding in read.items()]
            self._known[uses] = (vocabulary(self.base.tokenize, named), read)
        return self._known[uses]

    def _count(self, chunks: int) -> None:
        """Refuse what would take all the memory, before it is encoded."""
        self.chunks += chunks
        if self.chunks > MOST_CHUNKS:
            raise InvalidInput(
                f"The prompts of the job come to more than {MOST_CHUNKS} different chunks of text over its steps; that "
                "is all that is encoded at once; use fewer steps, fewer alternatives in [a|b], or shorter texts.",
                code="prompt_too_many_texts",
                allowed=str(MOST_CHUNKS),
            )

    def _note(self, warnings: Sequence[PromptWarning]) -> None:
        """Keep each different warning once, wherever in the texts it stands."""
        for found in warnings:
            self.warnings.setdefault((found.code, *found.values.items()), found)


def encode_texts(
    base: SharedBase, asked: Sequence[tuple[GenerateRequest, Mix]], embedding: ReadEmbedding
) -> Generator[Any, Any, list[Said]]:
    """Encode each different text once.

    Args:
        base: the shared base.
        asked: the requests, each with the adapters at the weights at which they act on the text encoder.
        embedding: reads the embeddings that the requests name.

    Yields:
        The reading's warnings, then a turn for each call of the text encoder.

    Raises:
        InvalidInput: an embedding does not fit the base, or the texts come to more than `MOST_CHUNKS` chunks.
    """
    reader = _Reader(base, embedding)
    keys = [_key(request, mix) for request, mix in asked]
    different = dict(zip(keys, asked, strict=True))
    for request, mix in different.values():
        reader.read(request, mix)
    for found in reader.warnings.values():
        message = sentence(found.code, found.values)
        yield Report("warning", {"code": found.code, "message": message, "values": dict(found.values)})
    encoded = yield from base.family.encode(list(reader.wanted.values()))
    conditions = dict(zip(reader.wanted, encoded, strict=True))
    said = {key: _said(reader, conditions, request, mix) for key, (request, mix) in different.items()}
    return [said[key] for key in keys]


def _key(request: GenerateRequest, mix: Mix) -> _Key:
    """What decides what a request's texts say."""
    texts = (request.prompt, request.negative_prompt, request.num_inference_steps, request.old_scheduling)
    return (*texts, request.embeddings, mix_key(mix), request.clip_skip, request.emphasis, request.pad_prompts)


def _said(reader: _Reader, conditions: dict[_Key, TextCondition], request: GenerateRequest, mix: Mix) -> Said:
    """Both sides of a request over the steps."""
    sides = []
    for negative in (False, True):
        parts = reader.parsed(request, negative).parts
        segments = []
        for last_step in sorted({segment.last_step for part in parts for segment in part.segments}):
            texts = []
            for part in parts:
                segment = part.at_step(last_step)
                condition = conditions[reader.want(segment.text, segment.spans, request, mix, negative)]
                texts.append(condition if part.weight == 1.0 else replace(condition, weight=part.weight))
            segments.append(Segment(last_step, tuple(texts)))
        sides.append(tuple(segments))
    if not request.pad_prompts:
        return sides[0], sides[1]
    return pad_alike(sides[0], sides[1], conditions[reader.want("", (), request, mix)])
