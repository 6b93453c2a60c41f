"""How many singular values are enough: by a fixed rank, by a share of the energy, by a ratio to the largest.

The rules are those of kohya's `resize_lora.py` by their definitions (sv_ratio, sv_fro, sv_cumulative), without its
habit of never keeping all of them. Energy is the square of a singular value: ‖ΔW‖² is their sum. It knows numbers only.

Source: the definitions in kohya-ss/sd-scripts, docs/train_network_README (resize_lora), and Eckart and Young 1936: the
best approximation of a rank keeps the largest singular values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Rule = Literal["rank", "sv_ratio", "sv_fro", "sv_cumulative"]
RULES: tuple[Rule, ...] = ("rank", "sv_ratio", "sv_fro", "sv_cumulative")


@dataclass(frozen=True)
class Target:
    """What a layer is cut to.

    Attributes:
        rule: rank: exactly `rank` where the layer has that many. sv_ratio: keep what is at least the largest divided by
            `value` (1 or more). sv_fro: the fewest that hold `value` (0 to 1) of ‖ΔW‖. sv_cumulative: the fewest
            whose sum is `value` (0 to 1) of the sum of all.
        value: see `rule`; unused by rank.
        rank: the rank, or under another rule the most that a layer may have; None: no limit.
        conv_rank: the same for convolutions of more than one pixel; None: as `rank`.
    """

    rule: Rule = "rank"
    value: float = 0.0
    rank: int | None = None
    conv_rank: int | None = None

    def keep(self, values: Tensor, *, spatial: bool = False) -> int:
        """How many of the (k,) descending singular `values` to keep: 1 to k.

        Args:
            spatial: True for a convolution whose kernel is larger than 1x1.
        """
        most = self.most(len(values), spatial=spatial)
        return most if self.rule == "rank" else max(1, min(needed(values, self.rule, self.value), most))

    def most(self, count: int, *, spatial: bool = False) -> int:
        """How many of `count` singular values may be kept at most, at least 1."""
        limit = self.conv_rank if spatial and self.conv_rank is not None else self.rank
        return max(1, count if limit is None else min(count, limit))


def needed(values: Tensor, rule: Rule, value: float) -> int:
    """How many of the (k,) descending singular `values` a rule asks for, at least 1."""
    if len(values) == 0 or float(values[0]) == 0.0:
        return 1
    if rule == "sv_ratio":
        return int((values >= values[0] / value).sum())
    powered = values.square() if rule == "sv_fro" else values
    share = value**2 if rule == "sv_fro" else value
    return _fewest(powered, share)


def rank_for_energy(values: Tensor, share: float) -> int:
    """The fewest of the (k,) descending singular `values` that hold `share` (0 to 1) of the energy; 0 for no change."""
    if len(values) == 0 or float(values[0]) == 0.0:
        return 0
    return _fewest(values.square(), share)


def _fewest(parts: Tensor, share: float) -> int:
    """The fewest leading `parts` whose sum reaches `share` of all; what rounding hides (1e-12) is no part."""
    total = torch.cumsum(parts.double(), 0)
    return min(len(parts), int((total < total[-1] * (share - 1e-12)).sum()) + 1)


def retained(values: Tensor, rank: int) -> float:
    """The share (0 to 1) of the energy that the first `rank` of the (k,) `values` hold; 1 where there is none."""
    energy = values.square()
    whole = float(energy.sum())
    return 1.0 if whole == 0.0 else float(energy[:rank].sum()) / whole
