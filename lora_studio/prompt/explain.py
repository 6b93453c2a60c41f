"""What was understood of a prompt, as plain JSON values for a page or a terminal.

One `explain` for one text. Its answer, places being [first, behind the last] character of what was typed, or None for
what a style brought:

    text        after styles, comments and tags
    styles      [{name, known}] those chosen
    comments    [place]
    tags        [{text, place, kind, name, te, unet, adapter}]; te and unet None where the tag is not applied,
                `adapter` the key of the one that it names, or None
    parts       of AND: [{weight, changes: [{kind, place, step}], timeline: [{first, last, text}], texts, more_texts}];
                `text` counts in `texts`, whose entries are
                {text, spans: [{text, weight, place}], token_count, chunks: [{count, size, tokens}]},
                a token is {text, weight, place}, one of an embedding {..., embedding, vectors}
    more_parts  how many parts were left out
    embeddings  [name], installed ones that are named
    warnings    [{code, values, place}] (`lora_studio.prompt.notices`)

Without a tokenizer `token_count` and `chunks` are None and embeddings are looked for as plain text. Schedules that
alternate make as many texts as there are turns: only the first ones are told in full, and of very many the last are not
searched for names of embeddings (`CUT`).

It does not know where adapters, embeddings and styles come from, nor what a sentence is in any language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lora_studio.prompt.attention import Span
from lora_studio.prompt.chunks import BACKTRACK, CHUNK, Chunk, Chunks, Embedding, Tokenize, Vocabulary, vocabulary
from lora_studio.prompt.chunks import cut_chunks as cut
from lora_studio.prompt.embedding_names import find_unknown_embeddings, find_words
from lora_studio.prompt.language import ParsedPrompt, Part, parse
from lora_studio.prompt.names import Names
from lora_studio.prompt.notices import PromptWarning, gather, quote, warning
from lora_studio.prompt.schedules import Counting
from lora_studio.prompt.source import Place, SourceText
from lora_studio.prompt.styles import Style, choose_styles
from lora_studio.prompt.tags import LORA_KINDS, LoraTag, Tag

TEXTS = 12
"""Texts of one schedule that are told in full."""

PARTS = 24
"""Parts of an AND that are told."""

CUT = 100_000
"""Characters of one schedule's further texts that are cut into tokens too, for the embeddings they name."""


@dataclass(frozen=True)
class Known:
    """What there is to be named, and the tokenizer of the base (None while there is none).

    `misfits` are names of embeddings that are installed and do not fit the base.
    """

    tokenize: Tokenize | None = None
    embeddings: tuple[Embedding, ...] = ()
    adapters: Names = field(default_factory=Names)
    styles: tuple[Style, ...] = ()
    misfits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """How texts are read: schedules counted in what, which styles around them, whose brackets, commas how far back."""

    counting: Counting
    styles: tuple[str, ...] = ()
    reading: str = "a1111"
    backtrack: int = BACKTRACK


def explain(text: str, known: Known, how: Reading, *, negative: bool = False) -> dict[str, Any]:
    """See the module's docstring; never raises on any text."""
    styles, warnings = choose_styles(known.styles, how.styles)
    parsed = parse(text, how.counting, negative=negative, styles=styles, reading=how.reading)
    found = list(warnings) if not negative else []  # one list of styles serves both texts: say it once
    found += parsed.warnings
    found += [warn for tag in parsed.loras if (warn := unknown_tag(tag, known.adapters))]
    words = vocabulary(known.tokenize, known.embeddings) if known.tokenize else None
    used: dict[str, None] = {}
    parts = [_part(part, words, how.backtrack, used, found) for part in parsed.parts[:PARTS]]
    if words is None:
        used |= dict.fromkeys(e.name for e in embeddings_in_text(parsed, known.embeddings))
    found += name_warnings(parsed.words, [embedding.name for embedding in known.embeddings], known.misfits)
    there = {style.name for style in known.styles}
    return {
        "text": parsed.text,
        "styles": [{"name": name, "known": name in there} for name in how.styles],
        "comments": [_place(place) for place in parsed.comments],
        "tags": _tags(parsed, known.adapters),
        "parts": parts,
        "more_parts": max(0, len(parsed.parts) - PARTS),
        "embeddings": list(used),
        "warnings": [warning_json(warn) for warn in gather(found)],
    }


def unknown_tag(lora: LoraTag, adapters: Names) -> PromptWarning | None:
    """What to say of a `<lora:...>` that names no adapter, or several; None where it names one."""
    found, every = adapters.find_all(lora.name)
    if len(every) == 1:
        return None
    text = lora.text
    if every:
        rest = ", ".join(one.name for one in every if one is not found)
        if found is None:
            return warning("adapter_several", lora.place, tag=quote(text), name=quote(lora.name), near=quote(rest))
        return warning("adapter_also", lora.place, tag=quote(text), name=quote(found.name), near=quote(rest))
    near = ", ".join(adapters.near(lora.name))
    if near:
        return warning("adapter_not_found_near", lora.place, tag=quote(text), name=quote(lora.name), near=near)
    return warning("adapter_not_found", lora.place, tag=quote(text), name=quote(lora.name))


