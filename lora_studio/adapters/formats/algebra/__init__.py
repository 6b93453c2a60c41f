"""The arithmetic of each format: parts of one module to one change of one layer. One file for each.

Every file has `claims(parts) -> bool` (are these names its own?) and `read(tensors, shape) -> LayerChange`. They do not
know module names, files or bases.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from lora_studio.adapters.canonical import LayerChange
from lora_studio.adapters.formats.algebra import full, glora, ia3, loha, lokr, lora, oft
from lora_studio.adapters.formats.algebra.common import MisfitError, PartsError

__all__ = ["MisfitError", "PartsError", "kind_of", "known_parts", "read", "shape_of"]

_FILES = (lora, loha, lokr, glora, oft, ia3, full)
_DORA = ("dora_scale", "magnitude")


def kind_of(parts: Collection[str]) -> str:
    """The algebra that parts belong to: lora, dora, loha, lokr, full, norm, ia3, glora, oft, boft; "" for none."""
    for file in _FILES:
        if file.claims(parts):
            kind = file.kind(parts)
            return "dora" if kind == "lora" and any(part in parts for part in _DORA) else kind
    return ""


def known_parts(parts: Collection[str]) -> frozenset[str]:
    """The parts that whatever claims them reads."""
    for file in _FILES:
        if file.claims(parts):
            return frozenset(file.PARTS)
    return frozenset()


def read(tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> LayerChange:
    """The change of a layer.

    Args:
        tensors: by part.
        shape: of the layer's weight.

    Raises:
        PartsError: a part is missing, or the parts do not go together; its words continue "the layer X ...".
        MisfitError: they come to a change of another layer than the base has.
    """
    for file in _FILES:
        if file.claims(tensors):
            try:
                change: LayerChange = file.read(tensors, shape)
            except (RuntimeError, IndexError, TypeError) as error:
                # Shapes that no check foresaw: torch says so in many lines, which are of no use to anybody.
                shapes = ", ".join(f"{part} {tuple(tensor.shape)}" for part, tensor in sorted(tensors.items()))
                raise PartsError("parts_shapes", shapes=shapes[:200]) from error
            return change
    raise PartsError("parts_unknown", parts=", ".join(sorted(tensors))[:80])


def shape_of(tensors: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The shape of the weight that the parts were made for, as far as they tell: () where they do not."""
    for file in _FILES:
        if file.claims(tensors):
            try:
                return tuple(file.shape_of(tensors))
            except (PartsError, MisfitError, IndexError):
                return ()
    return ()
