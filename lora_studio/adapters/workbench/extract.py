"""A LoRA out of two models: what the second one learnt beyond the first, as factors of a small rank.

Per layer the difference W₂ - W₁ is cut to its largest singular values. One pair of weights is in memory at a time. What
factors cannot hold (biases, norms, embeddings) is counted, so that nobody takes the result for the whole difference. It
does not know where the models come from.

Source: Eckart and Young 1936 (the best approximation of a rank); the method is that of kohya-ss/sd-scripts
networks/extract_lora_from_models.py.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import torch

from lora_studio.adapters.canonical import Dense, LayerChange
from lora_studio.adapters.workbench.checkpoint import Checkpoint
from lora_studio.adapters.workbench.combine import Made
from lora_studio.adapters.workbench.progress import Done
from lora_studio.adapters.workbench.ranks import Target, retained
from lora_studio.adapters.workbench.svd import decompose
from lora_studio.errors import InvalidInput

_BESIDE = 8192
"""Bytes of a file's metadata."""
_BESIDE_A_NAME = 120
"""Bytes of a header for each tensor beside the layer's key, and its alpha."""


@dataclass(frozen=True, eq=False)
class Extracted:
    """What was made.

    Attributes:
        left_out: differing tensors that no factors can hold (biases, norms, embeddings).
        alone: layers of text encoders that only one of the models has.
    """

    made: Made
    left_out: int
    alone: int


def extract(
    before: Checkpoint, after: Checkpoint, target: Target, text_encoders: bool = True
) -> Generator[Done, None, Extracted]:
    """The difference of two models of one architecture, with a turn between two layers.

    Raises:
        InvalidInput: their layers or shapes differ, or the second is the first.
    """
    alone = _check(before, after) if text_encoders else _check(before, after, "text")
    layers: dict[str, LayerChange] = {}
    kept: dict[str, float] = {}
    names = sorted(key for key in before.layers.keys() - alone if text_encoders or not key.startswith("text"))
    shared = [name for name in before.others if name in after.others]
    steps = len(names) + len(shared)
    for number, key in enumerate(names, 1):
        difference = after.weight(key) - before.weight(key)
        if bool(difference.any()):
            svd = decompose(Dense(difference))
            rank = target.keep(svd.s, spatial=svd.spatial)
            layers[key], kept[key] = svd.cut(rank), retained(svd.s, rank)
        yield Done(number, steps)
    if not layers:
        raise InvalidInput(
            f"The two models are the same in all {len(names)} layers; give one that was trained further.",
            code="workbench_same_checkpoint",
            layers=len(names),
        )
    left_out = 0
    for number, name in enumerate(shared, len(names) + 1):
        left_out += not torch.equal(before.weight(name), after.weight(name))
        yield Done(number, steps)
    return Extracted(Made(layers, kept), left_out, len(alone))


def most_bytes(before: Checkpoint, target: Target, text_encoders: bool, width: int) -> int:
    """The most bytes that the file of a difference will have, told by shapes alone: as if every layer differed.

    Args:
        width: bytes of a number in the file.
    """
    size = _BESIDE
    for key, place in before.layers.items():
        if text_encoders or not key.startswith("text"):
            out, inputs, kernel = place.shape[0], place.shape[1], math.prod(place.shape[2:])
            rank = target.most(min(out, inputs * kernel), spatial=kernel > 1)
            size += rank * (out + inputs * kernel) * width + 3 * (_BESIDE_A_NAME + len(key))
    return size


def _check(before: Checkpoint, after: Checkpoint, besides: str = "none") -> set[str]:
    """The layers of text encoders that only one has: a model without them can still be compared by its UNet.

    Args:
        besides: how the keys of layers begin that are not looked at.

    Raises:
        InvalidInput: other layers are missing, or shapes differ.
    """
    shapes = [{key: place.shape for key, place in model.layers.items()} for model in (before, after)]
    keys = sorted(key for key in {*shapes[0], *shapes[1]} if not key.startswith(besides))
    differing = [key for key in keys if shapes[0].get(key) != shapes[1].get(key)]
    alone = {key for key in differing if key.startswith("text") and None in (shapes[0].get(key), shapes[1].get(key))}
    for key in differing:
        if key in alone:
            continue
        raise InvalidInput(
            f"The two models are of different architectures: the layer {key} has the shapes "
            f"{_said(shapes[0].get(key))} and {_said(shapes[1].get(key))}; give two models of one architecture.",
            code="workbench_architectures",
            layer=key,
            first=_said(shapes[0].get(key)),
            second=_said(shapes[1].get(key)),
        )
    return alone


def _said(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else "x".join(map(str, shape))
