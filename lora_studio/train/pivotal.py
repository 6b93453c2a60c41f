"""Pivotal tuning: a new word that learns together with the LoRA.

The word is a textual-inversion embedding: n vectors that stand among the token vectors of each caption that holds its
name. Captions without the name are encoded once, as in every training; those with it are encoded anew at each step,
by the very code that reads prompts, with gradients to the vectors alone. The text encoder's weights do not change.

After each step the spread (standard deviation) of the vectors is pulled back towards that of the base's own words, by
a power of their ratio: vectors that grow out of the table's range read well alone and drown the words beside them.
Once `embedding_share` of the steps are made the word stays as it is, and its captions too are encoded once.

It does not know the UNet, the LoRA or the loss: whoever makes a step calls `begin`, then its own backward, then
`step`.

Sources: Gal et al. 2022, arXiv 2208.01618 (the embedding); Roich et al. 2021, arXiv 2106.05744 (pivotal tuning);
replicate/cog-sdxl, dataset_and_utils.py, and diffusers, examples/advanced_diffusion_training (the power 0.1 of the
ratio of spreads; the share of the steps); AUTOMATIC1111 stable-diffusion-webui v1.10.1,
modules/textual_inversion/textual_inversion.py, `create_embedding` (which of the first words start which vectors).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lora_studio.adapters.embedding import LARGEST_VALUE, TextEmbedding
from lora_studio.dataset.examples import Example
from lora_studio.errors import DatasetError, TrainingDiverged
from lora_studio.pipeline.base import SharedBase
from lora_studio.pipeline.calls import Report
from lora_studio.pipeline.conditioning import TextCondition, WantedText
from lora_studio.prompt.attention import Span
from lora_studio.prompt.chunks import Chunk, Embedding, cut_chunks, vocabulary
from lora_studio.prompt.source import SourceText
from lora_studio.train.data import Batch
from lora_studio.train.noise import learning_rate, seed_of
from lora_studio.train.student import descale
from lora_studio.types import TrainConfig

RATE = 0.03
"""Learning rate where none was given, as a share of the spread of the base's own token vectors: 4e-4 for CLIP-L."""


