"""What of a parsed file is damage: numbers that are none, or that no training gives, and parts that do not belong.

It does not know bases.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lora_studio.adapters.canonical import LayerChange, tensors_of
from lora_studio.adapters.formats import algebra
from lora_studio.adapters.formats.parsed import ModuleParts, ParsedFile
from lora_studio.adapters.formats.source import damaged
from lora_studio.adapters.report import rank_of
from lora_studio.errors import AdapterRefused
from lora_studio.headers.reasons import reason

LARGEST_VALUE = 1e4
"""A factor, or alpha/rank, beyond this is damage: trained factors stay below about 10."""
LARGEST_CHANGE = 1e20
"""What parts come to beyond this is damage too: each may pass, and their powers and products be infinite."""


def check_modules(given: str, parsed: ParsedFile) -> None:
    """Raise `AdapterRefused` for a module with a part that its algebra does not read, or with damaged numbers."""
    for module in parsed.modules.values():
        foreign = sorted(set(module.tensors) - algebra.known_parts(module.tensors))
        if foreign:
            raise AdapterRefused(
                f"{given} has {foreign[0]!r} in {module.name}, a part of no kind of adapter that is read here; choose "
                "another file.",
                code="adapter_kind",
                given=given,
                part=foreign[0],
            )
        for part, tensor in module.tensors.items():
            _check_values(given, f"{module.name}.{part}", tensor, part)
        _check_alpha(given, module)
    for name, vectors in parsed.embeddings.items():
        for tensor in vectors.values():
            _check_values(given, f"bundle_emb.{name}", tensor, "")


def _check_values(given: str, name: str, tensor: Tensor, part: str) -> None:
    if part in ("alpha", "on_input", "oft_terms"):
        return
    if not tensor.is_floating_point():
        found = str(tensor.dtype).removeprefix("torch.")
        raise damaged(given, reason("not_floats", name=name, found=found))
    value = _farthest(tensor)
    if not math.isfinite(value) or abs(value) > LARGEST_VALUE:
        clause = (
            reason("number_value", name=name, found=f"{value:g}")
            if tensor.numel()
            else reason("number_none", name=name)
        )
        raise damaged(given, clause)


def check_change(given: str, name: str, change: LayerChange) -> None:
    """Raise `AdapterRefused` where good parts of the module `name` came to numbers that no training gives."""
    for tensor in tensors_of(change):
        value = _farthest(tensor) if tensor.numel() else 0.0
        if not abs(value) <= LARGEST_CHANGE:
            raise damaged(given, reason("number_value", name=name, found=f"{value:g}"))


def _farthest(tensor: Tensor) -> float:
    """The number that is farthest from 0; nan where one is, or where there is none."""
    if not tensor.numel():
        return math.nan
    low, high = (float(side) for side in torch.aminmax(tensor.detach()))
    return high if abs(high) >= abs(low) or math.isnan(high) else low


def _check_alpha(given: str, module: ModuleParts) -> None:
    """An alpha must be one number of 0 or more whose quotient by the rank is no damage."""
    alpha = module.tensors.get("alpha")
    if alpha is None:
        return
    if alpha.numel() != 1 or not math.isfinite(float(alpha)) or float(alpha) < 0:
        raise damaged(given, reason("alpha_number", layer=module.name))
    rank = rank_of(module.tensors)
    if rank and float(alpha) / rank > LARGEST_VALUE:
        raise damaged(given, reason("alpha_large", layer=module.name, found=f"{float(alpha):g}", rank=rank))
