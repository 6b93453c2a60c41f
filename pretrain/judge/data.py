"""Draws the judge's pictures with their exact answers, some passed through the base's autoencoder; reads them again.

Written are numbered pairs of files, `<split>/images-000.npy` (uint8, n x 128 x 128 x 3) and `<split>/answers-000.npy`
(int8, n x heads); a pair that is there already is not drawn again, so an interrupted call goes on where it stopped. A
picture depends on its split and its number alone.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.judge.cases import sample_case
from pretrain.judge.labels import HEADS, answers
from pretrain.painter import draw as draw_picture

SHARD = 1000
SIZE = 128


@dataclass(frozen=True)
class Split:
    """One set of pictures. Splits with the same key hold the same drawings."""

    key: str
    count: int
    passed: float  # share that goes through the autoencoder, 0 to 1
    noise: float = 0.0  # latents get up to this much noise, in standard deviations of the latents


SPLITS = {
    "train": Split("train", 40_000, 0.5, 0.4),
    "test": Split("test", 4_000, 0.0),
    "test-passed": Split("test", 4_000, 1.0),
    "test-rough": Split("test", 4_000, 1.0, 0.4),
}


def draw(key: str, number: int) -> tuple[NDArray[np.uint8], list[int]]:
    """One picture (128 x 128 x 3) and its answers in the order of HEADS."""
    rng = random.Random(f"judge-{key}-{number}")
    case = sample_case(rng)
    picture = draw_picture(case, rng.random(), SIZE)
    truth = answers(case)
    return picture, [truth[head] for head in HEADS]


def load_autoencoder(folder: Path) -> Any:
    """The base's AutoencoderKL, in the memory layout that is fastest on a CPU."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval()
    return vae.to(memory_format=torch.channels_last)


@torch.no_grad()
def pass_through(vae: Any, images: NDArray[np.uint8], noise: float = 0.0, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures encoded and decoded; half of them with noise of 0 to `noise` standard deviations on their latents."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, len(images), 50):
        x = torch.from_numpy(np.ascontiguousarray(images[start : start + 50])).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16_is_faster()):
            latents = vae.encode(x).latent_dist.mean
            strength = torch.rand(len(x), 1, 1, 1, generator=generator) * noise
            strength *= torch.rand(len(x), 1, 1, 1, generator=generator) < 0.5
            jitter = torch.randn(latents.shape, generator=generator) / vae.config.scaling_factor
            y = vae.decode(latents + strength * jitter).sample.float()
        y = ((y.clamp(-1, 1) + 1) * 127.5).round().byte()
        parts.append(y.permute(0, 2, 3, 1).contiguous().numpy())
    return np.concatenate(parts)


def bf16_is_faster() -> bool:
    """Whether this processor multiplies bf16 natively; without that autocast is many times slower."""
    return "amx_bf16" in _cpu_flags() or "avx512_bf16" in _cpu_flags()


def _cpu_flags() -> str:
    """The processor's feature flags where the system tells them, otherwise nothing."""
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="ascii", errors="ignore") if path.exists() else ""


def build(folder: Path, name: str, vae_folder: Path, count: int | None = None) -> None:
    """Draws one split of SPLITS into folder/name; `count` overrides its number of pictures."""
    split, target = SPLITS[name], folder / name
    target.mkdir(parents=True, exist_ok=True)
    vae = load_autoencoder(vae_folder) if split.passed else None
    total = count or split.count
    for shard in range((total + SHARD - 1) // SHARD):
        images_file = target / f"images-{shard:03d}.npy"
        if images_file.exists():
            continue
        numbers = range(shard * SHARD, min((shard + 1) * SHARD, total))
        drawn = [draw(split.key, number) for number in numbers]
        images = np.stack([picture for picture, _ in drawn])
        chosen = np.arange(len(images)) % 100 < round(split.passed * 100)
        if vae is not None:
            images[chosen] = pass_through(vae, images[chosen], split.noise, seed=shard)
        np.save(target / f"answers-{shard:03d}.npy", np.array([truth for _, truth in drawn], np.int8))
        partial = images_file.with_suffix(".partial")
        with partial.open("wb") as file:
            np.save(file, images)
        os.replace(partial, images_file)  # the pictures come last: their file stands for a whole pair
        print(f"{name}: {numbers.stop} of {total}", flush=True)


def read(folder: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All pictures (n x 128 x 128 x 3) and answers (n x heads) of one split."""
    files = sorted((folder / name).glob("images-*.npy"))
    if not files:
        raise FileNotFoundError(f"no pictures in {folder / name}: draw them first with `python -m pretrain.judge data`")
    images = np.concatenate([np.load(file) for file in files])
    truths = [np.load(file.with_name(file.name.replace("images", "answers"))) for file in files]
    return images, np.concatenate(truths).astype(np.int64)
