"""The reader's network, the spoiled latents that it learns from, and the loss that it gives to a diffusion.

Learning from what a network sees instead of single numbers follows Johnson et al. 2016 (perceptual losses) and Lin and
Yang 2024 (https://arxiv.org/abs/2401.00110), who read a diffusion's own prediction of the picture. Here the network
reads what the words say, so that a small thing with a name, as the colour of an eye, counts as much as a wall.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 8
RARE = -4.0  # logit of a label at first: most captions lack most tags


class Block(nn.Module):
    """Two 3 x 3 convolutions with group norm (no statistics of a batch) beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.first_norm = nn.GroupNorm(GROUPS, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.second_norm = nn.GroupNorm(GROUPS, outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        inner = F.silu(self.first_norm(self.first(x)))
        out: Tensor = F.silu(self.shortcut(x) + self.second_norm(self.second(inner)))
        return out


class Reader(nn.Module):
    """Latents in units of standard deviation (n, channels, h, w) to logits (n, labels)."""

    def __init__(self, channels: int, labels: int, widths: tuple[int, ...] = (64, 96, 160)) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, widths[0], 3, 1, 1)
        blocks = [Block(widths[0], widths[0])]
        for narrow, wide in itertools.pairwise(widths):
            blocks += [Block(narrow, wide, 2), Block(wide, wide)]
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Linear(2 * widths[-1], labels)
        nn.init.constant_(self.out.bias, RARE)

    def forward(self, latents: Tensor) -> Tensor:
        """Logits of every label."""
        y = self.blocks(F.silu(self.conv_in(latents)))
        logits: Tensor = self.out(torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1))
        return logits


def spoiled(latents: Tensor, source: torch.Generator) -> Tensor:
    """Latents as a diffusion predicts them from noise: half as they are, the rest blurred, paler and noisy.

    Blur: a share of up to 1 of the mean of 3 x 3 and of 5 x 5 places; contrast 0.5 to 1; noise up to 0.5.
    """
    count, device = len(latents), latents.device

    def drawn() -> Tensor:
        return torch.rand(count, 1, 1, 1, generator=source, device=device)

    spoil = (drawn() < 0.5).float()
    near = F.avg_pool2d(latents, 3, 1, 1, count_include_pad=False)
    far = F.avg_pool2d(latents, 5, 1, 2, count_include_pad=False)
    x = latents.lerp(near.lerp(far, drawn() * drawn()), spoil * drawn())
    noise = torch.randn(latents.shape, generator=source, device=device)
    return x * (1 - 0.5 * spoil * drawn()) + 0.5 * spoil * drawn() * noise


def reading_loss(reader: Reader, found: Tensor, true: Tensor) -> Tensor:
    """(n,) how differently two latents (n, channels, h, w) read; 0 where they read the same.

    The Kullback-Leibler divergence of what the reader says of `found` from what it says of `true`, in nats, summed over
    its labels, each a yes or no. `true` gives no gradient.
    """
    with torch.no_grad():
        said = reader(true).float()
        wanted = said.sigmoid()
        # By the logits: what takes probabilities is refused by autocast on CUDA.
        least = F.binary_cross_entropy_with_logits(said, wanted, reduction="none")
    told = F.binary_cross_entropy_with_logits(reader(found).float(), wanted, reduction="none")
    return (told - least).sum(1)
