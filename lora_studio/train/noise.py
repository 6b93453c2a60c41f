"""The noise schedule as training sees it, and what is drawn at a step.

Everything drawn is a function of (seed, step), so that a resumed run equals one that never stopped, whatever runs
between the steps. It knows no model.

Sources: Ho et al. 2020 (arXiv 2006.11239, equation 4), Salimans & Ho 2022 (v-prediction, arXiv 2202.00512, appendix
D), Hang et al. 2023 (min-SNR weights, arXiv 2303.09556, section 3.4), Lin et al. 2023 (zero terminal SNR, arXiv
2305.08891).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from torch import Tensor

_SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
)


def seed_of(seed: int, *parts: object) -> int:
    """A 63-bit seed that depends on all of its arguments."""
    digest = hashlib.sha256(":".join(map(str, (seed, *parts))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True, eq=False)
class Draw:
    """What is drawn at one step: `noise` (B, C, h, w) float32 and `timesteps` (B,) int64, on the CPU."""

    noise: Tensor
    timesteps: Tensor


class NoiseSchedule:
    """The base's noise schedule.

    Attributes:
        alphas_cumprod: (T,) float32, of which the last is 0 with zero terminal SNR.
        prediction_type: epsilon, v_prediction or sample.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        scheduler = DDPMScheduler(**{key: config[key] for key in _SCHEDULE if key in config})
        self.alphas_cumprod: Tensor = scheduler.alphas_cumprod.float()
        self.prediction_type = str(config.get("prediction_type", "epsilon"))

    def draw(self, seed: int, step: int, shape: tuple[int, ...]) -> Draw:
        """Noise and timesteps of a step for latents of `shape`; timesteps are spread evenly over the batch."""
        generator = torch.Generator().manual_seed(seed_of(seed, "noise", step))
        noise = torch.randn(shape, generator=generator)
        count, total = shape[0], len(self.alphas_cumprod)
        spread = (torch.arange(count) + torch.rand(count, generator=generator)) / count
        order = torch.randperm(count, generator=generator)
        return Draw(noise, (spread * total).long().clamp(max=total - 1)[order])

    def noisy(self, latents: Tensor, draw: Draw) -> Tensor:
        """sqrt(ac)·x + sqrt(1 - ac)·noise, in the shape of `latents` (B, C, h, w)."""
        signal, noise = self._levels(draw.timesteps)
        return signal * latents + noise * draw.noise

    def target(self, latents: Tensor, draw: Draw) -> Tensor:
        """What the model shall predict, in the shape of `latents`."""
        if self.prediction_type == "epsilon":
            return draw.noise
        if self.prediction_type == "sample":
            return latents
        signal, noise = self._levels(draw.timesteps)
        return signal * draw.noise - noise * latents

    def weights(self, timesteps: Tensor, gamma: float, floor: float) -> Tensor:
        """min-SNR weights (B,) plus `floor`: else zero SNR, where composition and colours are decided, weighs 0."""
        ac = self.alphas_cumprod[timesteps].double()
        snr = ac / (1 - ac)
        cut = snr.clamp(max=gamma)
        if self.prediction_type == "epsilon":
            # min(SNR, gamma)/SNR is 1 wherever SNR <= gamma, zero SNR included.
            weight = torch.where(snr > gamma, cut / snr.clamp(min=gamma), torch.ones_like(snr))
        elif self.prediction_type == "sample":
            weight = cut
        else:
            weight = cut / (snr + 1)
        return (weight + floor).float()

    def _levels(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        ac = self.alphas_cumprod[timesteps][:, None, None, None]
        return ac.sqrt(), (1 - ac).sqrt()


def adapter_weight(seed: int, step: int, least: float, most: float) -> float:
    """The LoRA weight that a step trains at, uniform from `least` to `most`.

    After the weight-conditioned training of concept sliders (Gandikota et al. 2023, arXiv 2311.12092), with the same
    target at every weight.
    """
    place = random.Random(seed_of(seed, "weight", step)).random()
    return least + place * (most - least)


def learning_rate(step: int, steps: int, peak: float, warmup: int, kind: str) -> float:
    """The rate of step `step` (from 0) of `steps`: a linear rise over `warmup`, then constant or a half cosine to 0."""
    warmup = min(warmup, max(0, steps - 1))
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    if kind == "constant":
        return peak
    progress = (step - warmup) / max(1, steps - warmup)
    return float(peak * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * progress, dtype=torch.float64))))
