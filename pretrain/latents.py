"""Pictures as latents, computed once and kept beside them: float16 (shard, 2, channels, h, w), as drawn and mirrored.

The files lie in a folder named after the encoder's weights, so that a better decoder finds them again and another
encoder never takes them. A shard is there whole or not at all: a killed call goes on where it was.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrain.files import replacing
from pretrain.machine import Machine
from pretrain.pictures import PictureSet
from pretrain.progress import Stop, Stopped, never, spell
from pretrain.sheets import from_pixels

BATCH = 25


def encoder_hash(vae: Any) -> str:
    """Names the latents that an AutoencoderKL makes: sha256 of its encoder in half precision, as it is stored."""
    digest = hashlib.sha256()
    for name, value in sorted(vae.state_dict().items()):
        if name.startswith(("encoder.", "quant_conv.")):
            digest.update(name.encode())
            digest.update(value.detach().cpu().half().contiguous().numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def encode(vae: Any, images: NDArray[np.uint8], machine: Machine) -> Tensor:
    """uint8 (n, h, w, 3) to the means of their latents, float32 (n, channels, h / f, w / f), not scaled."""
    x = from_pixels(images).to(machine.device).contiguous(memory_format=machine.memory_format)
    with machine.autocast():
        mean: Tensor = vae.encode(x).latent_dist.mean
    return mean.float()


@torch.no_grad()
def decoded(vae: Any, images: NDArray[np.uint8], machine: Machine, batch: int = 16) -> Tensor:
    """uint8 (n, h, w, 3) encoded and decoded, float32 (n, 3, h, w) on the CPU; from the means, without noise."""
    parts = []
    for first in range(0, len(images), batch):
        latents = encode(vae, images[first : first + batch], machine)
        with machine.autocast():
            parts.append(vae.decode(latents).sample.float().cpu())
    return torch.cat(parts)


def scaling_factor(vae: Any, images: NDArray[np.uint8], machine: Machine) -> float:
    """What gives the latents of some pictures a standard deviation of 1."""
    return float(1 / encode(vae, images, machine).std())


def build(pictures: PictureSet, vae: Any, machine: Machine, stop: Stop = never) -> Path:
    """Lays out what is missing of the latents of all pictures; returns their folder.

    Raises:
        Stopped: `stop` asked to end while files were still missing; those that were made stay.
    """
    folder = pictures.folder / f"latents-{encoder_hash(vae)[:12]}"
    missing = [k for k in range(len(pictures.shards)) if not _file(folder, k).exists()]
    start = time.monotonic()
    for done, k in enumerate(missing, 1):
        shard = pictures.shards[k]
        parts = []
        for first in range(0, len(shard), BATCH):
            images = np.asarray(shard[first : first + BATCH])
            both = encode(vae, np.concatenate([images, images[:, :, ::-1]]), machine).half().cpu()
            parts.append(torch.stack(both.chunk(2), 1))
        with replacing(_file(folder, k)) as file:
            np.save(file, torch.cat(parts).numpy())
        taken = (time.monotonic() - start) / done
        rest = f"{spell(taken)} each, ends in {spell(taken * (len(missing) - done))}"
        print(f"latents of {k + 1} of {len(pictures.shards)} files of pictures, {rest}", flush=True)
        left = stop() if done < len(missing) else None
        if left is not None and left <= 0:
            raise Stopped(
                f"ended while latents were laid out: {done} of {len(missing)} missing files are there now; the same "
                "command goes on with the rest"
            )
    return folder


def _file(folder: Path, shard: int) -> Path:
    return folder / f"latents-{shard:05d}.npy"


class LatentSet:
    """The latents of a picture set, memory-mapped; on a GPU they lie in its memory."""

    def __init__(self, folder: Path, shards: int, device: str) -> None:
        self._shards: list[NDArray[np.float16]] = [np.load(_file(folder, k), mmap_mode="r") for k in range(shards)]
        self._size = len(self._shards[0])
        self._device = device
        self._resident = torch.from_numpy(np.concatenate(self._shards)).to(device) if device != "cpu" else None

    def take(self, indices: Tensor, mirrored: Tensor) -> Tensor:
        """float32 (n, channels, h, w), not scaled. indices, mirrored (0 or 1): int64 (n,)."""
        if self._resident is not None:
            return self._resident[indices.to(self._device), mirrored.to(self._device)].float()
        rows = [
            self._shards[i // self._size][i % self._size, side]
            for i, side in zip(indices.tolist(), mirrored.tolist(), strict=True)
        ]
        return torch.from_numpy(np.stack(rows)).float()
