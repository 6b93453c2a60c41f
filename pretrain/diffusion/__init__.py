"""Training of UNet and text encoder on the painter's pictures as latents."""

from pretrain.diffusion.job import DiffusionJob, train

__all__ = ["DiffusionJob", "train"]