def name_warnings(words: SourceText, installed: Sequence[str], misfits: Sequence[str]) -> list[PromptWarning]:
    """What to say of names of embeddings that are read as ordinary words."""
    unfit = [warning("embedding_misfit", place, name=name) for name, place in find_words(words, misfits)]
    missing = find_unknown_embeddings(words, [*installed, *misfits])
    return unfit + [warning("embedding_not_installed", place, name=name) for name, place in missing]


def embeddings_in_text(parsed: ParsedPrompt, embeddings: Sequence[Embedding]) -> list[Embedding]:
    """Those whose name stands anywhere in the text, in any case and with any blanks: what can be said without tokens.

    A tokenizer finds a part of these: it wants the name to begin at a token.
    """
    text = "".join(parsed.text.casefold().split())
    return [one for one in embeddings if one.name.strip() and "".join(one.name.casefold().split()) in text]


def warning_json(warn: PromptWarning) -> dict[str, Any]:
    """A warning as plain values."""
    return {"code": warn.code, "values": dict(warn.values), "place": _place(warn.position)}


def _place(place: Place | None) -> list[int] | None:
    return None if place is None else [place.start, place.end]


def _tags(parsed: ParsedPrompt, adapters: Names) -> list[dict[str, Any]]:
    """Every tag; the applied `<lora:...>` ones stand in `parsed.loras` in the same order."""
    loras = list(parsed.loras)
    told = []
    for tag in parsed.tags:
        lora = loras.pop(0) if loras and _is_of(loras[0], tag) else None
        named = None if lora is None else adapters.find(lora.name)
        told.append(
            {
                "text": tag.text,
                "place": _place(tag.place),
                "kind": tag.kind,
                "name": lora.name if lora else tag.items[0],
                "te": None if lora is None else lora.te,
                "unet": None if lora is None else lora.unet,
                "adapter": None if named is None else named.key,
            }
        )
    return told


def _is_of(lora: LoraTag, tag: Tag) -> bool:
    """True where the adapter's tag is this one; those of styles have no place, so their texts decide."""
    return tag.kind in LORA_KINDS and lora.place == tag.place and lora.text == tag.text


def _part(
    part: Part, words: Vocabulary | None, backtrack: int, used: dict[str, None], warnings: list[PromptWarning]
) -> dict[str, Any]:
    """One part of an AND; `used` gains the names of embeddings and `warnings` what chunks have to say."""
    numbers: dict[str, int] = {}
    texts: list[dict[str, Any]] = []
    timeline: list[dict[str, int | None]] = []
    first, read = 1, 0
    for segment in part.segments:
        if segment.text not in numbers:
            numbers[segment.text] = len(numbers)
            many = len(texts) >= TEXTS and read > CUT
            chunks = None if words is None or many else cut(segment.spans, words, backtrack=backtrack)
            read += len(segment.text)
            if chunks is not None:
                warnings += chunks.warnings
                used |= dict.fromkeys(e.name for chunk in chunks.chunks for _, e in chunk.embeddings)
            if len(texts) < TEXTS:
                texts.append(_text(segment.words, segment.spans, chunks))
        number = numbers[segment.text]
        told = number if number < TEXTS else None
        if timeline and timeline[-1]["text"] == told:
            timeline[-1]["last"] = segment.last_step
        else:
            timeline.append({"first": first, "last": segment.last_step, "text": told})
        first = segment.last_step + 1
    changes = [{"kind": change.kind, "place": _place(change.place), "step": change.step} for change in part.changes]
    return {
        "weight": part.weight,
        "changes": changes,
        "timeline": timeline,
        "texts": texts,
        "more_texts": max(0, len(numbers) - TEXTS),
    }


def _text(words: SourceText, spans: Sequence[Span], chunks: Chunks | None) -> dict[str, Any]:
    """One text with its weights and, where there are tokens, its chunks."""
    return {
        "text": words.text,
        "spans": [
            {"text": span.text, "weight": span.weight, "place": _place(span.words.place())}
            for span in spans
            if not span.is_break
        ],
        "token_count": None if chunks is None else chunks.token_count,
        "chunks": None if chunks is None else [_chunk(chunk) for chunk in chunks.chunks],
    }


def _chunk(chunk: Chunk) -> dict[str, Any]:
    """One chunk; the vectors of an embedding are one token here, and so are the bytes of one character."""
    starts = dict(chunk.embeddings)
    tokens: list[dict[str, Any]] = []
    number = 0
    while number < len(chunk.tokens):
        token = chunk.tokens[number]
        embedding = starts.get(number)
        if embedding is None and not token.text and tokens and tokens[-1]["place"] == _place(token.place):
            number += 1
            continue
        told: dict[str, Any] = {"text": token.text, "weight": token.weight, "place": _place(token.place)}
        if embedding is not None:
            told |= {"embedding": embedding.name, "vectors": embedding.vectors}
        tokens.append(told)
        number += 1 if embedding is None else embedding.vectors
    return {"count": len(chunk.tokens), "size": CHUNK, "tokens": tokens}
