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

        def cut(pairs: Sequence[Pair]) -> int:
            pair = pairs[0]
            limit = rule.conv_rank if pair.spatial and rule.conv_rank is not None else rule.rank
            largest = pair.full if pair.dora else pair.rank
            return pair.each * (largest if limit is None else min(limit, largest))

        return _summed(known, cut, request.dtype, most=rule.rule[0] != "rank")
    if isinstance(request, BakeRequest):
        whole = request.scale != 1 or request.text_encoder_scale not in (None, 1)
        return _summed(known, lambda pairs: _kept(pairs, whole), request.dtype, most=False)
    if isinstance(request, ConvertRequest):
        return _summed(known, lambda pairs: _kept(pairs, False), request.dtype, most=False)
    return None


def _kept(pairs: Sequence[Pair], whole: bool) -> int:
    """Numbers of the factors of one layer; of a DoRA that is made `whole` those of its weight."""
    return pairs[0].whole if whole and pairs[0].dora else pairs[0].rank * pairs[0].each


def _combined(request: CombineRequest, sources: Sequence[Factors]) -> Planned:
    """cat has the sum of the ranks, or whole differences where one is a DoRA's; the others have the largest rank or the
    one that was asked for."""
    cut = request.method.endswith("svd")

    def numbers(pairs: Sequence[Pair]) -> int:
        first, dora = pairs[0], any(pair.dora for pair in pairs)
        together = sum(pair.rank for pair in pairs)
        if request.method == "cat":
            return first.whole if dora else together * first.each
        rank = max(pair.rank for pair in pairs)
        if cut and request.rank is not None:
            exact = request.method == "svd" and not dora
            rank = min(request.rank, together if exact else first.full)
        return rank * first.each

    return _summed(sources, numbers, request.dtype, most=cut)


def _summed(sources: Sequence[Factors], numbers: Callable[[Sequence[Pair]], int], dtype: str, most: bool) -> Planned:
    layers: dict[str, list[Pair]] = {}
    for source in sources:
        for name, pair in source.pairs.items():
            layers.setdefault(name, []).append(pair)
    whole = sum(one.others for one in sources) + sum(map(numbers, layers.values()))
    header = sum(_HEADER + 3 * len(name) for name in layers)
    return Planned(whole * _BYTES[dtype] + header, most or any(one.others for one in sources))
