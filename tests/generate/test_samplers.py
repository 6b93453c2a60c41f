"""`lora_studio.generate.samplers`: the samplers against diffusers' own classes, and any number of steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor

from lora_studio.generate.samplers import LEADING, make_scheduler, set_steps
from lora_studio.types import SAMPLERS
from tests.support.schedulers import THEIRS

CPU = torch.device("cpu")
SD1 = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
"""As the config of Stable Diffusion 1.5 has it, which names no spacing."""
SDXL = SD1 | {"timestep_spacing": "leading"}
ZERO = SD1 | {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
TOO_MANY = (103, 201, 998)
"""Numbers of steps for which numpy's arange has one element more."""


def ready(sampler: str, config: dict[str, Any], steps: int) -> Any:
    scheduler = make_scheduler(sampler, config, steps)
    set_steps(scheduler, steps, CPU)
    return scheduler


@pytest.mark.parametrize("config", [SD1, SDXL, ZERO], ids=["sd1", "sdxl", "zero"])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 7, 20, 50])
def test_timesteps_and_sigmas_are_diffusers(sampler: str, config: dict[str, Any], steps: int) -> None:
    """Made by their class from the base's config; only Karras from a terminal sigma of thousands is ours alone."""
    kind, options = THEIRS[sampler]
    theirs, ours = kind.from_config(config, **options), ready(sampler, config, steps)
    theirs.set_timesteps(steps)
    if sampler == "dpmpp_2m_karras" and config is ZERO and steps > 1:
        assert float(ours.sigmas[1]) < 21 < float(theirs.sigmas[1])
        return
    assert torch.equal(ours.timesteps, theirs.timesteps)
    if hasattr(theirs, "sigmas"):
        assert torch.allclose(ours.sigmas, theirs.sigmas)
    assert float(ours.init_noise_sigma) == pytest.approx(float(theirs.init_noise_sigma))


@pytest.mark.parametrize("config", [SD1, SDXL, ZERO], ids=["sd1", "sdxl", "zero"])
@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [LEADING + 1, 150, 600, 1000, *TOO_MANY])
def test_many_steps_begin_at_noise_and_end_at_the_picture(sampler: str, config: dict[str, Any], steps: int) -> None:
    """DDIM with 600 steps began at timestep 600, with 1000 it read beyond the schedule; DPM++ 2M with 200 steps of SDXL
    began at 801; and of "trailing" steps some numbers had one more, at timestep -1."""
    scheduler = ready(sampler, config, steps)
    places = scheduler.timesteps.double()
    assert len(places) == steps
    assert float(places[0]) >= 990
    assert float(places[-1]) >= 0
    assert bool((places.diff() <= 0).all())
    if hasattr(scheduler, "sigmas"):
        assert len(scheduler.sigmas) == steps + 1
        assert float(scheduler.sigmas[-1]) == 0


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_trailing_steps_are_as_many_as_asked(sampler: str) -> None:
    """Of 61 there were 62; DDIM then read the alpha of pure noise for timestep -1, and the picture was no numbers."""
    scheduler = ready(sampler, ZERO, 61)
    assert len(scheduler.timesteps) == scheduler.num_inference_steps == 61
    assert float(scheduler.timesteps[-1]) >= 0
    x = torch.ones(1, 4, 8, 8) * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        scheduler.scale_model_input(x, timestep)
        x = scheduler.step(torch.zeros_like(x), timestep, x, return_dict=False)[0]
    assert bool(x.isfinite().all())


def followed(scheduler: Any, config: dict[str, Any], start: Tensor, picture: Tensor) -> Tensor:
    """The latents after all steps with a model that knows the picture."""
    x = start
    for timestep in scheduler.timesteps:
        alpha = scheduler.alphas_cumprod[int(timestep)].double()
        noise = (x - alpha**0.5 * picture) / (1 - alpha) ** 0.5
        v = alpha**0.5 * noise - (1 - alpha) ** 0.5 * picture
        said = v if config.get("prediction_type") == "v_prediction" else noise
        x = scheduler.step(said, timestep, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("config", [SD1, ZERO], ids=["sd1", "zero"])
@pytest.mark.parametrize("steps", [103, 150, 700, 1000])
def test_ddim_of_many_steps_ends_at_what_the_model_says(config: dict[str, Any], steps: int) -> None:
    """Each step must lead to where the next one begins: noise of the right amount at every timestep."""
    generator = torch.Generator().manual_seed(0)
    picture, noise = (torch.randn(1, 4, 8, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    scheduler = ready("ddim", config, steps)
    seen: list[float] = []
    plain = scheduler.step

    def step(said: Tensor, timestep: Any, x: Tensor, **options: Any) -> Any:
        alpha = scheduler.alphas_cumprod[int(timestep)].double()
        wanted = alpha**0.5 * picture + (1 - alpha) ** 0.5 * noise
        seen.append(float((x - wanted).abs().max()))
        return plain(said, timestep, x, **options)

    scheduler.step = step
    alpha = scheduler.alphas_cumprod[int(scheduler.timesteps[0])].double()
    found = followed(scheduler, config, alpha**0.5 * picture + (1 - alpha) ** 0.5 * noise, picture)
    assert len(seen) == steps
    assert max(seen) < 1e-3
    assert float((found - picture).abs().max()) < 1e-3


@pytest.mark.parametrize("config", [SD1, ZERO], ids=["epsilon", "v"])
def test_ddim_of_many_steps_equals_diffusers_where_both_are_right(config: dict[str, Any]) -> None:
    """200 divides 1000, so that diffusers' way to the timestep before is ours."""
    ours = ready("ddim", config, 200)
    theirs = DDIMScheduler.from_config(config | {"timestep_spacing": "trailing"}, clip_sample=False)
    theirs.set_timesteps(200)
    assert torch.equal(ours.timesteps, theirs.timesteps)
    generator = torch.Generator().manual_seed(0)
    a = b = torch.randn(1, 4, 8, 8, generator=generator)
    for timestep in ours.timesteps:
        said = torch.randn(a.shape, generator=generator)
        a, b = ours.step(said, timestep, a).prev_sample, theirs.step(said, timestep, b).prev_sample
        assert (a - b).abs().max() <= 1e-4 * b.abs().max()


def test_a_name_that_is_none() -> None:
    with pytest.raises(ValueError, match="no sampler"):
        make_scheduler("heun", SD1)
