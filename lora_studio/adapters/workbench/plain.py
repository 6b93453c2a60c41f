"""Changes made plain for the tools: rank factors or a dense difference, with the base's weight where that is needed.

DoRA, IA3, OFT and GLoRA say what becomes of the base's weight W; without W they are no ΔW. It does not know files.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from lora_studio.adapters.binding import bind, delta
from lora_studio.adapters.canonical import Decomposed, Dense, Gain, LayerChange, LowRank, Plain, Relative, Rotation
from lora_studio.errors import InvalidInput

KINDS = {
    "dora": "DoRA",
    "ia3": "IA3",
    "glora": "GLoRA",
    "oft": "OFT",
    "norm": "a difference of a norm",
    "dense": "a dense difference",
    "bias": "a difference of a bias",
    "factors": "rank factors",
}
"""Kinds of changes, as English sentences call them."""

WeightOf = Callable[[str], Tensor | None]
"""W of a base's layer by its key, None where there is no such base."""


def no_weights(layer: str) -> Tensor | None:
    """Without a base."""
    return None


def plain(layer: str, change: LayerChange, weight_of: WeightOf = no_weights) -> Plain:
    """The change as factors or a dense difference that says ΔW by itself.

    Raises:
        InvalidInput: it depends on the base's weights and there is no base.
    """
    if isinstance(change, LowRank | Dense):
        return change
    weight = weight_of(layer)
    if weight is None:
        raise InvalidInput(
            f"The layer {layer} holds {kind_of(change)}, which depends on the base's weights; give the base that the "
            "file was made for and try again.",
            code="workbench_needs_base",
            layer=layer,
            what=kind_of(change),
            kind=kind_code(change),
        )
    if isinstance(change, Relative):
        (bound,) = bind(change, weight)
        assert isinstance(bound, LowRank)
        return bound
    return Dense(delta(change, weight), change.delta_bias)


def kind_of(change: LayerChange) -> str:
    """What a change is, in words for a sentence."""
    return KINDS[kind_code(change)]


def kind_code(change: LayerChange) -> str:
    """What a change is: a key of `KINDS`, for sentences in other languages."""
    if isinstance(change, Decomposed):
        return "dora"
    if isinstance(change, Gain):
        return "ia3"
    if isinstance(change, Relative):
        return "glora"
    if isinstance(change, Rotation):
        return "oft"
    if isinstance(change, Dense):
        return "norm" if len(change.shape) == 1 else "dense"
    return "bias" if change.delta_bias is not None else "factors"
