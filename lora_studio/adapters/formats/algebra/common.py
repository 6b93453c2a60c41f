"""What the formats' arithmetic has in common: alpha, scalars, shapes, DoRA, bias. It does not know any one format."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lora_studio.adapters.canonical import Axis, Decomposed, Dense, Kronecker, LayerChange, LowRank
from lora_studio.headers.reasons import Reason, ReasonError, reason

SHARED = ("alpha", "scalar", "dora_scale", "magnitude", "diff_b")
"""Parts that may stand beside any factors."""


class PartsError(ReasonError):
    """Parts that do not come to a change; the words continue "the layer X ..."."""

    def __init__(self, code: str, **values: Any) -> None:
        super().__init__(code, layer="", **values)
        self._code, self._values = code, values

    def __str__(self) -> str:
        return self.of("").removeprefix("the layer  ")

    def of(self, layer: str) -> Reason:
        """The whole clause."""
        return reason(self._code, layer=layer, **self._values)


class MisfitError(ValueError):
    """Parts that come to a change of another layer than the base has; the words continue "the layer X ..."."""


def apart(**parts: Tensor) -> PartsError:
    """The error for parts whose shapes do not go together."""
    return PartsError("parts_shapes", shapes=", ".join(f"{name} {tuple(t.shape)}" for name, t in parts.items()))


def wanted(tensors: Mapping[str, Tensor], *names: str) -> tuple[Tensor, ...]:
    """The named parts in float32. Raises `PartsError` for one that is missing."""
    missing = [name for name in names if name not in tensors]
    if missing:
        raise PartsError("parts_lack", parts=", ".join(missing))
    return tuple(tensors[name].float() for name in names)


def scale_of(tensors: Mapping[str, Tensor], rank: int) -> float:
    """alpha/rank times LyCORIS' scalar; a missing alpha means alpha = rank."""
    scale = 1.0
    if "alpha" in tensors:
        alpha = tensors["alpha"]
        if alpha.numel() != 1 or not math.isfinite(float(alpha)) or float(alpha) < 0:
            raise PartsError("parts_alpha")
        scale = float(alpha) / max(rank, 1)
    if "scalar" in tensors:
        if tensors["scalar"].numel() != 1:
            raise PartsError("parts_scalar")
        scale *= float(tensors["scalar"])
    return scale


def matrix(tensor: Tensor) -> Tensor:
    """A factor of a convolution with a 1 x 1 kernel, or of a linear layer, as a matrix."""
    return tensor.flatten(1) if tensor.dim() > 1 else tensor.reshape(1, -1)


def shaped(low: LowRank, shape: tuple[int, ...]) -> LowRank:
    """Factors in the shape that the layer takes: a convolution's up is (out, r, 1, 1), its down (r, in, kh, kw)."""
    rank, out = low.rank, shape[0]
    size = math.prod(shape[1:])
    if low.up.numel() != out * rank or low.down.numel() != rank * size:
        raise MisfitError(
            f"has in- and outputs {tuple(low.down.shape[1:])} and {low.up.shape[0]} where the base has "
            f"{tuple(shape[1:])} and {out}"
        )
    ones = (1, 1) if len(shape) == 4 else ()
    return LowRank(low.down.reshape(rank, *shape[1:]), low.up.reshape(out, rank, *ones), low.delta_bias)


def dense(delta: Tensor, shape: tuple[int, ...]) -> Dense:
    """A difference in the layer's shape."""
    if delta.numel() != math.prod(shape) or delta.shape[0] != shape[0]:
        raise MisfitError(f"has a difference of shape {tuple(delta.shape)} where the base has {tuple(shape)}")
    return Dense(delta.reshape(shape).contiguous())


def cheaper(rank: int, shape: tuple[int, ...]) -> bool:
    """True when factors of this rank take no more numbers than the dense difference."""
    size = math.prod(shape[1:])
    return rank * (shape[0] + size) <= shape[0] * size


def completed(change: LowRank | Dense, tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> LayerChange:
    """The change with the bias difference and the DoRA magnitudes that stand beside its factors."""
    bias = tensors.get("diff_b")
    if bias is not None and bias.numel() != shape[0]:
        raise MisfitError(f"has a bias difference of {bias.numel()} numbers where the base has {shape[0]}")
    delta_bias = None if bias is None else bias.float().flatten()
    if change.delta_bias is not None:
        delta_bias = change.delta_bias if delta_bias is None else delta_bias + change.delta_bias
    if "dora_scale" not in tensors and "magnitude" not in tensors:
        return _with_bias(change, delta_bias)
    plain = _with_bias(change, None)
    magnitude, axis = _magnitude(tensors, shape)
    return Decomposed(plain, magnitude, axis, delta_bias)


def _with_bias(change: LowRank | Dense, delta_bias: Tensor | None) -> LowRank | Dense:
    """The same change with this difference of the bias."""
    if isinstance(change, LowRank):
        return LowRank(change.down, change.up, delta_bias)
    if isinstance(change, Kronecker):
        return Kronecker(change.first, change.second, delta_bias)
    return Dense(change.delta_weight, delta_bias)


def _magnitude(tensors: Mapping[str, Tensor], shape: tuple[int, ...]) -> tuple[Tensor, Axis]:
    """DoRA's magnitudes and whether they are norms of rows ("out") or of columns ("in").

    (out,) and (out, 1, ...) are rows; (1, in) and (1, in, 1, 1) are columns, except that peft writes the rows of a
    convolution as (1, out, 1, 1): its name, `lora_magnitude_vector`, tells, and so does the length.
    """
    ours = "dora_scale" in tensors
    written = tensors["dora_scale" if ours else "magnitude"]
    rows, columns = shape[0], shape[1]
    flat = written.float().flatten()
    lying = written.dim() >= 2 and written.shape[0] == 1 and written.shape[1] == flat.numel()
    if lying and flat.numel() == columns and (ours or written.dim() == 2):
        return flat, "in"
    if flat.numel() == rows:
        return flat, "out"
    raise MisfitError(f"has DoRA magnitudes of shape {tuple(written.shape)} where the base has {rows} x {columns}")
