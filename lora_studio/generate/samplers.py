"""Samplers by name, made from the base's own noise schedule. One scheduler object per request: they are stateful.

Traps that this module closes (each was measured): `DDIMScheduler.from_config` leaves `clip_sample` on and turns
pictures grey; with zero terminal SNR sigma_max is about 4096, so that Karras spacing spends most of its steps on
pure noise; "leading" steps are whole multiples of a step, so that beyond `LEADING` of them they begin ever farther from
noise (DDIM with 600 steps at timestep 600) and the thousandth lies beyond the schedule; "trailing" steps are sometimes
one too many (`set_steps`).

Sources: Lu et al. 2022 (DPM-Solver++, arXiv 2211.01095), Karras et al. 2022 (arXiv 2206.00364, equation 5), Song et
al. 2020 (DDIM, arXiv 2010.02502), Lin et al. 2023 (zero terminal SNR and trailing steps, arXiv 2305.08891).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteSchedulerOutput
from torch import Tensor

CAPPED_SIGMA = 20.0
"""With zero terminal SNR, Karras spacing starts from here after one step from pure noise; Stable Diffusion's own
sigma_max is 14.6."""

LEADING = 100
"""Steps up to which "leading" steps stay as diffusers, A1111 and ComfyUI have them: 10 to 100 begin at 900 or later."""

_TAKEN_OVER = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "timestep_spacing",
    "steps_offset",
    "rescale_betas_zero_snr",
)


class KarrasFromNoise(DPMSolverMultistepScheduler):  # type: ignore[misc]
    """DPM++ 2M whose Karras spacing leaves a terminal sigma of thousands in one step.

    The first step stands at the schedule's last, pure-noise timestep; the others are spaced by Karras' rule from
    `CAPPED_SIGMA` down.
    """

    def _convert_to_karras(self, in_sigmas: Any, num_inference_steps: int) -> Any:
        top = float(in_sigmas[0])
        if top <= CAPPED_SIGMA or num_inference_steps < 2:
            return super()._convert_to_karras(in_sigmas, num_inference_steps)
        rho, ramp = 7.0, np.linspace(0, 1, num_inference_steps - 1)
        low, high = float(in_sigmas[-1]) ** (1 / rho), CAPPED_SIGMA ** (1 / rho)
        return np.concatenate([[top], (high + ramp * (low - high)) ** rho])


class EulerFromNoise(EulerDiscreteScheduler):  # type: ignore[misc]
    """Euler's step written so that a terminal sigma of thousands does not eat the digits.

    x + (x - D)/σ·(σ' - σ) is D + (x - D)·σ'/σ; in float32 the first form loses about σ/10^7 of a latent to rounding.
    """

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool = True) -> Any:
        """One step; `sample` and `model_output` (N, C, h, w)."""
        if self.step_index is None:
            self._init_step_index(timestep)
        sigma, following = self.sigmas[self.step_index], self.sigmas[self.step_index + 1]
        x, v = sample.float(), model_output.float()
        if self.config.prediction_type == "epsilon":
            denoised = x - sigma * v
        elif self.config.prediction_type == "v_prediction":
            denoised = x / (sigma**2 + 1) - v * (sigma / (sigma**2 + 1) ** 0.5)
        else:
            denoised = v
        before = (denoised + (x - denoised) * (following / sigma)).to(model_output.dtype)
        self._step_index += 1
        if not return_dict:
            return before, denoised
        return EulerDiscreteSchedulerOutput(prev_sample=before, pred_original_sample=denoised)


class DDIMToTheEnd(DDIMScheduler):  # type: ignore[misc]
    """DDIM for any number of steps: each goes to the next timestep of the list, the last to the picture itself.

    diffusers goes to t - 1000 // n instead, which is the next one only where n divides 1000. Song et al. 2020, equation
    12 with σ = 0.
    """

    def step(self, model_output: Tensor, timestep: Any, sample: Tensor, return_dict: bool = True) -> Any:
        """One step; `sample` and `model_output` (N, C, h, w)."""
        at = int((self.timesteps == timestep).nonzero()[0])
        left = at + 1 < len(self.timesteps)
        alpha = self.alphas_cumprod[int(timestep)]
        following = self.alphas_cumprod[int(self.timesteps[at + 1])] if left else self.final_alpha_cumprod
        if self.config.prediction_type == "epsilon":
            noise = model_output
            denoised = (sample - (1 - alpha) ** 0.5 * noise) / alpha**0.5
        elif self.config.prediction_type == "v_prediction":
            denoised = alpha**0.5 * sample - (1 - alpha) ** 0.5 * model_output
            noise = alpha**0.5 * model_output + (1 - alpha) ** 0.5 * sample
        else:
            denoised = model_output
            noise = (sample - alpha**0.5 * denoised) / (1 - alpha) ** 0.5
        before = following**0.5 * denoised + (1 - following) ** 0.5 * noise
        return DDIMSchedulerOutput(before, denoised) if return_dict else (before, denoised)


def make_scheduler(name: str, config: Mapping[str, Any], steps: int = 1) -> Any:
    """A fresh scheduler for one request.

    Args:
        name: one of `types.SAMPLERS`.
        config: the base's scheduler config; only its noise schedule is taken over, never another sampler's switches.
        steps: how many it will be asked for.
    """
    schedule = {key: config[key] for key in _TAKEN_OVER if key in config}
    if schedule.get("rescale_betas_zero_snr"):
        # Without the last timestep a model of zero terminal SNR never starts from noise.
        schedule["timestep_spacing"] = "trailing"
    if steps > LEADING and (name == "ddim" or schedule.get("timestep_spacing") == "leading"):
        # DDIM is "leading" where its config says nothing.
        schedule["timestep_spacing"] = "trailing"
    if name in ("dpmpp_2m", "dpmpp_2m_karras"):
        options = {"algorithm_type": "dpmsolver++", "solver_order": 2, "final_sigmas_type": "zero"}
        if name == "dpmpp_2m":
            return DPMSolverMultistepScheduler(**schedule, **options)
        return KarrasFromNoise(**schedule, **options, use_karras_sigmas=True)
    if name == "euler":
        return EulerFromNoise(**schedule)
    if name == "euler_a":
        return EulerAncestralDiscreteScheduler(**schedule)
    if name == "ddim":
        # set_alpha_to_one ends the last step at the picture itself, as the other samplers do.
        kind = DDIMToTheEnd if steps > LEADING else DDIMScheduler
        return kind(**schedule, clip_sample=False, set_alpha_to_one=True)
    raise ValueError(f"no sampler is called {name!r}")


def set_steps(scheduler: Any, steps: int, device: torch.device) -> None:
    """Give a fresh scheduler its timesteps, exactly `steps` of them.

    diffusers makes "trailing" ones by numpy's arange(1000, 0, -1000 / n), whose rounding yields one more for some n
    (61, 103, 121 ...): the timestep -1, for which DDIM reads the noisiest alpha of all.
    """
    scheduler.set_timesteps(steps, device=device)
    if len(scheduler.timesteps) > steps:
        scheduler.timesteps = scheduler.timesteps[:steps]
        scheduler.num_inference_steps = steps
        if hasattr(scheduler, "sigmas"):
            scheduler.sigmas = torch.cat([scheduler.sigmas[:steps], scheduler.sigmas[-1:]])
