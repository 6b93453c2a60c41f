"""How large a file of the workbench will be, told from the headers of what it is made of. It reads no tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lora_studio.headers.factors import Factors, Pair
from lora_studio.types.workbench import BakeRequest, CombineRequest, ConvertRequest, ResizeRequest, ToolRequest

_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
_HEADER = 3 * 75
"""Bytes of a header for each layer beside three times its name: two factors and an alpha."""


@dataclass(frozen=True)
class Planned:
    """Bytes of a file to be made, the most that it may have where `most`."""

    size: int
    most: bool


def planned(request: ToolRequest, sources: Sequence[Factors | None]) -> Planned | None:
    """What a request will come to; None where that cannot be told before.

    Args:
        sources: of each file that the request names, in its order.
    """
    known = [one for one in sources if one is not None]
    if len(known) < len(sources) or not known:
        return None
    if isinstance(request, CombineRequest):
        return _combined(request, known)
    if isinstance(request, ResizeRequest):
        rule = request.rule

        def rank(pairs: Sequence[Pair]) -> int:
            limit = rule.conv_rank if pairs[0].spatial and rule.conv_rank is not None else rule.rank
            return pairs[0].rank if limit is None else min(limit, pairs[0].rank)

        return _summed(known, rank, request.dtype, most=rule.rule[0] != "rank")
    if isinstance(request, ConvertRequest | BakeRequest):
        return _summed(known, lambda pairs: pairs[0].rank, request.dtype, most=False)
    return None


def _combined(request: CombineRequest, sources: Sequence[Factors]) -> Planned:
    """cat has the sum of the ranks, the others the largest or the one that was asked for."""
    if request.method == "cat":
        return _summed(sources, lambda pairs: sum(pair.rank for pair in pairs), request.dtype, most=False)
    cut = request.method.endswith("svd")

    def rank(pairs: Sequence[Pair]) -> int:
        largest = max(pair.rank for pair in pairs)
        if not cut or request.rank is None:
            return largest
        return min(request.rank, sum(pair.rank for pair in pairs)) if request.method == "svd" else request.rank

    return _summed(sources, rank, request.dtype, most=cut)


def _summed(sources: Sequence[Factors], rank: Callable[[Sequence[Pair]], int], dtype: str, most: bool) -> Planned:
    layers: dict[str, list[Pair]] = {}
    for source in sources:
        for name, pair in source.pairs.items():
            layers.setdefault(name, []).append(pair)
    numbers = sum(one.others for one in sources) + sum(rank(pairs) * pairs[0].each for pairs in layers.values())
    header = sum(_HEADER + 3 * len(name) for name in layers)
    return Planned(numbers * _BYTES[dtype] + header, most or any(one.others for one in sources))
