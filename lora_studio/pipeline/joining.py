"""The changes of one layer by several adapters, joined for one call: factors along the rank, the rest by kind.

Changes that depend on the base's weight are bound to it here, in float32. It does not know weights of mixes or calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lora_studio.adapters.binding import Primitive, bind
from lora_studio.adapters.canonical import Dense, Gain, Kronecker, LayerChange, LowRank, Rotation, tensors_of

Stacked = tuple[Tensor, Tensor]
"""(adapters with one, n) vectors, and (adapters with one,) index of whose each is."""


@dataclass(frozen=True, eq=False)
class Joined:
    """What all adapters of a set do to one layer, without their weights.

    Attributes:
        down: (ranks joined, in, ...) or None where no adapter has factors; up: (out, ranks joined, ...).
        columns: (ranks joined,) index into the set's adapters, for each rank.
        bias: differences of the bias, each (out,).
        scale: of a norm, differences of its weight, each (out,).
        gain_out, gain_in: gains, each (out,) or (in,).
        dense, products, rotations: index of the adapter, and what it does.
        nbytes: bytes that the adapters do not hold already.
    """

    down: Tensor | None
    up: Tensor | None
    columns: Tensor
    bias: Stacked | None
    scale: Stacked | None
    gain_out: Stacked | None
    gain_in: Stacked | None
    dense: tuple[tuple[int, Tensor], ...]
    products: tuple[tuple[int, Kronecker], ...]
    rotations: tuple[tuple[int, Rotation], ...]
    nbytes: int


def join_layer(changes: Sequence[LayerChange | None], module: nn.Module) -> Joined:
    """Join the changes of one layer, one for each adapter of the set (None where it has none).

    One adapter alone is used where it lies: no second copy of its factors, and a live one stays live.
    """
    weight: Tensor = module.weight  # type: ignore[assignment]
    device = weight.device
    bound: list[tuple[int, Primitive]] = []
    for column, change in enumerate(changes):
        if change is not None:
            bound += [(column, _fitting(primitive, module)) for primitive in bind(change, weight)]
    factors = [(column, p) for column, p in bound if isinstance(p, LowRank) and p.rank]
    downs = [p.down.detach().to(device) for _, p in factors]
    ups = [p.up.detach().to(device) for _, p in factors]
    columns = [column for column, p in factors for _ in range(p.rank)]
    down = None if not downs else downs[0] if len(downs) == 1 else torch.cat(downs)
    up = None if not ups else ups[0] if len(ups) == 1 else torch.cat(ups, dim=1)
    vectors = {
        "bias": [(c, p.delta_bias) for c, p in bound if p.delta_bias is not None],
        "scale": [(c, p.delta_weight) for c, p in bound if isinstance(p, Dense) and weight.dim() == 1],
        "gain_out": [(c, p.gain) for c, p in bound if isinstance(p, Gain) and p.axis == "out"],
        "gain_in": [(c, p.gain) for c, p in bound if isinstance(p, Gain) and p.axis == "in"],
    }
    stacks = {name: _stacked(found, device) for name, found in vectors.items()}
    products = tuple(
        (c, Kronecker(p.first.to(device), p.second.to(device))) for c, p in bound if isinstance(p, Kronecker)
    )
    whole = [(c, p) for c, p in bound if isinstance(p, Dense) and not isinstance(p, Kronecker) and weight.dim() > 1]
    dense = tuple((c, p.delta_weight.to(device)) for c, p in whole)
    rotations = tuple((c, Rotation(p.blocks.to(device), p.axis)) for c, p in bound if isinstance(p, Rotation))
    held = {t.data_ptr() for change in changes if change is not None for t in tensors_of(change)}
    made = [down, up, *(s[0] for s in stacks.values() if s), *(d for _, d in dense), *(r.blocks for _, r in rotations)]
    made += [half for _, product in products for half in (product.first, product.second)]
    return Joined(
        down=down,
        up=up,
        columns=torch.tensor(columns, dtype=torch.long, device=device),
        **stacks,
        dense=dense,
        products=products,
        rotations=rotations,
        nbytes=sum(t.numel() * t.element_size() for t in made if t is not None and t.data_ptr() not in held),
    )


def _fitting(primitive: Primitive, module: nn.Module) -> Primitive:
    """Factors of a grouped convolution as their difference: its groups do not share their inputs."""
    split = (isinstance(primitive, LowRank) and primitive.rank) or isinstance(primitive, Kronecker)
    if split and isinstance(primitive, LowRank | Dense) and isinstance(module, nn.Conv2d) and module.groups > 1:
        return Dense(primitive.delta(), primitive.delta_bias)
    return primitive


def _stacked(vectors: Sequence[tuple[int, Tensor]], device: torch.device) -> Stacked | None:
    """Vectors of several adapters as one table, None for none."""
    if not vectors:
        return None
    rows = torch.stack([vector.detach().float().flatten().to(device) for _, vector in vectors])
    return rows, torch.tensor([column for column, _ in vectors], dtype=torch.long, device=device)
