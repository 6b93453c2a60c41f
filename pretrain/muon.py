"""Muon: momentum orthogonalised by a Newton-Schulz iteration (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/).

Kernels are taken as matrices (out, in * height * width), the columns in the order in which they lie in memory; those of
one shape go through the iteration as one batch. Which parameters it suits it does not know; `pretrain.trainer` does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # the post's quintic: singular values go to about 0.7 to 1.2


class Muon(torch.optim.Optimizer):
    """For parameters of two or more dimensions.

    Args:
        params: the parameters, or groups of them.
        lr: rate; an update has about this size in every direction, times sqrt(rows / columns) if that is above 1.
        momentum: 0 to 1, Nesterov's form.
        weight_decay: times lr, off every step.
        iterations: of Newton-Schulz.
        dtype: numbers of the iteration; bf16 suffices where the device is fast at it.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        iterations: int = 5,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "iterations": iterations}
        super().__init__(params, defaults)
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One update from the gradients; parameters without a gradient stay."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            grads = [p.grad for p in params]
            for p in params:
                if "momentum" not in self.state[p]:
                    self.state[p]["momentum"] = torch.zeros_like(p)
            buffers = [self.state[p]["momentum"] for p in params]
            torch._foreach_lerp_(buffers, grads, 1 - group["momentum"])
            updates = torch._foreach_lerp(grads, buffers, group["momentum"])
            if group["weight_decay"]:
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            self._apply(params, list(updates), group)

    def _apply(self, params: list[Tensor], updates: list[Tensor], group: dict[str, Any]) -> None:
        """Orthogonalises the updates, those of one shape together, and takes them off."""
        shapes: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for p, update in zip(params, updates, strict=True):
            shapes.setdefault((p.shape[0], p[0].numel()), []).append((p, update))
        for (rows, columns), members in shapes.items():
            matrices = torch.empty(len(members), rows, columns, dtype=self._dtype, device=members[0][0].device)
            for matrix, (p, update) in zip(matrices, members, strict=True):
                matrix.copy_(_ordered(update, p).flatten(1))
            tall = rows > columns
            found = orthogonalise(matrices.mT if tall else matrices, group["iterations"])
            size = max(1.0, rows / columns) ** 0.5
            for (p, _), matrix in zip(members, found.mT if tall else found, strict=True):
                mine = _ordered(p, p)
                mine.add_(matrix.reshape(mine.shape), alpha=-group["lr"] * size)


def _ordered(tensor: Tensor, like: Tensor) -> Tensor:
    """A view with the dimensions in the order in which a parameter lies in memory.

    It orders a matrix's columns, of which orthogonalising knows no order; turning kernels to another layout costs.
    """
    if like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1)
    return tensor


def orthogonalise(matrices: Tensor, iterations: int = 5) -> Tensor:
    """(n, rows, columns) with rows <= columns to the nearest matrices with singular values near 1, in their numbers."""
    a, b, c = COEFFICIENTS
    x: Tensor = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x
