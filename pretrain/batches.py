"""Which pictures a step sees: every picture once an epoch, each epoch in another order, some of them mirrored.

A batch is a function of (seed, step). It knows neither pictures nor latents.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pretrain.randomness import numbers, order


class Order:
    """The numbers of the pictures of each step."""

    def __init__(self, count: int, batch: int, seed: int, mirrored: float = 0.5) -> None:
        self._count, self._batch, self._seed, self._mirrored = count, batch, seed, mirrored
        self._epochs: dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]] = {}

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """(indices, mirrored), int64 (batch,) each; a batch may reach into the next epoch."""
        places = np.arange(step * self._batch, (step + 1) * self._batch)
        epochs = places // self._count
        for gone in [epoch for epoch in self._epochs if epoch < epochs[0]]:
            del self._epochs[gone]
        for epoch in np.unique(epochs):
            if int(epoch) not in self._epochs:
                self._epochs[int(epoch)] = order(self._seed, int(epoch), self._count)
        indices = [self._epochs[int(epoch)][place % self._count] for epoch, place in zip(epochs, places, strict=True)]
        sides = numbers(self._seed, step, "mirrored").random(self._batch) < self._mirrored
        return torch.from_numpy(np.array(indices, np.int64)), torch.from_numpy(sides.astype(np.int64))
