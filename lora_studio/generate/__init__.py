"""A picture is a generator: request in, one denoising step per turn, pictures out. It does not know training."""

from lora_studio.generate.denoise import PictureTask, denoise
from lora_studio.generate.job import generate
from lora_studio.generate.picture import Picture
from lora_studio.generate.samplers import make_scheduler

__all__ = ["Picture", "PictureTask", "denoise", "generate", "make_scheduler"]
