"""How far a decoded picture is from the true one, and PSNR. It knows pictures only, in -1 to 1."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from pretrain.recipe import AutoencoderLoss


def picture_loss(found: Tensor, true: Tensor, weights: AutoencoderLoss) -> Tensor:
    """Weighted sum of the parts of `AutoencoderLoss` but the latents'. found, true: (n, 3, h, w); returns a scalar.

    Chroma has a part of its own because a network with norm groups learns colours last.
    """
    error = found - true
    luma = 0.299 * error[:, 0] + 0.587 * error[:, 1] + 0.114 * error[:, 2]
    chroma = (error[:, 2] - luma).abs().mean() + (error[:, 0] - luma).abs().mean()
    down, across = error[..., 1:, :] - error[..., :-1, :], error[..., 1:] - error[..., :-1]
    return (
        weights.absolute * error.abs().mean()
        + weights.squared * error.square().mean()
        + weights.gradient * (down.abs().mean() + across.abs().mean())
        + weights.chroma * chroma
        + weights.pooled * F.avg_pool2d(error, 8).abs().mean()
    )


def psnr(found: Tensor, true: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over all pixels of all pictures (n, 3, h, w), of -1 to 1; clipped as saved."""
    error = float((found.clamp(-1, 1) - true).div(2).square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)


def mean_psnr(found: Tensor, true: Tensor) -> float:
    """Mean of the `psnr` of each picture (n, 3, h, w): plain pictures lift it, which over all pixels they hardly do."""
    return sum(psnr(one, other) for one, other in zip(found, true, strict=True)) / len(true)
