"""What joined adapters add to one layer's output, each row of the batch with its own weights.

With s the weights of one row, one number for each adapter i:

    factors      B_cat (s · (A_cat x))                  dense       Σ sᵢ ΔWᵢ x, of a product by its halves
    gain, out    (Σ sᵢ gᵢ) · Wx                         gain, in    W ((Σ sᵢ gᵢ) · x)
    rotation     Σ sᵢ Mᵢ (Wx), or W (Σ sᵢ Mᵢ x)         bias        Σ sᵢ bᵢ
    norm         (Σ sᵢ wᵢ) · x̂ + Σ sᵢ bᵢ                with x̂ the normalised input

Wx is the layer's own output less its bias: it is not reckoned twice. The module does not know adapters or files.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lora_studio.adapters.canonical import Kronecker, Rotation
from lora_studio.pipeline.joining import Joined, Stacked


def effect_of(joined: Joined, weights: Tensor, module: nn.Module, x: Tensor, output: Tensor) -> Tensor:
    """The sum of all effects, in the shape and dtype of `output`.

    Args:
        weights: (rows, adapters).
        module: the layer: linear, two-dimensional convolution, group or layer norm.
        x: its input (rows, ..., in) or (rows, in, h, w).
        output: its own output.
    """
    if isinstance(module, nn.GroupNorm | nn.LayerNorm):
        return _of_norm(joined, weights, module, x, output).to(output.dtype)
    channel = 1 if isinstance(module, nn.Conv2d) else output.dim() - 1
    parts = [*_of_factors(joined, weights, module, x), *_of_outputs(joined, weights, module, output, channel)]
    parts += _of_inputs(joined, weights, module, x)
    for column, delta in joined.dense:
        effect = _through(module, x, delta.to(x.dtype))
        parts.append(effect * _rows(weights[:, column : column + 1], effect))
    for column, product in joined.products:
        effect = _product(module, x, product, channel)
        parts.append(effect * _rows(weights[:, column : column + 1], effect))
    if joined.bias is not None:
        parts.append(_spread(_mixed(joined.bias, weights), output, channel))
    return reduce(torch.add, parts).to(output.dtype) if parts else torch.zeros_like(output)


def _of_factors(joined: Joined, weights: Tensor, module: nn.Module, x: Tensor) -> Iterable[Tensor]:
    if joined.down is None or joined.up is None:
        return
    scale = weights[:, joined.columns]
    down, up = joined.down.to(x.dtype), joined.up.to(x.dtype)
    hidden = _through(module, x, down)
    channel = 1 if isinstance(module, nn.Conv2d) else hidden.dim() - 1
    hidden = hidden * _spread(scale, hidden, channel)
    yield F.conv2d(hidden, up) if isinstance(module, nn.Conv2d) else F.linear(hidden, up)


def _of_outputs(joined: Joined, weights: Tensor, module: nn.Module, output: Tensor, channel: int) -> Iterable[Tensor]:
    """Gains and rotations of the outputs, from the layer's own output."""
    turns = [(column, turn) for column, turn in joined.rotations if turn.axis == "out"]
    if joined.gain_out is None and not turns:
        return
    bias = getattr(module, "bias", None)
    plain = output
    if isinstance(bias, Tensor):
        plain = output - bias.to(output.dtype).reshape(-1, *[1] * (output.dim() - 1 - channel))
    if joined.gain_out is not None:
        yield plain * _spread(_mixed(joined.gain_out, weights), plain, channel)
    for column, turn in turns:
        turned = _turned(plain, turn, channel)
        yield turned * _rows(weights[:, column : column + 1], turned)


def _of_inputs(joined: Joined, weights: Tensor, module: nn.Module, x: Tensor) -> list[Tensor]:
    """Gains and rotations of the inputs, together one more product with the layer's own weight."""
    channel = 1 if isinstance(module, nn.Conv2d) else x.dim() - 1
    changed = []
    if joined.gain_in is not None:
        changed.append(x * _spread(_mixed(joined.gain_in, weights), x, channel))
    for column, turn in joined.rotations:
        if turn.axis == "in":
            turned = _turned(x, turn, channel)
            changed.append(turned * _rows(weights[:, column : column + 1], turned))
    weight: Tensor = module.weight  # type: ignore[assignment]
    return [_through(module, reduce(torch.add, changed), weight)] if changed else []


def _of_norm(joined: Joined, weights: Tensor, module: nn.GroupNorm | nn.LayerNorm, x: Tensor, output: Tensor) -> Tensor:
    total = torch.zeros_like(output)
    channel = 1 if isinstance(module, nn.GroupNorm) else output.dim() - 1
    if joined.scale is not None:
        if isinstance(module, nn.GroupNorm):
            plain = F.group_norm(x, module.num_groups, None, None, module.eps)
        else:
            plain = F.layer_norm(x, module.normalized_shape, None, None, module.eps)
        total = total + plain * _spread(_mixed(joined.scale, weights), plain, channel)
    if joined.bias is not None:
        total = total + _spread(_mixed(joined.bias, weights), output, channel)
    return total


def _through(module: nn.Module, x: Tensor, weight: Tensor) -> Tensor:
    """`x` through another weight in the layer's own way, without a bias."""
    if isinstance(module, nn.Conv2d):
        groups = module.groups if weight.shape[1] != x.shape[1] else 1
        return F.conv2d(x, weight, None, module.stride, module.padding, module.dilation, groups)
    return F.linear(x, weight)


def _product(module: nn.Module, x: Tensor, change: Kronecker, channel: int) -> Tensor:
    """(first ⊗ second) x by its halves: second on the inner part of the channels, then first on the outer one."""
    first, second = change.first.to(x.dtype), change.second.to(x.dtype)
    inner = x.unflatten(channel, (first.shape[1], second.shape[1]))  # type: ignore[no-untyped-call]
    if isinstance(module, nn.Conv2d):
        rows = inner.shape[0]
        moved = _through(module, inner.flatten(0, 1), second)
        mixed = torch.einsum("ab,nbchw->nachw", first, moved.reshape(rows, -1, *moved.shape[1:]))
    else:
        mixed = torch.einsum("ab,...bc->...ac", first, F.linear(inner, second))
    return mixed.flatten(channel, channel + 1)


def _turned(x: Tensor, turn: Rotation, channel: int) -> Tensor:
    """Blocks (count, size, size) on the channels. M acts on columns: on outputs as M·y, on inputs as M·x."""
    blocks = turn.blocks.to(x.dtype)
    count, size, _ = blocks.shape
    last = x.movedim(channel, -1)
    turned = torch.einsum("kmn,...kn->...km", blocks, last.reshape(*last.shape[:-1], count, size)).flatten(-2)
    return turned.movedim(-1, channel)


def _mixed(stacked: Stacked, weights: Tensor) -> Tensor:
    """Vectors of several adapters added up by each row's weights: (rows, n)."""
    vectors, columns = stacked
    return weights[:, columns] @ vectors


def _spread(values: Tensor, like: Tensor, channel: int) -> Tensor:
    """(rows, n) in the shape that multiplies `like`, whose channels lie on the axis `channel`."""
    shape = [1] * like.dim()
    shape[0], shape[channel] = values.shape[0], values.shape[1]
    return values.to(like.dtype).reshape(shape)


def _rows(weights: Tensor, like: Tensor) -> Tensor:
    """(rows, 1) weights in the shape that multiplies `like`."""
    return weights.to(like.dtype).reshape(-1, *[1] * (like.dim() - 1))
