"""The judge's network: a small residual CNN (He et al. 2015) with one linear head per question.

It knows shapes of tensors only, not what the heads mean.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT_SIZE = 112  # pixels; pictures of any other size are scaled to it


class Block(nn.Module):
    """Two 3 x 3 convolutions with batch norm beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, stride, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.shortcut(x) + self.second_norm(self.second(inner)))


class JudgeNetwork(nn.Module):
    """Pictures in, one row of logits per head out."""

    def __init__(self, classes: dict[str, int], widths: tuple[int, int, int, int] = (32, 48, 96, 160)) -> None:
        super().__init__()
        a, b, c, d = widths
        self.classes = dict(classes)
        self.stem = nn.Conv2d(3, a, 4, 2, 1)
        self.blocks = nn.Sequential(Block(a, b, 2), Block(b, c, 2), Block(c, c), Block(c, d, 2), Block(d, d))
        self.out = nn.Linear(2 * d, sum(classes.values()))
        for kernel in self.parameters():  # the layout in which convolutions are fastest on a CPU
            if kernel.ndim == 4:
                kernel.data = kernel.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """x: (n, 3, 112, 112) in -1 to 1. Returns the logits (n, classes) by head."""
        y = self.blocks(F.relu(self.stem(x)))
        pooled = torch.cat([y.mean((2, 3)), y.amax((2, 3))], 1)
        rows = self.out(pooled).split(list(self.classes.values()), 1)
        return dict(zip(self.classes, rows, strict=True))


def prepare(images: Tensor) -> Tensor:
    """uint8 (n, h, w, 3) to float (n, 3, 112, 112) in -1 to 1."""
    x = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    if x.shape[2:] != (INPUT_SIZE, INPUT_SIZE):
        x = F.interpolate(x, size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True, align_corners=False)
    return x.contiguous(memory_format=torch.channels_last)
