"""diffusers' own classes of the samplers, so that a comparison has another side than ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
)

from lora_studio.generate.samplers import make_scheduler

THEIRS: dict[str, tuple[Any, dict[str, Any]]] = {
    "dpmpp_2m": (DPMSolverMultistepScheduler, {}),
    "dpmpp_2m_karras": (DPMSolverMultistepScheduler, {"use_karras_sigmas": True}),
    "euler": (EulerDiscreteScheduler, {}),
    "euler_a": (EulerAncestralDiscreteScheduler, {}),
    "ddim": (DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": True}),
}
"""The class of each sampler, and what people set on it."""


def reference(sampler: str, config: Mapping[str, Any]) -> Any:
    """diffusers' own class of a sampler, from the base's config; ours where it is meant to be another one.

    From zero terminal SNR our Karras spacing is our own, and Euler's step is written so as to lose no digits to a sigma
    of thousands (`tests/generate/test_samplers.py` compares its sigmas, `test_euler_step_equals_diffusers` the step).
    """
    if config.get("rescale_betas_zero_snr") and sampler in ("dpmpp_2m_karras", "euler"):
        return make_scheduler(sampler, config)
    kind, options = THEIRS[sampler]
    return kind.from_config(dict(config), **options)
