"""Texts to embeddings by one CLIP text encoder: chunks, embeddings' vectors, clip skip, emphasis.

Each chunk is encoded alone with its begin and end tokens, the chunks of a text stand one behind the other, and the
pooled vector is the first chunk's, untouched by weights (AUTOMATIC1111 stable-diffusion-webui v1.10.1,
modules/sd_hijack_clip.py). Clip skip n reads the output of the n-th layer from the end through the final layer norm,
as A1111 does; it is read from transformers' hidden states, because diffusers' own clip skip fails on transformers 5.6
and later (diffusers issue 14124). Stable Diffusion XL reads the layer before the last as it is, without that norm
(Podell et al. 2023, arXiv 2307.01952, section 2.1): `Reading` says so. Equal chunks under equal mixes are encoded once.

It does not know the prompt language: whoever asks has cut the text into chunks (`lora_studio.prompt.chunks`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.pipeline.calls import Mix, Turn, Weight
from lora_studio.pipeline.conditioning import TextCondition, WantedText
from lora_studio.pipeline.device import Precision
from lora_studio.pipeline.emphasis import blended, from_empty, multiplied, share_of_hidden
from lora_studio.pipeline.slots import AdapterSlots
from lora_studio.prompt.chunks import CHUNK, Chunk

TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
"""What the text encoders of a base are called among its components."""

_ROWS_AT_ONCE = 32


@dataclass(frozen=True)
class _Row:
    """One chunk as the encoder takes it; equal rows have equal outputs.

    Attributes:
        ids: (77,) tokens with begin, end and padding.
        vectors: (place of the first vector, sha256) of each embedding; places count from the begin token, 0.
        hidden: places that attention must not see.
        clip_skip: layer to read, from the end.
        mix: key and weight of each adapter that changes the text encoder.
        learning: gradients flow to its vectors.
    """

    ids: tuple[int, ...]
    vectors: tuple[tuple[int, str], ...]
    hidden: tuple[int, ...]
    clip_skip: int
    mix: tuple[tuple[str, Weight], ...]
    learning: bool = False


@dataclass(frozen=True, eq=False)
class _Part:
    """One chunk of a text: its row, its weights (77,), and for compel the rows with a span hidden and their t."""

    row: _Row
    weights: tuple[float, ...]
    hidden: tuple[tuple[float, _Row], ...] = ()


@dataclass(frozen=True, eq=False)
class _Plan:
    """One text: its parts, and the empty chunk where the emphasis wants it."""

    wanted: WantedText
    parts: tuple[_Part, ...]
    empty: _Row | None
    share: float
    """compel's sum of t over all spans below 1."""

    def rows(self) -> Iterator[_Row]:
        """All rows, those that the text itself has first."""
        yield from (part.row for part in self.parts)
        if self.empty is not None:
            yield self.empty
        yield from (row for part in self.parts for _, row in part.hidden)


@dataclass(frozen=True)
class Reading:
    """How a family reads a text encoder.

    Attributes:
        component: its name among the base's components, which adapters address it by.
        last: the smallest clip skip that it reads: 1 is the last layer, 2 the one before it.
        normed: whether the layer is read through the final layer norm.
    """

    component: str = "text_encoder"
    last: int = 1
    normed: bool = True


