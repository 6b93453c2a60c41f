"""One object per kind of base, holding what differs between kinds; `family_of` picks it."""

from __future__ import annotations

from typing import Any

from lora_studio.pipeline.device import Precision
from lora_studio.pipeline.families import stable_diffusion, stable_diffusion_xl
from lora_studio.pipeline.families.family import Family
from lora_studio.pipeline.families.stable_diffusion import StableDiffusion
from lora_studio.pipeline.families.stable_diffusion_xl import StableDiffusionXL
from lora_studio.pipeline.parts import Parts
from lora_studio.pipeline.slots import AdapterSlots

__all__ = ["Family", "StableDiffusion", "StableDiffusionXL", "family_of"]


def family_of(parts: Parts, slots: AdapterSlots, precision: Precision, card: dict[str, Any]) -> Family:
    """The family of a base.

    Args:
        card: what the base says of itself (`lora_studio.json`), {} where it says nothing.
    """
    if len(parts.texts) == 2:
        return stable_diffusion_xl.build(parts, slots, precision, card)
    return stable_diffusion.build(parts, slots, precision, card)
