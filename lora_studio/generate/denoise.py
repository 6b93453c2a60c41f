"""The denoising loop as a generator: one model call per step, for a batch of pictures of any prompts and mixes.

Equal to the `__call__` of `StableDiffusionPipeline` and `StableDiffusionXLPipeline` for the same latents and embeddings
(tested to 1e-5). It never calls the UNet: it yields a `ModelCall` and is sent the prediction.

Source: Ho & Salimans 2022 (classifier-free guidance, arXiv 2207.12598, equation 6); Liu et al. 2022 (composition of
several texts, arXiv 2206.01714) as AUTOMATIC1111 stable-diffusion-webui v1.10.1 weighs it
(modules/sd_samplers_cfg_denoiser.py, `combine_denoised`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lora_studio.generate.samplers import set_steps
from lora_studio.pipeline.base import SharedBase
from lora_studio.pipeline.calls import Mix, ModelCall
from lora_studio.pipeline.conditioning import Conditioning, TextCondition, at_step, batch, pooled_batch


@dataclass(frozen=True, eq=False)
class PictureTask:
    """One picture of a batch.

    Attributes:
        seed: of its noise, made on the CPU so that every device makes the same picture.
        positive, negative: what the prompts say.
        guidance: CFG scale; 1 leaves the negative side out.
        mix: its adapters.
        changes: (first step, adapters) of each step from 1 on at which others begin to act instead, in order.
        latents: (C, h, w) noise to start from instead of the seed's own, or None.
        rescale: 0 to 1, how much of the contrast that guidance adds is taken back.
    """

    seed: int
    positive: Conditioning
    negative: Conditioning
    guidance: float
    mix: Mix = ()
    latents: Tensor | None = None
    rescale: float = 0.0
    changes: tuple[tuple[int, Mix], ...] = ()

    def mix_at(self, step: int) -> Mix:
        """The adapters of step `step` (1 is the first)."""
        return next((mix for first, mix in reversed(self.changes) if first <= step), self.mix)


def denoise(
    base: SharedBase, tasks: Sequence[PictureTask], scheduler: Any, steps: int, size: tuple[int, int]
) -> Generator[ModelCall | Tensor, Tensor | None, Tensor]:
    """Denoise a batch, step by step.

    Args:
        base: the shared base.
        tasks: the pictures, all of one `size`.
        scheduler: a fresh one of `make_scheduler`.
        steps: denoising steps.
        size: (height, width) in pixels.

    Yields:
        One `ModelCall` per step (several where AND makes many rows), each to be sent the prediction (rows, C, h, w);
        after them the latents as they look now.

    Returns:
        Latents (pictures, C, h, w), float32.
    """
    device = base.precision.device
    generators = [torch.Generator().manual_seed(task.seed) for task in tasks]
    set_steps(scheduler, steps, device)
    latents = _noise(base, tasks, generators, size).to(device) * scheduler.init_noise_sigma
    extra: dict[str, Any] = {}
    if type(scheduler).__name__.startswith("EulerAncestral"):
        extra["generator"] = generators
    # Two rows a picture, as without AND; a text of a thousand ANDs then takes many calls and not all the memory.
    most = 2 * max(len(tasks), base.info.defaults.batch_size)
    for index, timestep in enumerate(scheduler.timesteps):
        rows = _rows(tasks, index + 1)
        scaled = scheduler.scale_model_input(latents, timestep)
        parts = []
        for start in range(0, len(rows), most):
            some = rows[start : start + most]
            texts = [row.condition for row in some]
            embeddings, mask = batch(texts)
            part = yield ModelCall(
                latents=scaled[torch.tensor([row.picture for row in some]).to(device)],
                timesteps=timestep.expand(len(some)),
                embeddings=embeddings,
                mask=mask,
                mixes=tuple(tasks[row.picture].mix_at(index + 1) for row in some),
                pooled=pooled_batch(texts),
            )
            assert part is not None
            parts.append(part)
        prediction = parts[0] if len(parts) == 1 else torch.cat(parts)
        combined = _combine(prediction, rows, tasks)
        latents = scheduler.step(combined, timestep, latents, **extra, return_dict=False)[0]
        yield latents
    return latents  # type: ignore[no-any-return]


@dataclass(frozen=True, eq=False)
class _Row:
    """One row of a model call: of which picture, which text, and how it counts in the sum."""

    picture: int
    condition: TextCondition
    factor: float
    is_base: bool


def _rows(tasks: Sequence[PictureTask], step: int) -> list[_Row]:
    """Base rows of all guided pictures first, then the texts: the order that diffusers' pipeline has.

    A picture without guidance needs its base too where its texts are no plain one: several by AND, or one weighted.
    """
    bases, texts = [], []
    for i, task in enumerate(tasks):
        parts = at_step(task.positive, step)
        if task.guidance > 1.0 or len(parts) > 1 or parts[0].weight != 1.0:
            bases.append(_Row(i, at_step(task.negative, step)[0], 1.0, True))
        texts += [_Row(i, part, task.guidance * part.weight, False) for part in parts]
    return bases + texts


def _combine(prediction: Tensor, rows: Sequence[_Row], tasks: Sequence[PictureTask]) -> Tensor:
    """base + sum of guidance · weight · (text - base) for each picture, rescaled; its one text where it has no base."""
    bases = {row.picture: prediction[i] for i, row in enumerate(rows) if row.is_base}
    out: list[Tensor | None] = [bases.get(picture) for picture in range(len(tasks))]
    for i, row in enumerate(rows):
        if not row.is_base:
            base, total = bases.get(row.picture), out[row.picture]
            out[row.picture] = (
                prediction[i] if base is None or total is None else total + row.factor * (prediction[i] - base)
            )
    for picture, task in enumerate(tasks):
        base, total = bases.get(picture), out[picture]
        if task.rescale and base is not None and total is not None:
            out[picture] = _rescaled(total, base + (total - base) / task.guidance, task.rescale)
    return torch.stack([total for total in out if total is not None])


def _rescaled(guided: Tensor, said: Tensor, share: float) -> Tensor:
    """A guided prediction (C, h, w) with the spread of the one that its texts say alone, to a share of 0 to 1.

    Guidance multiplies what a prediction says beside the base, and so its contrast; a strong LoRA, or several, add to
    that until the picture burns (Lin et al. 2023, arXiv 2305.08891, equations 15 and 16; diffusers'
    `rescale_noise_cfg`). A prediction without any spread stays as it is.
    """
    ratio = said.std() / guided.std()
    if not bool(torch.isfinite(ratio)):
        return guided
    return share * (guided * ratio) + (1 - share) * guided


def _noise(
    base: SharedBase, tasks: Sequence[PictureTask], generators: Sequence[torch.Generator], size: tuple[int, int]
) -> Tensor:
    """Starting noise (pictures, C, h, w), each picture from its own generator on the CPU."""
    shape = (base.latent_channels, size[0] // base.autoencoder.factor, size[1] // base.autoencoder.factor)
    return torch.stack(
        [
            torch.randn(shape, generator=generator) if task.latents is None else task.latents.float()
            for task, generator in zip(tasks, generators, strict=True)
        ]
    )
