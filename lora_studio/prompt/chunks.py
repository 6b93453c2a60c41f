"""Tokens in chunks of 75, as the text encoder takes them.

The cutting of AUTOMATIC1111 stable-diffusion-webui v1.10.1 (`tokenize_line`,
https://github.com/AUTOMATIC1111/stable-diffusion-webui/blob/v1.10.1/modules/sd_hijack_clip.py): each span is tokenized
alone; BREAK fills its chunk up; where a chunk is full and its last comma is at most `backtrack` tokens back, what
follows the comma moves to the next chunk; an embedding of several vectors begins a new chunk where it does not fit.
Embeddings are found by their name's tokens, the longest name first, so capitals do not matter
(modules/textual_inversion/textual_inversion.py, `find_embedding_at_position`).

Different on purpose: when A1111 moves tokens behind a comma, it leaves the embeddings among them behind, so that their
vectors stand in the padding and their places hold the token 0; here they move along. An embedding of more vectors than
a chunk holds is read as words, where A1111 fails.

It does not know a tokenizer (one is handed in) nor the tokens for begin, end and padding, which are the encoder's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lora_studio.prompt.attention import Span
from lora_studio.prompt.notices import PromptWarning, warning
from lora_studio.prompt.source import Place

CHUNK = 75
"""Tokens of a chunk, begin and end left out."""

BACKTRACK = 20
"""A1111's default distance to the last comma; 0 turns the rule off."""


class Token(NamedTuple):
    """A token and the characters `start` to `end` of the text that it was made of."""

    id: int
    start: int
    end: int


Tokenize = Callable[[str], Sequence[Token]]
"""A tokenizer without begin, end and padding; an empty text has no tokens."""


@dataclass(frozen=True)
class Embedding:
    """A textual-inversion embedding that prompts may name."""

    name: str
    vectors: int


@dataclass(frozen=True)
class Vocabulary:
    """What the cutting needs to know of a tokenizer and the embeddings.

    Attributes:
        tokenize: the tokenizer.
        comma: the token of a comma that ends a word, or None if there is none.
        embeddings: by the first token of the name: (tokens of the name, embedding), the longest first.
    """

    tokenize: Tokenize
    comma: int | None
    embeddings: Mapping[int, tuple[tuple[tuple[int, ...], Embedding], ...]]


@dataclass(frozen=True)
class ChunkToken:
    """A token of a chunk; a vector of an embedding has id 0. `place` is None where it was not typed.

    `span` is the number of the span it comes from; `text` is what it was made of, blanks before it included, for
    showing: it decides nothing.
    """

    id: int
    weight: float
    place: Place | None
    span: int = field(default=0, compare=False)
    text: str = field(default="", compare=False)


@dataclass(frozen=True)
class Chunk:
    """Up to 75 tokens without padding, and the embeddings by the place of their first vector (0 to 74)."""

    tokens: tuple[ChunkToken, ...]
    embeddings: tuple[tuple[int, Embedding], ...]


@dataclass(frozen=True)
class Chunks:
    """The whole text: at least one chunk, and the count as A1111's counter shows it (padding between chunks counts)."""

    chunks: tuple[Chunk, ...]
    token_count: int
    warnings: tuple[PromptWarning, ...]


def vocabulary(tokenize: Tokenize, embeddings: Sequence[Embedding] = ()) -> Vocabulary:
    """Look up the comma's token and the tokens of each name; a name without tokens can never be found."""
    comma = [token.id for token in tokenize(",")]
    found: dict[int, list[tuple[tuple[int, ...], Embedding]]] = {}
    for embedding in embeddings:
        ids = tuple(token.id for token in tokenize(embedding.name))
        if ids:
            found.setdefault(ids[0], []).append((ids, embedding))
    longest_first = {first: tuple(sorted(names, key=lambda n: -len(n[0]))) for first, names in found.items()}
    return Vocabulary(tokenize, comma[0] if len(comma) == 1 else None, longest_first)


class _Cutter:
    """The chunk that is being filled, and those that are full."""

    def __init__(self, backtrack: int) -> None:
        self.backtrack = backtrack
        self.full: list[Chunk] = []
        self.tokens: list[ChunkToken] = []
        self.embeddings: list[tuple[int, Embedding]] = []
        self.comma = -1
        self.count = 0

    def next(self, keep: int | None = None, *, last: bool = False) -> None:
        """Close the chunk; what stands behind its first `keep` tokens begins the next one."""
        keep = len(self.tokens) if keep is None else keep
        self.count += keep if last else CHUNK
        kept = tuple(item for item in self.embeddings if item[0] < keep)
        self.full.append(Chunk(tuple(self.tokens[:keep]), kept))
        self.tokens = self.tokens[keep:]
        self.embeddings = [(at - keep, embedding) for at, embedding in self.embeddings if at >= keep]
        self.comma = -1

    def make_room(self, is_comma: bool) -> None:
        """Before a token: remember a comma's place; close a full chunk, at its last comma if that is near."""
        length = len(self.tokens)
        if is_comma:
            self.comma = length
        elif length == CHUNK and self.backtrack and self.comma >= 0 and length - self.comma <= self.backtrack:
            self.next(self.comma + 1)
        if len(self.tokens) == CHUNK:
            self.next()

    def add(self, embedding: Embedding | None, token: ChunkToken) -> None:
        """One token, or an embedding with `token` for each of its vectors."""
        if embedding is None:
            self.tokens.append(token)
            return
        if len(self.tokens) + embedding.vectors > CHUNK:
            self.next()
        self.embeddings.append((len(self.tokens), embedding))
        self.tokens += [token] * embedding.vectors


def cut_chunks(spans: Sequence[Span], known: Vocabulary, *, backtrack: int = BACKTRACK) -> Chunks:
    """Cut the spans of one text into chunks; time linear in the number of tokens and vectors."""
    cutter = _Cutter(backtrack)
    warnings: list[PromptWarning] = []
    before = ""  # what the span before left behind its last token: blanks
    for number, span in enumerate(spans):
        if span.is_break:
            cutter.next()
            continue
        tokens = known.tokenize(span.text)
        ids = tuple(token.id for token in tokens)
        position = shown = 0
        while position < len(tokens):
            cutter.make_room(ids[position] == known.comma)
            embedding, length = _embedding_at(ids, position, known)
            place = span.words.place(tokens[position].start, tokens[position + length - 1].end)
            if embedding is not None and embedding.vectors > CHUNK:
                name, vectors = embedding.name, embedding.vectors
                warnings.append(warning("embedding_too_long", place, name=name, vectors=vectors, allowed=CHUNK))
                embedding, length = None, 1
                place = span.words.place(tokens[position].start, tokens[position].end)
            id_ = ids[position] if embedding is None else 0
            text = before + span.text[shown : max(shown, tokens[position + length - 1].end)]
            before, shown = "", shown + len(text) - len(before)
            cutter.add(embedding, ChunkToken(id_, span.weight, place, number, text))
            position += length
        before += span.text[shown:]
    if cutter.tokens or not cutter.full:
        cutter.next(last=True)
    return Chunks(tuple(cutter.full), cutter.count, tuple(warnings))


def _embedding_at(ids: tuple[int, ...], position: int, known: Vocabulary) -> tuple[Embedding | None, int]:
    """The embedding whose name stands at a token, and how many tokens that is; None and 1 if there is none."""
    for name, embedding in known.embeddings.get(ids[position], ()):
        if ids[position : position + len(name)] == name:
            return embedding, len(name)
    return None, 1
