"""One training of the text encoder alone: at every token it shall say which tokens its tag has so far.

Only so does *hair* in `purple hair, aqua eyes` know that it is purple. A diffusion teaches that slowly, since its
gradient comes through noise and through every layer of the UNet; from captions alone it is learnt in minutes. The
numbers that the base's text encoder gives are kept near (`anchor`), so that the UNet goes on understanding them. Order
and caption variants are functions of (seed, step).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain.batches import Order
from pretrain.diffusion.captions import TagTokens, variant
from pretrain.diffusion.models import grow
from pretrain.hashes import tokenizer_hash
from pretrain.latents import encoder_hash
from pretrain.machine import Machine
from pretrain.pictures import PictureSet
from pretrain.progress import Stop, never
from pretrain.randomness import numbers
from pretrain.recipe import Recipe
from pretrain.tags import split
from pretrain.trainer import Step, train_in
from pretrain.trainings import check_whole

SHARPNESS = 12.0  # of the cosine that a token must have with the words of its tag
READ = (
    "text",
    *(f"diffusion.text_encoder.{size}" for size in ("width", "layers", "heads", "feed_forward")),
    "diffusion.captions",
)
"""What this training reads of the recipe."""


class Naming(nn.Module):
    """Says by the cosine with one direction a token, and nothing else, which tokens a state holds."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=0.02)  # only directions count; short ones turn quickly
        self.bias = nn.Parameter(torch.full((vocabulary,), -SHARPNESS / 2))

    def forward(self, states: Tensor) -> Tensor:
        """(n, width) to logits (n, vocabulary)."""
        cosine = F.normalize(states, dim=-1) @ F.normalize(self.embedding.weight, dim=-1).T
        return SHARPNESS * cosine + self.bias


def tokens_of_tag(ids: Tensor, comma: int, begin: int, end: int, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Which tokens each place must name: the tag's up to and with its own, and on a comma all of the tag before it.

    ids: int64 (n, length). Returns float32 (places, vocabulary) of 0 and 1, and bool (n, length) where the places are.
    """
    places = (ids != begin) & (ids != end)
    counts = torch.zeros(len(ids), ids.shape[1], vocabulary)
    for column in range(ids.shape[1]):
        here = ids[:, column]
        if column:
            goes_on = (ids[:, column - 1] != comma) & (ids[:, column - 1] != begin)
            counts[goes_on, column] = counts[goes_on, column - 1]
        named = places[:, column] & (here != comma)
        counts[named, column, here[named]] = 1
    return counts[places], places


class TextJob:
    """The model, the captions and the loss of one step."""

    name = "text"

    def __init__(self, recipe: Recipe, pictures: PictureSet, machine: Machine) -> None:
        from diffusers import AutoencoderKL
        from transformers import CLIPTextModel, CLIPTokenizer

        self._recipe, self._machine, base = recipe.text, machine, Path(recipe.base)
        mine = self._recipe
        self.steps, self.batch = mine.steps, mine.batch
        self.optimizer, self.cadence = mine.optimizer, mine.cadence
        self._encoder = encoder_hash(AutoencoderKL.from_pretrained(base / "vae", dtype=torch.float32))
        check_whole(base)
        words = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32)
        self._before = copy.deepcopy(words).eval().requires_grad_(False).to(machine.device)
        sizes = recipe.diffusion.text_encoder
        if sizes.width != words.config.hidden_size:
            raise ValueError(
                f"The recipe asks for a text encoder of width {sizes.width} and the base's has "
                f"{words.config.hidden_size}; this training keeps near to the base; write the base's width."
            )
        _, words = grow(None, words, sizes, mine.seed)
        self._words = words.train().to(machine.device)
        tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
        self._tokenizer = tokenizer_hash(base / "tokenizer")
        self._captions = pictures.captions
        self._tokens = TagTokens(tokenizer, pictures.captions)
        self._marks = (tokenizer(",", add_special_tokens=False).input_ids[0], tokenizer.bos_token_id)
        self._end, self._vocabulary = tokenizer.eos_token_id, len(tokenizer)
        self._captioning = recipe.diffusion.captions
        self._order = Order(len(pictures), mine.batch, mine.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mine.seed)
            self._naming = Naming(sizes.width, self._vocabulary)
        self._naming.to(machine.device)
        self._figures: dict[str, float] = {}

    def modules(self) -> dict[str, nn.Module]:
        """The text encoder and the layer that asks it, which is thrown away."""
        return {"text_encoder": self._words, "naming": self._naming}

    def rates(self) -> dict[str, float]:
        """No other rates."""
        return {}

    def batches(self, first: int) -> Iterator[Tensor]:
        """Tokens, int64 (batch, length), of the steps from one on; no longer than the longest caption of each."""
        for step in range(first, self.steps):
            indices, _ = self._order.at(step)
            rng = numbers(self._recipe.seed, step, "captions")
            rows = [
                self._tokens.row(variant(split(self._captions[i]), rng, self._captioning)) for i in indices.tolist()
            ]
            ids = torch.tensor(rows)
            longest = int((ids != self._end).sum(1).max()) + 1
            yield ids[:, :longest]

    def loss(self, batch: Tensor, step: int) -> Tensor:
        """Cross entropy of the words named at every token, and the distance from what the base says."""
        wanted, places = tokens_of_tag(batch, *self._marks, self._end, self._vocabulary)
        ids, places = batch.to(self._machine.device), places.to(self._machine.device)
        with self._machine.autocast():
            states = self._words(ids)[0].float()
            with torch.no_grad():
                before = self._before(ids)[0].float()
        found = self._naming(states[places])
        wanted = wanted.to(found.device)
        named = F.binary_cross_entropy_with_logits(found, wanted, reduction="none").sum(1).mean()
        distance = (states - before).square().mean() / before.var()
        likeliest = found.detach().topk(int(wanted.sum(1).max()), 1).indices
        ranks = torch.arange(likeliest.shape[1], device=found.device) < wanted.sum(1, keepdim=True)
        right = (wanted.gather(1, likeliest) > 0) & ranks
        self._figures = {
            "named": round(float(right.sum() / wanted.sum()), 4),
            "distance": round(float(distance.detach()), 4),
        }
        loss: Tensor = named + self._recipe.anchor * distance
        return loss

    def figures(self) -> dict[str, float]:
        """Share of the tag's words among the likeliest, and the distance from the base, of the last step."""
        return self._figures

    def identity(self) -> dict[str, Any]:
        """The configuration; latents and words are those of the base that it continues."""
        return {
            "kind": self.name,
            "text_encoder": self._words.config.to_dict(),
            "encoder": self._encoder,
            "tokenizer": self._tokenizer,
        }

    def sheet(self, path: Path) -> None:
        """No picture."""

    def keep(self, path: Path) -> None:
        """Nothing: a text encoder alone is no base."""


def train(
    recipe: Recipe,
    pictures: Path,
    folder: Path,
    stop: Stop = never,
    accept_changes: bool = False,
) -> Iterator[Step]:
    """Trains in a folder, from its checkpoint if it has one; yields every finished step. Errors: see `train_in`."""

    def make(machine: Machine) -> TextJob:
        return TextJob(recipe, PictureSet(pictures, recipe.pictures), machine)

    yield from train_in(folder, recipe, READ, make, stop, accept_changes)
