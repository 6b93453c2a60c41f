"""Merging several tensors into one: weighted sum, magnitude pruning, TIES and DARE.

The arithmetic is that of the papers as `peft.utils.merge_utils` defines it, ties of sign included, so that a file made
here equals one made by peft's `add_weighted_adapter`. Randomness comes from a generator that is handed in, never from
the global one. It does not know what the tensors are: rank factors, or ΔW itself.

Source: Yadav et al. 2023, TIES-Merging, arXiv 2306.01708 (trim, elect sign, disjoint merge); Yu et al. 2023, DARE,
arXiv 2311.03099 (drop and rescale).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

Sparse = Literal["linear", "magnitude_prune", "ties", "dare_linear", "dare_ties"]
SPARSE: tuple[Sparse, ...] = ("linear", "magnitude_prune", "ties", "dare_linear", "dare_ties")
Election = Literal["total", "frequency"]


def merge(
    method: Sparse,
    tensors: Sequence[Tensor],
    weights: Sequence[float],
    density: float,
    election: Election = "total",
    generator: torch.Generator | None = None,
) -> Tensor:
    """One tensor of several.

    Args:
        tensors: of one shape, one for each adapter.
        weights: what each counts; any number.
        density: the share of values that is kept, above 0 up to 1; linear keeps all.
        election: whether the sign of a place is that of the sum (total) or of most tensors (frequency).
        generator: draws which values dare drops.
    """
    kept = [_thin(method, tensor, density, generator) for tensor in tensors]
    stack = torch.stack(kept)
    scale = torch.tensor(list(weights), dtype=stack.dtype).reshape(-1, *[1] * (stack.ndim - 1))
    if method not in ("ties", "dare_ties"):
        return (stack * scale).sum(0)
    elected = torch.where((stack if election == "total" else stack.sign()).sum(0) >= 0, 1.0, -1.0)
    agreeing = stack.sign() == elected
    return (stack * scale * agreeing).sum(0) / agreeing.sum(0).clamp(min=1)


def _thin(method: Sparse, tensor: Tensor, density: float, generator: torch.Generator | None) -> Tensor:
    """The tensor with its smallest values (or random ones, the rest made larger for them) set to 0."""
    if method == "linear" or density >= 1:
        return tensor
    if method in ("ties", "magnitude_prune"):
        flat = tensor.reshape(-1)
        place = flat.abs().topk(int(density * flat.numel())).indices
        return torch.zeros_like(flat).scatter(0, place, flat[place]).reshape(tensor.shape)
    mask = torch.bernoulli(torch.full_like(tensor, density), generator=generator)
    return tensor * mask / density
