"""`prompt`: what A1111's language makes of a text, as plain data; no engine and no workspace is opened.

Each key has the form in which A1111's own functions answer:

    text, networks, lora    what remains without comments and tags, the tags as read, what `<lora:...>` comes to
    and                     [[text, weight]]
    schedule                [[last step, text]]
    attention               [[text, weight]], BREAK with the weight -1
    token_count, chunks     as A1111's counter counts: the longest of all texts; the chunks of the first one

Where AND parts the text, `schedule`, `attention` and `chunks` are those of its first part, and of its first step.
Whose tokens were counted is said on standard error. `--stage` runs one stage alone on the text as it was given. It does
not know adapters or embeddings: these are named.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from lora_studio.cli.options import PromptOptions
from lora_studio.cli.vocabulary import Counter, counter_at_hand
from lora_studio.errors import InvalidInput
from lora_studio.prompt.attention import Span, parse_attention
from lora_studio.prompt.chunks import BACKTRACK, Chunks, Embedding, Vocabulary, cut_chunks, vocabulary
from lora_studio.prompt.comfy import parse_comfy
from lora_studio.prompt.composition import split_and
from lora_studio.prompt.language import parse
from lora_studio.prompt.notices import PromptWarning, gather
from lora_studio.prompt.schedules import Counting, parse_schedule
from lora_studio.prompt.source import SourceText
from lora_studio.prompt.tags import LoraTag, networks, read_loras, take_tags
from lora_studio.sentences import sentence
from lora_studio.settings import default_assets
from lora_studio.types import EMPHASES

STAGES = ("schedule", "attention", "and", "networks", "chunks")
STEPS = 20
Answer = tuple[dict[str, Any], Sequence[PromptWarning]]


def run(options: PromptOptions) -> None:
    """Read standard input, and print one JSON object or lines for people."""
    reader = Reader(options)
    text = _standard_input()
    found, warnings = reader.whole(text) if options.stage is None else reader.stage(text, options.stage)
    said = [{"code": warn.code, "message": sentence(warn.code, warn.values)} for warn in gather(warnings)]
    if options.json:
        alone = {} if options.stage is not None else {"warnings": said}
        print(json.dumps(found | alone, ensure_ascii=False))
        return
    for key, value in found.items():
        print(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    for one in said:
        print(one["message"], file=sys.stderr)


class Reader:
    """The stages with the options of one call."""

    def __init__(self, options: PromptOptions) -> None:
        """Raises `InvalidInput` for options that are not allowed."""
        self._counting = Counting(options.steps or STEPS, options.hires_steps, old=options.old_scheduling)
        self._backtrack = BACKTRACK if options.comma_backtrack is None else options.comma_backtrack
        self._embeddings = [_embedding(given) for given in options.embedding]
        _check("--emphasis", options.emphasis, EMPHASES)
        _check("--stage", options.stage, STAGES)
        self._comfy = options.emphasis == "comfy"
        self._known: tuple[Counter, Vocabulary] | None = None

    def whole(self, text: str) -> Answer:
        """All stages in A1111's order."""
        parsed = parse(text, self._counting, reading="comfy" if self._comfy else "a1111")
        first = parsed.parts[0]
        counted: dict[tuple[Span, ...], Chunks] = {}
        for segment in (segment for part in parsed.parts for segment in part.segments):
            if segment.spans not in counted:
                counted[segment.spans] = self._cut(segment.spans)
        warnings = [*parsed.warnings, *(warn for chunks in counted.values() for warn in chunks.warnings)]
        return {
            "text": parsed.text,
            "networks": networks(parsed.tags),
            "lora": _loras(parsed.loras),
            "and": [[part.words.text, part.weight] for part in parsed.parts],
            "schedule": [[segment.last_step, segment.text] for segment in first.segments],
            "attention": _pairs(first.segments[0].spans),
            "token_count": max(chunks.token_count for chunks in counted.values()),
            "chunks": self._chunks(counted[first.segments[0].spans]),
        }, warnings

    def stage(self, text: str, stage: str) -> Answer:
        """One stage alone on the raw text."""
        words = SourceText.typed(text)
        if stage == "schedule":
            texts, _, warnings = parse_schedule(words, self._counting)
            return {"schedule": [[one.last_step, one.words.text] for one in texts]}, warnings
        if stage == "and":
            parts, warnings = split_and(words)
            return {"and": [[part.words.text, part.weight] for part in parts]}, warnings
        if stage == "networks":
            rest, tags = take_tags(words)
            loras, warnings = read_loras(tags)
            return {"text": rest.text, "networks": networks(tags), "lora": _loras(loras)}, warnings
        spans, warnings = parse_comfy(words) if self._comfy else parse_attention(words)
        if stage == "attention":
            return {"attention": _pairs(spans)}, warnings
        chunks = self._cut(spans)
        told = {"token_count": chunks.token_count, "chunks": self._chunks(chunks)}
        return told, [*warnings, *chunks.warnings]

    def _tools(self) -> tuple[Counter, Vocabulary]:
        """The tokenizer, read where it is first needed."""
        if self._known is None:
            counter = counter_at_hand(default_assets())
            self._known = (counter, vocabulary(counter.tokenize, self._embeddings))
            print(f"Tokens are counted by {counter.name} tokenizer.", file=sys.stderr)
        return self._known

    def _counter(self) -> Counter:
        return self._tools()[0]

    def _cut(self, spans: Sequence[Span]) -> Chunks:
        return cut_chunks(spans, self._tools()[1], backtrack=self._backtrack)

    def _chunks(self, chunks: Chunks) -> list[dict[str, Any]]:
        """Chunks without padding; the vectors of an embedding have weights and no text."""
        say = self._counter().say
        return [
            {
                "tokens_used": len(chunk.tokens),
                "text": say(_words_of(chunk.tokens, chunk.embeddings)),
                "weights": sorted({token.weight for token in chunk.tokens}),
                "embeddings": [[at, embedding.name] for at, embedding in chunk.embeddings],
            }
            for chunk in chunks.chunks
        ]


