"""One training of an AutoencoderKL: all of it, or its decoder alone with every latent as it was.

With the encoder frozen the latents come from the same cache that the diffusion training reads, and pictures are taken
whole or cut on the latents' grid. Order, mirrors, cuts and noise are functions of (seed, step).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pretrain import trainings
from pretrain.autoencoder.loss import picture_loss, psnr
from pretrain.batches import Order
from pretrain.export import write_base
from pretrain.latents import LatentSet, build, decoded, encoder_hash
from pretrain.machine import Machine
from pretrain.pictures import PictureSet, unseen
from pretrain.progress import Stop, never
from pretrain.randomness import generator, numbers
from pretrain.recipe import AutoencoderModel, Recipe, RecipeError
from pretrain.sheets import contact_sheet, from_pixels, save_png, to_pixels
from pretrain.trainer import Step, train_in

MEASURED = 32  # unseen pictures of a sheet


def new_autoencoder(recipe: AutoencoderModel, size: int, seed: int) -> Any:
    """A new AutoencoderKL whose residual blocks begin near to doing nothing and whose latents have hardly noise."""
    from diffusers import AutoencoderKL
    from diffusers.models.resnet import ResnetBlock2D

    levels = len(recipe.channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = AutoencoderKL(
            latent_channels=recipe.latent_channels,
            block_out_channels=recipe.channels,
            layers_per_block=recipe.layers,
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            norm_num_groups=recipe.groups,
            sample_size=size,
            mid_block_add_attention=False,
        )
    with torch.no_grad():
        for module in vae.modules():
            if isinstance(module, ResnetBlock2D):
                module.conv2.weight.mul_(0.1)
                module.conv2.bias.zero_()
        vae.quant_conv.weight[recipe.latent_channels :].zero_()
        vae.quant_conv.bias[recipe.latent_channels :].fill_(-6.0)
    return vae


class AutoencoderJob:
    """The model, the data and the loss of one step."""

    name = "autoencoder"

    def __init__(
        self,
        recipe: Recipe,
        pictures: PictureSet,
        machine: Machine,
        measured: int = MEASURED,
        stop: Stop = never,
    ) -> None:
        from diffusers import AutoencoderKL

        self._recipe, self._machine, self._base = recipe.autoencoder, machine, Path(recipe.base)
        mine = self._recipe
        self.steps, self.batch = mine.steps, mine.batch
        self.optimizer, self.cadence = mine.optimizer, mine.cadence
        self._pictures = pictures
        side = pictures.shards[0].shape[1]
        if mine.crop > side:
            raise RecipeError(
                f"Autoencoder.crop is {mine.crop} and the pictures have {side} pixels a side; allowed are multiples of "
                f"8 up to {side}; write one, or 0 for whole pictures."
            )
        if mine.start == "base":
            vae = AutoencoderKL.from_pretrained(self._base / "vae", dtype=torch.float32)
        else:
            vae = new_autoencoder(mine.model, side, mine.seed)
        self._vae = vae.train().to(machine.device, memory_format=machine.memory_format)
        self._factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self._latents: LatentSet | None = None
        if mine.train == "decoder":
            vae.encoder.requires_grad_(False)
            vae.quant_conv.requires_grad_(False)
            self._latents = LatentSet(build(pictures, vae, machine, stop), len(pictures.shards), machine.device)
        self._order = Order(len(pictures), mine.batch, mine.seed)
        self._measured = measured
        self._figures: dict[str, float] = {}

    def modules(self) -> dict[str, nn.Module]:
        """The autoencoder."""
        return {"vae": self._vae}

    def rates(self) -> dict[str, float]:
        """No other rates."""
        return {}

    def batches(self, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(numbers of pictures, mirrored) of the steps from one on."""
        for step in range(first, self.steps):
            yield self._order.at(step)

    def loss(self, batch: tuple[Tensor, Tensor], step: int) -> Tensor:
        """The decoded pictures against the true ones."""
        indices, mirrored = batch
        images = self._pictures.take(indices.numpy())
        images = np.where(mirrored.numpy()[:, None, None, None] == 1, images[:, :, ::-1], images)
        true, latents = self._cut(images, indices, mirrored, step)
        weights = self._recipe.loss
        extra: Tensor | float = 0.0
        with self._machine.autocast():
            if latents is None:
                latents = self._vae.encode(true).latent_dist.mean
                extra = weights.latent * latents.float().square().mean()
            source = generator(self._recipe.seed, step, "noise", self._machine.device)
            noise = torch.randn(latents.shape, generator=source, device=self._machine.device)
            found = self._vae.decode(latents + self._recipe.latent_noise * noise).sample
        return picture_loss(found.float(), true, weights) + extra

    def _cut(
        self, images: NDArray[np.uint8], indices: Tensor, mirrored: Tensor, step: int
    ) -> tuple[Tensor, Tensor | None]:
        """Pictures (n, 3, crop, crop) and, with a frozen encoder, their latents; cuts are on the latents' grid."""
        device, factor = self._machine.device, self._factor
        crop = self._recipe.crop or images.shape[1]
        places = numbers(self._recipe.seed, step, "cut").integers(0, (images.shape[1] - crop) // factor + 1, (2,))
        top, left = int(places[0]), int(places[1])
        window = images[:, top * factor : top * factor + crop, left * factor : left * factor + crop]
        true = from_pixels(window).to(device).contiguous(memory_format=self._machine.memory_format)
        if self._latents is None:
            return true, None
        latents = self._latents.take(indices, mirrored).to(device)
        side = crop // factor
        return true, latents[:, :, top : top + side, left : left + side]

    def figures(self) -> dict[str, float]:
        """PSNR on unseen pictures, as last measured."""
        return self._figures

    def identity(self) -> dict[str, Any]:
        """The configuration, and which latents belong to it if the encoder is frozen."""
        frozen = self._latents is not None
        config = json.loads(self._vae.to_json_string())
        return {"kind": self.name, "vae": config, "encoder": encoder_hash(self._vae) if frozen else ""}

    def sheet(self, path: Path) -> None:
        """Sixteen unseen pictures above what becomes of them; PSNR over all that are measured."""
        images = unseen(self._measured)
        found = decoded(self._vae, images, self._machine)
        self._figures = {"psnr": psnr(found, from_pixels(images))}
        print(f"PSNR on {len(images)} unseen pictures: {self._figures['psnr']:.2f} dB", flush=True)
        shown = min(16, len(images))
        save_png(path, contact_sheet(np.concatenate([images[:shown], to_pixels(found[:shown])])))

    def keep(self, path: Path) -> None:
        """A base folder in half precision; what it was trained by, `export` alone can tell."""
        write_base(path, self._base, {"vae": self._vae}, without=(trainings.NAME,))


def train(
    recipe: Recipe,
    pictures: Path,
    folder: Path,
    stop: Stop = never,
    accept_changes: bool = False,
) -> Iterator[Step]:
    """Trains in a folder, from its checkpoint if it has one; yields every finished step.

    Args and errors as in `pretrain.diffusion.train`.
    """

    def make(machine: Machine) -> AutoencoderJob:
        return AutoencoderJob(recipe, PictureSet(pictures, recipe.pictures), machine, stop=stop)

    yield from train_in(folder, recipe, ("autoencoder",), make, stop, accept_changes)