class Word:
    """One embedding in training.

    Attributes:
        vectors: key of the text encoder (clip_l, for SDXL clip_g too) to float32 (n, width).
        steps: optimizer steps in which it learns; afterwards it stays as it is.
        rate: largest learning rate of these steps.
    """

    def __init__(self, base: SharedBase, config: TrainConfig) -> None:
        tables = token_tables(base)
        self.name = config.embedding
        self.steps = math.ceil(config.embedding_share * config.steps)
        self._base = base
        self._config = config
        self._known = vocabulary(base.tokenize, [Embedding(config.embedding, config.embedding_vectors)])
        self._chunks: dict[str, Chunk] = {}
        self._settled: dict[str, TextCondition] = {}
        self._spread = {key: float(table.detach().float().std()) for key, table in tables.items()}
        ids = tuple(token.id for token in base.tokenize(config.embedding_words))
        self.vectors = {key: nn.Parameter(_first(table, ids, config, key)) for key, table in tables.items()}
        for vectors in self.vectors.values():
            descale(vectors, base.precision.loss_scale)
        self._first = {key: vectors.detach().clone() for key, vectors in self.vectors.items()}
        given = config.embedding_rate
        self.rate = RATE * max(self._spread.values()) if given is None else given
        self.optimizer = torch.optim.AdamW(
            list(self.vectors.values()), lr=0.0, betas=(0.9, 0.99), weight_decay=config.embedding_decay
        )

    @property
    def parameter_count(self) -> int:
        """How many numbers learn."""
        return sum(vectors.numel() for vectors in self.vectors.values())

    @property
    def changed(self) -> bool:
        """False while the vectors are those it started from."""
        return any(not torch.equal(self._first[key], vectors) for key, vectors in self.vectors.items())

    @property
    def is_known(self) -> bool:
        """True where the base reads the name as one token: a word that it has a meaning for already."""
        return len(self._base.tokenize(self.name)) == 1

    def stands_in(self, text: str) -> bool:
        """True where the name stands in the part of a caption that is read (75 tokens)."""
        return bool(self._chunk(text).embeddings)

    def embedding(self, sha256: str = "") -> TextEmbedding:
        """As the text encoders take it, without gradients; its identity is `sha256`, or that of its present numbers."""
        vectors = {key: rows.detach() for key, rows in self.vectors.items()}
        return TextEmbedding(self.name, sha256 or _identity(vectors), vectors)

    def begin(self, batch: Batch, step: int, texts: Sequence[str]) -> Generator[Any, Any, Batch]:
        """The batch of `step` (from 0) with its captions read as the word stands now; forgets older gradients.

        Args:
            texts: every caption of the run, read together once the word has stopped learning: the same captions in
                the same order give the same bits, wherever a run was stopped.
        """
        self.optimizer.zero_grad(set_to_none=True)
        learns = step < self.steps
        if learns:
            own = tuple(dict.fromkeys(text for text in batch.texts if self.stands_in(text)))
            read = yield from self._read(own, learning=True)
        else:
            if not self._settled:
                self._settled = yield from self._read([text for text in texts if self.stands_in(text)], learning=False)
            read = self._settled
        device = self._base.precision.device

        def with_word(cached: Tensor, name: str) -> Tensor:
            """What was `cached` of each caption, in place of that what is read of those that hold the word."""
            rows = zip(batch.texts, cached, strict=True)
            return torch.stack([(getattr(read[text], name) if text in read else row).to(device) for text, row in rows])

        pooled = None if batch.pooled is None else with_word(batch.pooled, "pooled")
        return replace(batch, embeddings=with_word(batch.embeddings, "embeddings"), pooled=pooled)

    def step(self, step: int) -> None:
        """One optimizer step on the gradients that a backward pass left; nothing where it left none."""
        config = self._config
        if step >= self.steps or all(vectors.grad is None for vectors in self.vectors.values()):
            return
        if config.max_grad_norm > 0:
            nn.utils.clip_grad_norm_(list(self.vectors.values()), config.max_grad_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, self.steps, self.rate, config.warmup_steps, config.lr_scheduler)
        self.optimizer.step()
        with torch.no_grad():
            for key, vectors in self.vectors.items():
                spread = vectors.std()
                if config.embedding_pull and bool(spread > 0):
                    vectors.mul_((self._spread[key] / spread) ** config.embedding_pull)

    def check(self) -> None:
        """Raise `TrainingDiverged` where the vectors are no numbers, or larger than any reader takes."""
        value = max(float(vectors.detach().abs().max()) for vectors in self.vectors.values())
        if not value <= LARGEST_VALUE:
            raise TrainingDiverged(
                f"The new word {self.name!r} has values that no reader takes ({value:g}); train again with a lower "
                f"rate than {self.rate:g} for it.",
                code="embedding_diverged",
                given=self.name,
                value=f"{value:g}",
                rate=f"{self.rate:g}",
            )

    def state_dict(self) -> dict[str, Tensor]:
        """Vectors and optimizer state by name, copied to the CPU; no name is one of the LoRA's."""
        state: dict[str, Tensor] = {}
        for key, vectors in self.vectors.items():
            state[f"embedding.{key}.weight"] = vectors.detach().cpu().clone()
            for part, value in self.optimizer.state.get(vectors, {}).items():
                state[f"embedding.{key}.{part}"] = torch.as_tensor(value).detach().cpu().clone()
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Put back what `state_dict` gave; raises KeyError where vectors are missing."""
        self._settled = {}
        for key, vectors in self.vectors.items():
            with torch.no_grad():
                vectors.copy_(state[f"embedding.{key}.weight"])
            kept = [part for part in ("step", "exp_avg", "exp_avg_sq") if f"embedding.{key}.{part}" in state]
            if kept:
                parts = {part: state[f"embedding.{key}.{part}"].clone() for part in kept}
                self.optimizer.state[vectors] = {
                    part: value if part == "step" else value.to(vectors.device) for part, value in parts.items()
                }

    def _read(self, texts: Sequence[str], *, learning: bool) -> Generator[Any, Any, dict[str, TextCondition]]:
        """Captions to conditions of one chunk, by the code that reads prompts."""
        embedding = TextEmbedding(self.name, "learning", self.vectors) if learning else self.embedding()
        wanted = [WantedText((self._chunk(text),), {self.name: embedding}, learning=learning) for text in texts]
        conditions = yield from self._base.family.encode(wanted)
        return dict(zip(texts, conditions, strict=True))

    def _chunk(self, text: str) -> Chunk:
        """The first 75 tokens of a caption; no language is read in it, and what stands behind them is left out."""
        if text not in self._chunks:
            spans = [Span(SourceText.typed(text), 1.0)]
            self._chunks[text] = cut_chunks(spans, self._known, backtrack=0).chunks[0]
        return self._chunks[text]


def open_word(base: SharedBase, examples: Sequence[Example], config: TrainConfig) -> Generator[Any, Any, Word | None]:
    """The word that shall learn, if there is one.

    Raises:
        DatasetError: no caption holds its name where it is read.
    """
    if not config.embedding:
        return None
    word = Word(base, config)
    if not any(word.stands_in(example.caption) for example in examples):
        raise DatasetError(
            f"No caption holds the new word {config.embedding!r} among its first 75 tokens; put it first in the "
            "captions, or shorten them.",
            code="embedding_nowhere",
            given=config.embedding,
        )
    if word.is_known:
        message = f"The base knows {config.embedding!r} as a word of its own: wherever it is written, the new one acts."
        yield Report("warning", {"code": "embedding_is_word", "message": message, "values": {"name": config.embedding}})
    return word


def token_tables(base: SharedBase) -> dict[str, Tensor]:
    """The table of token vectors (tokens, width) of each text encoder, by its key."""
    encoders: Iterable[Any] = base.text_encoders.values()
    return {key: encoder.get_input_embeddings().weight for key, encoder in zip(base.text_widths, encoders, strict=True)}


def _first(table: Tensor, ids: Sequence[int], config: TrainConfig, key: str) -> Tensor:
    """The vectors (n, width) to start from: those of the first words, spread over n, or drawn by the seed."""
    count = config.embedding_vectors
    if ids:
        chosen = [ids[number * len(ids) // count] for number in range(count)]
        return table.detach()[chosen].float().clone()
    generator = torch.Generator().manual_seed(seed_of(config.seed, "embedding", key))
    drawn = torch.randn(count, table.shape[1], generator=generator) * float(table.detach().float().std())
    return drawn.to(table.device)


def _identity(vectors: Mapping[str, Tensor]) -> str:
    """sha256 of the numbers themselves."""
    digest = hashlib.sha256()
    for key, rows in sorted(vectors.items()):
        digest.update(key.encode() + rows.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
