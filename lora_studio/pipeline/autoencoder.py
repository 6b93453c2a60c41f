"""Pictures to latents and back, and a cheap look at latents.

Latents here are always scaled as the UNet sees them. The look is a linear map fitted to the base's own
autoencoder (least squares over pictures of soft colours): decoding at every step would double the time on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from lora_studio.pipeline.device import Precision


def dtype_of(config: Mapping[str, Any], precision: Precision) -> torch.dtype:
    """The numbers to hold an autoencoder of this `config` in: float32 where float16 would overflow (`force_upcast`).

    Stable Diffusion XL's does, and its pictures come out black.
    """
    overflows = precision.weights == torch.float16 and bool(config.get("force_upcast", False))
    return torch.float32 if overflows else precision.weights


class Autoencoder:
    """The base's AutoencoderKL with its scaling."""

    def __init__(self, vae: AutoencoderKL, precision: Precision) -> None:
        self.vae = vae
        self._precision = precision
        self._map: Tensor | None = None

    @property
    def factor(self) -> int:
        """Pixels per latent along a side."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents (N, C, H/f, W/f) float32 of pictures (N, 3, H, W) in -1..1; the mean of the posterior, no draw."""
        with self._precision.inference():
            latents: Tensor = self.vae.encode(pixels.to(self.vae.device, self.vae.dtype)).latent_dist.mean
        shift = self.vae.config.shift_factor or 0.0
        return (latents.float() - shift) * float(self.vae.config.scaling_factor)

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in -1..1, float32 on the CPU, of latents (N, C, H/f, W/f)."""
        shift = self.vae.config.shift_factor or 0.0
        raw = latents.float() / self.vae.config.scaling_factor + shift
        with self._precision.inference():
            pixels: Tensor = self.vae.decode(raw.to(self.vae.device, self.vae.dtype)).sample
        return pixels.float().cpu()

    def fit_look(self) -> None:
        """Fit the linear map from latents to colours; one encoding of eight small pictures."""
        if self._map is None:
            side = 8 * self.factor
            generator = torch.Generator().manual_seed(0)
            coarse = torch.rand(8, 3, 4, 4, generator=generator) * 2 - 1
            pixels = F.interpolate(coarse, size=(side, side), mode="bicubic").clamp(-1, 1)
            latents = self.encode(pixels).cpu()
            colours = F.avg_pool2d(pixels, self.factor)
            a = latents.permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
            a = torch.cat([a, torch.ones(len(a), 1)], dim=1)
            b = colours.permute(0, 2, 3, 1).reshape(-1, 3)
            # Ridge: eight pictures must not fit noise into directions they hardly use.
            self._map = torch.linalg.solve(a.T @ a + 1e-2 * torch.eye(a.shape[1]), a.T @ b)

    def look(self, latents: Tensor) -> Tensor:
        """Colours (N, 3, h, w) in -1..1 on the CPU, one pixel per latent; `fit_look` comes first."""
        if self._map is None:
            raise RuntimeError("fit_look comes before look")
        channels_last = latents.float().cpu().permute(0, 2, 3, 1)
        return (channels_last @ self._map[:-1] + self._map[-1]).permute(0, 3, 1, 2).clamp(-1, 1)
