"""Trains the judge's network.

Order, augmentation and learning rate are functions of (seed, step), so a stopped training goes on as if it had
not stopped. One-cycle learning rate after Smith and Topin 2018 (warm-up, then a cosine to zero), AdamW, cross-entropy
with a little label smoothing summed over the heads.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from pretrain.judge.data import bf16_is_faster, read
from pretrain.judge.labels import HEADS, UNKNOWN
from pretrain.judge.network import INPUT_SIZE, JudgeNetwork

HEAD_WEIGHTS = {"ears": 2.0, "kind": 0.5, "clothes colour": 0.5, "star mark on cheek": 3.0}


@dataclass(frozen=True)
class Recipe:
    """How the judge is trained."""

    steps: int = 5000
    batch: int = 64
    rate: float = 3e-3
    weight_decay: float = 0.05
    seed: int = 0
    save_every: int = 250


def new_network(seed: int = 0) -> JudgeNetwork:
    """A network with random weights for the questions of HEADS."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return JudgeNetwork({head: len(labels) for head, labels in HEADS.items()})


def learning_rate(step: int, recipe: Recipe) -> float:
    """The rate at a step: up over the first tenth, then down along a cosine to zero."""
    warm = max(1, recipe.steps // 10)
    if step < warm:
        return recipe.rate * (step + 1) / warm
    return recipe.rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, recipe.steps - warm)))


def batch_numbers(count: int, step: int, recipe: Recipe) -> NDArray[np.int64]:
    """The numbers of the pictures of one step: every picture once an epoch, each epoch in another order."""
    per_epoch = max(1, count // recipe.batch)
    order = np.random.default_rng((recipe.seed, step // per_epoch)).permutation(count)
    start = (step % per_epoch) * recipe.batch
    return order[start : start + recipe.batch]


def augment(images: NDArray[np.uint8], generator: torch.Generator) -> Tensor:
    """uint8 (n, 128, 128, 3) to float (n, 3, 112, 112): mirrored, moved, scaled, blurred, recoloured, noisy."""
    n = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, 1, 1, 1, generator=generator) * (high - low) + low

    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    scale, sign = uniform(0.92, 1.08).view(n), (torch.rand(n, generator=generator) < 0.5) * 2.0 - 1.0
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = scale * sign, scale
    theta[:, :, 2] = torch.rand(n, 2, generator=generator) * 0.12 - 0.06
    grid = F.affine_grid(theta, [n, 3, INPUT_SIZE, INPUT_SIZE], align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, soft, uniform(0, 1) * (uniform(0, 1) < 0.5))
    x = (x - x.mean((2, 3), keepdim=True)) * uniform(0.85, 1.15) + x.mean((2, 3), keepdim=True)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * uniform(0.9, 1.1) + uniform(-0.08, 0.08)
    x = x + torch.randn(x.shape, generator=generator) * uniform(0, 0.08) * (uniform(0, 1) < 0.5)
    return x.clamp(-1, 1).contiguous(memory_format=torch.channels_last)


def loss_of(logits: dict[str, Tensor], truths: Tensor) -> Tensor:
    """Weighted sum of the heads' cross-entropies. truths: (n, heads), UNKNOWN is left out."""
    total = torch.zeros(())
    for column, (head, rows) in enumerate(logits.items()):
        target = truths[:, column]
        if bool((target != UNKNOWN).any()):
            value = F.cross_entropy(rows.float(), target, ignore_index=UNKNOWN, label_smoothing=0.02)
            total = total + HEAD_WEIGHTS.get(head, 1.0) * value
    return total


def decay_groups(network: JudgeNetwork, weight_decay: float) -> list[dict[str, object]]:
    """Weight decay for matrices and kernels, none for norms and biases."""
    parameters = list(network.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def train(data: Path, out: Path, recipe: Recipe) -> Iterator[tuple[int, float]]:
    """Trains into out/checkpoint.pt, from where it stopped if it is there; yields (step, loss) after every step."""
    images, truths = read(data, "train")
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint.pt"
    network = new_network(recipe.seed).train()
    optimizer = torch.optim.AdamW(decay_groups(network, recipe.weight_decay), lr=recipe.rate)
    start = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        if saved["recipe"] != asdict(recipe):
            raise ValueError(
                f"{checkpoint} belongs to another recipe: {saved['recipe']}; choose another folder or the same recipe"
            )
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        start = saved["step"]
    bf16 = bf16_is_faster()
    for step in range(start, recipe.steps):
        numbers = batch_numbers(len(images), step, recipe)
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        x = augment(images[numbers], generator)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = network(x)
        loss = loss_of(logits, torch.from_numpy(truths[numbers]))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        if (step + 1) % recipe.save_every == 0 or step + 1 == recipe.steps:
            _save_checkpoint(checkpoint, network, optimizer, step + 1, recipe)
        yield step + 1, float(loss.detach())


def _save_checkpoint(
    path: Path, network: JudgeNetwork, optimizer: torch.optim.Optimizer, step: int, recipe: Recipe
) -> None:
    """Writes everything that the training needs to go on, in one replacement of the file."""
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "recipe": asdict(recipe),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def run(data: Path, out: Path, weights: Path, recipe: Recipe) -> None:
    """Trains to the end, prints the loss now and then, and writes the weights."""
    begin, average = time.time(), 0.0
    for step, loss in train(data, out, recipe):
        average = loss if not average else 0.98 * average + 0.02 * loss
        if step % 100 == 0:
            print(f"step {step} of {recipe.steps}, loss {average:.3f}, {time.time() - begin:.0f} s", flush=True)
    export(out / "checkpoint.pt", weights)


def export(checkpoint: Path, weights: Path) -> None:
    """The network of a checkpoint as safetensors: fp16, statistics of the norms in fp32, labels in the metadata."""
    saved = torch.load(checkpoint, weights_only=True)
    tensors = {}
    for name, value in saved["network"].items():
        if name.endswith("num_batches_tracked"):
            continue
        tensors[name] = (value.float() if "running_" in name else value.half()).contiguous()
    metadata = {
        "labels": json.dumps(HEADS),
        "input_size": str(INPUT_SIZE),
        "recipe": json.dumps(saved["recipe"]),
        "step": str(saved["step"]),
        "license": "Apache-2.0",
    }
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, weights, metadata)
