"""One training of UNet and text encoder: v-prediction (Salimans and Ho 2022), min-SNR weights (Hang et al. 2023).

Latents are cached, the autoencoder is frozen. Order, mirrors, captions, timesteps and noise are functions of
(seed, step). Loss weight: min(SNR, gamma) / (SNR + 1) + floor; the floor keeps the steps of pure noise, where
composition and colours are decided (zero terminal SNR, Lin et al. 2023).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from pretrain import trainings
from pretrain.batches import Order
from pretrain.diffusion.captions import TagTokens, variant
from pretrain.diffusion.clutter import chunk_count, long_prompt, stray_words, weighted
from pretrain.diffusion.models import load_models, new_models, noise_schedule
from pretrain.drawing import draw, make_pipeline
from pretrain.export import write_base
from pretrain.hashes import network_hash, schedule_of, tokenizer_hash
from pretrain.latents import LatentSet, build, encoder_hash
from pretrain.machine import Machine
from pretrain.pictures import PictureSet
from pretrain.progress import Stop, never
from pretrain.randomness import generator, numbers
from pretrain.reader import Reader, load_reader, reading_loss
from pretrain.recipe import Diffusion, Recipe
from pretrain.sheets import contact_sheet, save_png
from pretrain.tags import split
from pretrain.trainer import Step, train_in


@dataclass(frozen=True)
class Batch:
    """What a step sees: numbers of pictures (n,), whether each is mirrored (n,), its words; int64.

    ids: (n, length), or (n, chunks, length) with as many weights where the prompts are long.
    """

    indices: Tensor
    mirrored: Tensor
    ids: Tensor
    weights: Tensor | None = None

    def pin_memory(self) -> Batch:
        """For quick copies to a GPU."""
        weights = None if self.weights is None else self.weights.pin_memory()
        return Batch(self.indices.pin_memory(), self.mirrored.pin_memory(), self.ids.pin_memory(), weights)


class Plan(Dataset[Batch]):
    """The batch of every step; processes may work it out ahead."""

    def __init__(self, captions: list[str], tokenizer: Any, recipe: Diffusion) -> None:
        self._strays = stray_words(sorted({tag for caption in captions for tag in split(caption)}))
        self._captions, self._recipe = captions, recipe
        self._tokens = TagTokens(tokenizer, captions, self._strays)
        self._order = Order(len(captions), recipe.batch, recipe.seed, recipe.mirrored)

    def __getitem__(self, step: int) -> Batch:
        indices, mirrored = self._order.at(step)
        rng = numbers(self._recipe.seed, step, "captions")
        tags = [variant(split(self._captions[i]), rng, self._recipe.captions) for i in indices.tolist()]
        rng = numbers(self._recipe.seed, step, "long prompts")
        chunks = chunk_count(rng, self._recipe.captions)
        if not chunks:
            return Batch(indices, mirrored, torch.tensor([self._tokens.row(words) for words in tags]))
        prompts = [long_prompt(words, self._strays, chunks, self._tokens, rng, self._recipe.captions) for words in tags]
        ids, weights = ([prompt.ids for prompt in prompts], [prompt.weights for prompt in prompts])
        return Batch(indices, mirrored, torch.tensor(ids), torch.tensor(weights))


def timesteps(count: int, seed: int, step: int, shift: float = 1.0) -> Tensor:
    """int64 (count,) in 0 to 999, one in each of `count` equal parts; shift > 1 moves them to the noise."""
    source = generator(seed, step, "timesteps")
    u = (torch.arange(count) + torch.rand(count, generator=source)) / count
    u = shift * u / (1 + (shift - 1) * u)
    return (u * 1000).long().clamp(0, 999)[torch.randperm(count, generator=source)]


def loss_weights(signal: Tensor, gamma: float, floor: float) -> Tensor:
    """min(SNR, gamma) / (SNR + 1) + floor for the shares of signal (n,); finite at signal 0 and 1."""
    return torch.minimum(signal, gamma * (1 - signal)) + floor


class DiffusionJob:
    """The models, the data and the loss of one step."""

    name = "diffusion"

    def __init__(self, recipe: Recipe, pictures: PictureSet, machine: Machine, stop: Stop = never) -> None:
        from diffusers import AutoencoderKL
        from transformers import CLIPTokenizer

        self._recipe, self._machine, self._base = recipe.diffusion, machine, Path(recipe.base)
        mine = self._recipe
        self.steps, self.batch = mine.steps, mine.batch
        self.optimizer, self.cadence = mine.optimizer, mine.cadence
        vae = AutoencoderKL.from_pretrained(self._base / "vae", dtype=torch.float32).eval()
        self._vae = vae.requires_grad_(False).to(machine.device, memory_format=machine.memory_format)
        self._latents = LatentSet(build(pictures, self._vae, machine, stop), len(pictures.shards), machine.device)
        channels, side = self._latents.take(torch.zeros(1).long(), torch.zeros(1).long()).shape[1:3]
        if mine.start == "base":
            unet, words = load_models(self._base, mine.unet, mine.text_encoder, mine.seed)
        else:
            unet, words = new_models(self._base, mine.unet, mine.text_encoder, (channels, side), mine.seed)
        # Neither model has dropout; in training mode diffusers' blocks turn every picture to another layout and back.
        self._unet = unet.eval().to(machine.device, memory_format=machine.memory_format)
        self._words = words.eval().requires_grad_(mine.text_encoder.trained).to(machine.device)
        self._signal = noise_schedule(self._base).to(machine.device)
        tokenizer = CLIPTokenizer.from_pretrained(self._base / "tokenizer")
        self._plan = Plan(pictures.captions, tokenizer, mine)
        self._reader: Reader | None = None
        if mine.reading.weight:
            self._reader = load_reader(Path(mine.reading.folder), encoder_hash(self._vae))
            self._reader.to(machine.device).to(memory_format=machine.memory_format)  # type: ignore[call-overload]
        self._figures: dict[str, float] = {}

    def modules(self) -> dict[str, nn.Module]:
        """Both models."""
        return {"unet": self._unet, "text_encoder": self._words}

    def rates(self) -> dict[str, float]:
        """The text encoder may learn at another rate."""
        return {"text_encoder": self._recipe.text_encoder.rate}

    def batches(self, first: int) -> Iterator[Batch]:
        """The batches from a step on."""
        workers = self._recipe.workers
        loader = DataLoader(
            self._plan,
            batch_size=None,
            sampler=range(first, self.steps),
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
            pin_memory=self._machine.device == "cuda",
        )
        yield from loader

    def loss(self, batch: Batch, step: int) -> Tensor:
        """Weighted mean square error of the predicted v, and how differently the picture reads that it stands for."""
        recipe, device = self._recipe, self._machine.device
        latents = self._latents.take(batch.indices, batch.mirrored).to(device) * self._vae.config.scaling_factor
        t = timesteps(len(latents), recipe.seed, step, recipe.shift).to(device)
        source = generator(recipe.seed, step, "noise", device)
        noise = torch.randn(latents.shape, generator=source, device=device)
        signal = self._signal[t]
        a, b = (share.sqrt().view(-1, 1, 1, 1) for share in (signal, 1 - signal))
        noisy, target = a * latents + b * noise, a * noise - b * latents
        words = self._conditioning(batch)
        with self._machine.autocast():
            found = self._unet(noisy, t, words).sample.float()
        error = (found - target).pow(2).mean((1, 2, 3))
        weighted: Tensor = error * loss_weights(signal, recipe.gamma, recipe.floor)
        if self._reader is None:
            return weighted.mean()
        with self._machine.autocast():
            differs = reading_loss(self._reader, a * noisy - b * found, latents)
        self._figures = {"velocity": float(weighted.detach().mean()), "reading": float(differs.detach().mean())}
        return weighted.mean() + recipe.reading.weight * differs.mean()

    def _conditioning(self, batch: Batch) -> Tensor:
        """What the text encoder says of the words (n, tokens, width); the chunks of a long prompt stand in a row.

        A chunk that several prompts have (most often the empty one) is read once.
        """
        rows = batch.ids.to(self._machine.device).flatten(0, -2)
        ids, places = torch.unique(rows, dim=0, return_inverse=True)
        with torch.set_grad_enabled(self._recipe.text_encoder.trained), self._machine.autocast():
            states: Tensor = self._words(ids)[0].float().index_select(0, places)
        if batch.weights is not None:
            states = weighted(states, batch.weights.to(self._machine.device).flatten(0, -2))
        return states.reshape(len(batch.ids), -1, states.shape[-1])

    def figures(self) -> dict[str, float]:
        """The two parts of the loss, where a reader listens."""
        return {name: round(value, 5) for name, value in self._figures.items()}

    def identity(self) -> dict[str, Any]:
        """Configurations to build the models again, and on which latents, words and schedule they were trained."""
        return {
            "kind": self.name,
            "unet": json.loads(self._unet.to_json_string()),
            "text_encoder": self._words.config.to_dict(),
            "encoder": encoder_hash(self._vae),
            "tokenizer": tokenizer_hash(self._base / "tokenizer"),
            "schedule": schedule_of(self._base),
            "reader": "" if self._reader is None else network_hash(self._reader),
        }

    def sheet(self, path: Path) -> None:
        """The recipe's prompts, drawn by diffusers' pipeline."""
        mine = self._recipe
        pipe = make_pipeline(self._base, {"vae": self._vae, "unet": self._unet, "text_encoder": self._words})
        images = draw(pipe, mine.sheet_prompts, self._machine, mine.sheet_steps, mine.sheet_guidance)
        save_png(path, contact_sheet(images))

    def keep(self, path: Path) -> None:
        """A base folder in half precision; what it was trained by, `export` alone can tell."""
        write_base(path, self._base, {"unet": self._unet, "text_encoder": self._words}, without=(trainings.NAME,))


def train(
    recipe: Recipe,
    pictures: Path,
    folder: Path,
    stop: Stop = never,
    accept_changes: bool = False,
) -> Iterator[Step]:
    """Trains in a folder, from its checkpoint if it has one; yields every finished step.

    Args:
        pictures: folder of the painter's pictures. stop: seconds until this call shall end, None for never.
        accept_changes: go on from a checkpoint that was made with another recipe.

    Raises:
        ValueError: the checkpoint belongs to another training, recipe or base.
    """

    def make(machine: Machine) -> DiffusionJob:
        return DiffusionJob(recipe, PictureSet(pictures, recipe.pictures), machine, stop)

    yield from train_in(folder, recipe, ("diffusion",), make, stop, accept_changes)
