"""One training of a reader on cached latents; the last file of pictures is kept to measure it with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrain import checkpoint
from pretrain.batches import Order
from pretrain.latents import LatentSet, build, encoder_hash
from pretrain.machine import Machine
from pretrain.pictures import PictureSet
from pretrain.progress import Stop, never
from pretrain.randomness import generator
from pretrain.reader.labels import Answers, labels_of
from pretrain.reader.network import Reader, spoiled
from pretrain.recipe import Recipe
from pretrain.trainer import Step, averaged_modules, train_in

CHOICES = ("hair", "eyes", "background")  # labels `red hair`, `blue hair`, ...: which one is the likeliest is measured


class ReaderJob:
    """The model, the data and the loss of one step."""

    name = "reader"

    def __init__(self, recipe: Recipe, pictures: PictureSet, machine: Machine, stop: Stop = never) -> None:
        from diffusers import AutoencoderKL

        self._recipe, self._machine = recipe.reader, machine
        mine = self._recipe
        self.steps, self.batch = mine.steps, mine.batch
        self.optimizer, self.cadence = mine.optimizer, mine.cadence
        vae = AutoencoderKL.from_pretrained(Path(recipe.base) / "vae", dtype=torch.float32).eval()
        self._scale = vae.config.scaling_factor
        self._encoder = encoder_hash(vae)
        files = len(pictures.shards)
        self._latents = LatentSet(
            build(pictures, vae.to(machine.device, memory_format=machine.memory_format), machine, stop),
            files,
            machine.device,
        )
        self._kept = torch.arange(len(pictures) - pictures.shard, len(pictures))
        self._order = Order(len(pictures) - (pictures.shard if files > 1 else 0), mine.batch, mine.seed)
        self.labels = labels_of(pictures.captions, mine.least)
        self._answers = Answers(pictures.captions, self.labels)
        channels = int(vae.config.latent_channels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mine.seed)
            self._reader = Reader(channels, len(self.labels), mine.widths)
        self._reader.to(machine.device).to(memory_format=machine.memory_format)  # type: ignore[call-overload]
        self._figures: dict[str, float] = {}

    def modules(self) -> dict[str, nn.Module]:
        """The reader."""
        return {"reader": self._reader}

    def rates(self) -> dict[str, float]:
        """No other rates."""
        return {}

    def batches(self, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(numbers of pictures, mirrored) of the steps from one on."""
        for step in range(first, self.steps):
            yield self._order.at(step)

    def loss(self, batch: tuple[Tensor, Tensor], step: int) -> Tensor:
        """Cross entropy, summed over the labels, of spoiled latents."""
        indices, mirrored = batch
        device = self._machine.device
        latents = self._latents.take(indices, mirrored).to(device) * self._scale
        source = generator(self._recipe.seed, step, "spoiled", device)
        with self._machine.autocast():
            found = self._reader(spoiled(latents, source)).float()
        wanted = self._answers.take(indices).to(device)
        return F.binary_cross_entropy_with_logits(found, wanted, reduction="none").sum(1).mean()

    def figures(self) -> dict[str, float]:
        """Shares of right choices, as last measured."""
        return self._figures

    def identity(self) -> dict[str, Any]:
        """What builds the network again, and whose latents it reads."""
        return {"kind": self.name, "labels": self.labels, "widths": list(self._recipe.widths), "encoder": self._encoder}

    def sheet(self, path: Path) -> None:
        """No picture: measures, on the pictures kept for it, how often the likeliest colour is the one told."""
        with torch.no_grad(), self._machine.autocast():
            latents = self._latents.take(self._kept, torch.zeros_like(self._kept)).to(self._machine.device)
            found = self._reader(latents * self._scale).float().cpu()
        told = self._answers.take(self._kept)
        for word in CHOICES:
            places = [k for k, label in enumerate(self.labels) if label.endswith(f" {word}") and label.count(" ") == 1]
            rows = told[:, places].sum(1) == 1
            if places and rows.any():
                right = found[rows][:, places].argmax(1) == told[rows][:, places].argmax(1)
                self._figures[word] = round(float(right.float().mean()), 4)
        print(", ".join(f"{word} {share:.1%}" for word, share in self._figures.items()), flush=True)

    def keep(self, path: Path) -> None:
        """Nothing: a reader is no base."""


def train(
    recipe: Recipe,
    pictures: Path,
    folder: Path,
    stop: Stop = never,
    accept_changes: bool = False,
) -> Iterator[Step]:
    """Trains in a folder, from its checkpoint if it has one; yields every finished step. Errors: see `train_in`."""

    def make(machine: Machine) -> ReaderJob:
        return ReaderJob(recipe, PictureSet(pictures, recipe.pictures), machine, stop)

    yield from train_in(folder, recipe, ("reader",), make, stop, accept_changes)


def load_reader(folder: Path, encoder: str) -> Reader:
    """The reader of a training's folder with the averaged weights, frozen.

    Args:
        encoder: the encoder whose latents it shall read (`encoder_hash`).

    Raises:
        ValueError: no checkpoint, one of another training, or a reader of another encoder's latents.
    """
    state = checkpoint.load(folder)
    if state is None:
        raise ValueError(f"{folder} has no reader; train one with `python -m pretrain reader --run {folder}`.")
    checkpoint.check_kind(folder, state, "reader")
    identity = state["identity"]
    if identity["encoder"] != encoder:
        raise ValueError(
            f"The reader of {folder} reads the latents of encoder {identity['encoder'][:12]}, the base has "
            f"{encoder[:12]}; train a reader on this base."
        )
    weights = averaged_modules(state, state["trained"])["reader"]
    reader = Reader(weights["conv_in.weight"].shape[1], len(identity["labels"]), tuple(identity["widths"]))
    reader.load_state_dict(weights)
    return reader.eval().requires_grad_(False)