class ClipEncoder:
    """One CLIP text encoder with its tokenizer.

    Attributes:
        layers: how many layers it has, the largest clip skip.
        width: of its embeddings.
        key: name of its vectors in a `TextEmbedding`, clip_l or clip_g.
    """

    def __init__(
        self,
        text_encoder: CLIPTextModel | CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        slots: AdapterSlots,
        precision: Precision,
        key: str,
        reading: Reading | None = None,
    ) -> None:
        """The tokenizer gives begin, end and padding; the slots act while texts are encoded."""
        self.layers = int(text_encoder.config.num_hidden_layers)
        self.width = int(text_encoder.config.hidden_size)
        self.key = key
        self._model = text_encoder
        self._reading = reading or Reading()
        self._slots = slots
        self._precision = precision
        self._begin, self._end, self._pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        self._vectors = TokenVectors(text_encoder.get_input_embeddings())

    def encode(self, texts: Sequence[WantedText]) -> Generator[Turn, None, list[TextCondition]]:
        """The conditions of `texts`, in order; one call of the encoder per turn, each different row encoded once."""
        plans = [self._plan(text) for text in texts]
        mixes: dict[tuple[tuple[str, Weight], ...], Mix] = {}
        embeddings: dict[str, TextEmbedding] = {}
        for text in texts:
            mixes.setdefault(mix_key(text.mix, self._reading.component), text.mix)
            embeddings |= {embedding.sha256: embedding for embedding in text.embeddings.values()}
        rows = list(dict.fromkeys(row for plan in plans for row in plan.rows()))
        done: dict[_Row, tuple[Tensor, Tensor]] = {}
        for kind in dict.fromkeys((row.clip_skip, row.learning) for row in rows):
            alike = [row for row in rows if (row.clip_skip, row.learning) == kind]
            for start in range(0, len(alike), _ROWS_AT_ONCE):
                part = alike[start : start + _ROWS_AT_ONCE]
                done |= zip(part, self._call(part, [mixes[row.mix] for row in part], embeddings), strict=True)
                yield Turn()
        return [_compose(plan, done) for plan in plans]

    def _plan(self, text: WantedText) -> _Plan:
        """The rows that a text needs."""
        mix = mix_key(text.mix, self._reading.component)
        weighted = any(token.weight != 1 for chunk in text.chunks for token in chunk.tokens)
        parts = [self._part(chunk, text, mix) for chunk in text.chunks]
        share = 0.0
        if weighted and text.emphasis == "compel":
            shares = {t.span: share_of_hidden(t.weight) for c in text.chunks for t in c.tokens if t.weight < 1}
            share = sum(shares.values())
            parts = [_hide(part, chunk, shares) for part, chunk in zip(parts, text.chunks, strict=True)]
        wants_empty = weighted and text.emphasis in ("comfy", "compel")
        empty = self._part(Chunk((), ()), text, mix).row if wants_empty else None
        return _Plan(text, tuple(parts), empty, share)

    def _part(self, chunk: Chunk, text: WantedText, mix: tuple[tuple[str, Weight], ...]) -> _Part:
        """A chunk with begin, end and padding."""
        spare = CHUNK - len(chunk.tokens)
        ids = (self._begin, *(token.id for token in chunk.tokens), self._end, *[self._pad] * spare)
        vectors = tuple((at + 1, text.embeddings[embedding.name].sha256) for at, embedding in chunk.embeddings)
        weights = (1.0, *(token.weight for token in chunk.tokens), *[1.0] * (spare + 1))
        return _Part(_Row(ids, vectors, (), max(text.clip_skip, self._reading.last), mix, text.learning), weights)

    def encode_ids(self, ids: Tensor, mixes: Sequence[Mix]) -> tuple[Tensor, Tensor]:
        """Embeddings (rows, length, width) and pooled vectors (rows, pooled width), float32, of tokens as they stand.

        Args:
            ids: (rows, length) int64 with begin, end and padding.
            mixes: the adapters of each row.
        """
        with self._precision.inference(), self._slots.active(mixes):
            return self._read(self._reading.last, {"input_ids": ids.to(self._model.device)})

    def _call(
        self, rows: Sequence[_Row], mixes: Sequence[Mix], embeddings: Mapping[str, TextEmbedding]
    ) -> list[tuple[Tensor, Tensor]]:
        """One call of the encoder for rows of one kind: (77, width) and the pooled (width,) of each, float32."""
        device, skip = self._model.device, rows[0].clip_skip
        arguments: dict[str, Any] = {"input_ids": torch.tensor([row.ids for row in rows], device=device)}
        if any(row.hidden for row in rows):
            mask = torch.ones_like(arguments["input_ids"])
            for number, row in enumerate(rows):
                mask[number, list(row.hidden)] = 0
            arguments["attention_mask"] = mask
        placed = [[(at, embeddings[sha256].vectors[self.key]) for at, sha256 in row.vectors] for row in rows]
        context = self._precision.training() if rows[0].learning else self._precision.inference()
        with context, self._slots.active(mixes), self._vectors.placed(placed):
            hidden, pooled = self._read(skip, arguments)
        return list(zip(hidden, pooled, strict=True))

    def _read(self, skip: int, arguments: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """One call of the model: the layer `skip` from its end, and the pooled vectors; float32."""
        last = skip == 1 and self._reading.normed
        out = self._model(**arguments) if last else self._model(**arguments, output_hidden_states=True)
        hidden: Tensor = out.last_hidden_state if last else out.hidden_states[-skip]
        if self._reading.normed and not last:
            hidden = getattr(self._model, "text_model", self._model).final_layer_norm(hidden)
        # A model with a projection pools into `text_embeds`.
        pooled: Tensor = out.text_embeds if "text_embeds" in out else out.pooler_output
        return hidden.float(), pooled.float()


class TokenVectors:
    """Puts vectors in the place of token embeddings; its hook is installed once and does nothing without vectors."""

    def __init__(self, module: nn.Module) -> None:
        """`module` is the text encoder's token embedding, ids (rows, length) to (rows, length, width)."""
        self._placed: Sequence[Sequence[tuple[int, Tensor]]] = ()
        module.register_forward_hook(self._put)

    @contextmanager
    def placed(self, rows: Sequence[Sequence[tuple[int, Tensor]]]) -> Iterator[None]:
        """Within the context, each row's (place of the first, vectors (n, width)) stand instead of its tokens."""
        self._placed = rows if any(rows) else ()
        try:
            yield
        finally:
            self._placed = ()

    def _put(self, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        if not self._placed:
            return None
        output = output.clone()
        for number, row in enumerate(self._placed):
            for at, vectors in row:
                output[number, at : at + len(vectors)] = vectors.to(output)
        return output


def mix_key(mix: Mix, *components: str) -> tuple[tuple[str, Weight], ...]:
    """What decides how a mix changes text encoders (all of them where none is named); equal keys read texts alike."""
    named = components or TEXT_ENCODERS
    return tuple((adapter.identity, weight) for adapter, weight in mix if weight and any(map(adapter.touches, named)))


def _hide(part: _Part, chunk: Chunk, shares: Mapping[int, float]) -> _Part:
    """The part with a row for each of its spans below 1, that span hidden."""
    places: dict[int, list[int]] = {}
    for at, token in enumerate(chunk.tokens):
        if token.span in shares:
            places.setdefault(token.span, []).append(at + 1)
    hidden = [(shares[span], replace(part.row, hidden=tuple(where))) for span, where in places.items()]
    return replace(part, hidden=tuple(hidden))


def _compose(plan: _Plan, done: Mapping[_Row, tuple[Tensor, Tensor]]) -> TextCondition:
    """The condition of a text from its encoded rows."""
    chunks = [_emphasized(plan, part, done) for part in plan.parts]
    pooled = done[plan.parts[0].row][1]
    return TextCondition(chunks[0] if len(chunks) == 1 else torch.cat(chunks), pooled=pooled)


def _emphasized(plan: _Plan, part: _Part, done: Mapping[_Row, tuple[Tensor, Tensor]]) -> Tensor:
    """One chunk (77, width) with its weights."""
    z = done[part.row][0]
    mode = plan.wanted.emphasis
    if all(weight == 1 for weight in part.weights):
        return z
    weights = torch.tensor(part.weights, device=z.device)
    if plan.empty is None:
        return multiplied(z, weights, restore_mean=mode == "original")
    empty = done[plan.empty][0]
    whole = from_empty(z, weights, empty)
    if mode == "comfy":
        return whole
    hidden = [(share, from_empty(done[row][0], weights, empty)) for share, row in part.hidden]
    return blended(whole, hidden, plan.share)