def _words_of(tokens: Sequence[Any], embeddings: Sequence[tuple[int, Embedding]]) -> list[int]:
    """The tokens that are none of an embedding's vectors."""
    vectors = {place for at, embedding in embeddings for place in range(at, at + embedding.vectors)}
    return [token.id for place, token in enumerate(tokens) if place not in vectors]


def _pairs(spans: Sequence[Span]) -> list[list[Any]]:
    return [["BREAK", -1] if span.is_break else [span.text, span.weight] for span in spans]


def _loras(loras: Sequence[LoraTag]) -> list[dict[str, Any]]:
    return [{"name": tag.name, "te": tag.te, "unet": tag.unet, "dyn": tag.dyn} for tag in loras]


def _embedding(given: str) -> Embedding:
    """NAME=VECTORS, split at the last sign."""
    name, sign, vectors = given.rpartition("=")
    if not (sign and name and vectors.isascii() and vectors.isdigit() and int(vectors) > 0):
        raise InvalidInput(
            f"--embedding was given as {given!r}; it must be NAME=VECTORS with a number from 1, like bad=6.",
            code="prompt_embedding",
            given=given,
        )
    return Embedding(name, int(vectors))


def _check(flag: str, given: str | None, allowed: Sequence[str]) -> None:
    if given is not None and given not in allowed:
        raise InvalidInput(
            f"{flag} was given as {given!r}; allowed are {', '.join(allowed)}; choose one of these.",
            code="option_choice",
            field=flag,
            given=given,
            allowed=", ".join(allowed),
        )


def _standard_input() -> str:
    """The text as it is, line breaks included."""
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        byte = f"{data[problem.start]:#04x}"
        raise InvalidInput(
            f"Standard input has the byte {byte} at {problem.start}, which is no UTF-8; give UTF-8 text.",
            code="prompt_not_utf8",
            given=byte,
        ) from None
