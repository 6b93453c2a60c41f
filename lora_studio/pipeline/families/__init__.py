"""One object per kind of base, holding what differs between kinds; `family_of` picks it."""

from lora_studio.pipeline.families.family import Family
from lora_studio.pipeline.families.stable_diffusion import StableDiffusion, family_of

__all__ = ["Family", "StableDiffusion", "family_of"]
