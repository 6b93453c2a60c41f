"""`lora_studio.prompt.chunks`: 75 tokens, commas, BREAK and embeddings, with a tokenizer of words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.prompt.attention import parse_attention
from lora_studio.prompt.chunks import CHUNK, Chunks, Embedding, Token, Vocabulary, cut_chunks, vocabulary
from lora_studio.prompt.source import SourceText

CASES = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
EMBEDDINGS = [Embedding(name, vectors) for name, vectors in CASES["demonstration"]["embeddings"].items()]


class Words:
    """A tokenizer: each word or sign in small letters is a token, numbered as they come."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def __call__(self, text: str) -> list[Token]:
        found = re.finditer(r"\w+|[^\w\s]", text)
        return [Token(self.ids.setdefault(m.group().lower(), len(self.ids) + 1), *m.span()) for m in found]

    def say(self, ids: Sequence[int]) -> str:
        """The words of these tokens."""
        names = {number: name for name, number in self.ids.items()}
        return " ".join(names[number] for number in ids)


def cut(text: str, known: Vocabulary, backtrack: int = 20) -> Chunks:
    """The chunks of a prompt without schedules."""
    return cut_chunks(parse_attention(SourceText.typed(text))[0], known, backtrack=backtrack)


@pytest.mark.parametrize("case", CASES["chunks"], ids=lambda case: case["text"][:40])
def test_measured_cases(case: dict[str, Any]) -> None:
    words = Words()
    found = cut(case["text"], vocabulary(words, EMBEDDINGS), case["backtrack"])
    assert found.token_count == case["token_count"]
    assert [
        {
            "tokens_used": len(chunk.tokens),
            "text": words.say([token.id for token in chunk.tokens if token.id]),
            "weights": sorted({token.weight for token in chunk.tokens}),
            "embeddings": [[at, embedding.name] for at, embedding in chunk.embeddings],
        }
        for chunk in found.chunks
    ] == case["chunks"]


def sizes(text: str, backtrack: int = 20) -> list[int]:
    """Tokens of each chunk."""
    return [len(chunk.tokens) for chunk in cut(text, vocabulary(Words()), backtrack).chunks]


def test_the_comma_rule() -> None:
    assert sizes("cat " * 55 + "," + " dog" * 30) == [56, 30]
    assert sizes("cat " * 54 + "," + " dog" * 30) == [75, 10]
    assert sizes("cat " * 55 + "," + " dog" * 30, backtrack=0) == [75, 11]
    assert sizes("cat " * 30 + "," + " dog" * 60, backtrack=74) == [31, 60]
    assert sizes("cat " * 75 + ", dog") == [75, 2], "a comma itself does not move"


def test_breaks() -> None:
    assert sizes("a BREAK b BREAK") == [1, 1]
    assert sizes("(a BREAK b:1.2)") == [3], "a weighted BREAK is a word"
    assert cut("a BREAK b", vocabulary(Words())).token_count == 76


def test_an_embedding_is_found_by_its_name_in_any_case_the_longest_first() -> None:
    known = vocabulary(Words(), [Embedding("bad", 2), Embedding("bad hands", 3), Embedding("", 9)])
    found = cut("BAD, Bad Hands, handsome", known)
    assert [(at, e.name) for at, e in found.chunks[0].embeddings] == [(0, "bad"), (3, "bad hands")]
    assert [token.id == 0 for token in found.chunks[0].tokens] == [True] * 2 + [False] + [True] * 3 + [False] * 2


def test_an_embedding_never_straddles_chunks() -> None:
    known = vocabulary(Words(), EMBEDDINGS)
    found = cut("cat " * 60 + "EasyNegativeV2 dog", known)
    assert [len(chunk.tokens) for chunk in found.chunks] == [60, 17]
    assert [chunk.embeddings for chunk in found.chunks] == [(), ((0, EMBEDDINGS[0]),)]


def test_an_embedding_behind_the_comma_moves_with_its_vectors() -> None:
    """A1111 moves the six places and leaves the vectors behind, in the padding of the chunk before."""
    known = vocabulary(Words(), EMBEDDINGS)
    found = cut("cat " * 60 + ", badhandv4" + " dog" * 12, known)
    assert [len(chunk.tokens) for chunk in found.chunks] == [61, 18]
    assert [[at for at, _ in chunk.embeddings] for chunk in found.chunks] == [[], [0]]


def test_an_embedding_too_long_for_a_chunk_is_words() -> None:
    found = cut("a huge thing", vocabulary(Words(), [Embedding("huge", 76)]))
    assert [len(chunk.tokens) for chunk in found.chunks] == [3]
    assert [(w.code, w.values["vectors"], w.values["allowed"]) for w in found.warnings] == [
        ("embedding_too_long", 76, 75)
    ]


def test_tokens_know_their_weight_and_place() -> None:
    text = "a (red \\(hair\\):1.3)"
    tokens = cut(text, vocabulary(Words())).chunks[0].tokens
    places = [token.place for token in tokens]
    assert [text[p.start : p.end] for p in places if p] == ["a", "red", "(", "hair", ")"]
    assert [token.weight for token in tokens] == [1.0, 1.3, 1.3, 1.3, 1.3]


def test_the_demonstration() -> None:
    known = vocabulary(Words(), EMBEDDINGS)
    negative = cut(CASES["demonstration"]["negative_prompt"], known)
    assert len(negative.chunks) == 3
    assert [e.name for chunk in negative.chunks for _, e in chunk.embeddings] == [e.name for e in EMBEDDINGS]
    assert negative.warnings == ()


PROMPTS = st.lists(
    st.sampled_from(
        ["cat", ", ", ",", " BREAK ", "(a, b:1.2)", "EasyNegativeV2", "ng_deepnegative_v1_75t", "badhandv4", "w " * 30]
    ),
    max_size=25,
).map(" ".join)


@given(PROMPTS, st.integers(0, 74))
def test_nothing_is_lost_and_nothing_straddles(text: str, backtrack: int) -> None:
    words = Words()
    known = vocabulary(words, EMBEDDINGS)
    spans = parse_attention(SourceText.typed(text))[0]
    found = cut_chunks(spans, known, backtrack=backtrack)
    names = {words(e.name)[0].id: e for e in EMBEDDINGS}
    expected = [
        (0 if token.id in names else token.id, span.weight)
        for span in spans
        if not span.is_break
        for token in words(span.text)
        for _ in range(names[token.id].vectors if token.id in names else 1)
    ]
    assert [(token.id, token.weight) for chunk in found.chunks for token in chunk.tokens] == expected
    for chunk in found.chunks:
        assert len(chunk.tokens) <= CHUNK
        covered = [at + number for at, embedding in chunk.embeddings for number in range(embedding.vectors)]
        assert covered == [number for number, token in enumerate(chunk.tokens) if token.id == 0]
    full = found.token_count == CHUNK * len(found.chunks)
    assert full or found.token_count == CHUNK * (len(found.chunks) - 1) + len(found.chunks[-1].tokens)
