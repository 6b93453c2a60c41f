"""The door: what a LoRA file must pass before anything touches the base.

Order: size, header (read by ourselves, because a hostile header makes safetensors work for many seconds), layout,
coverage of the base's layers, shapes, finiteness. Nothing of a refused file reaches a pipeline. It does not know
the pipeline; it is handed the layers that the base has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from lora_studio.adapters import kohya
from lora_studio.adapters.canonical import CanonicalAdapter, LayerChange, LayerShape, LowRank
from lora_studio.errors import AdapterRefused
from lora_studio.headers import header

LARGEST_VALUE = 1e4
"""A factor beyond this is damage: trained ones stay below about 10."""


@dataclass(frozen=True)
class AdapterReport:
    """What was found in a file that was let in."""

    rank: int | None
    layers_matched: int
    layers_in_file: int
    layers_in_base: int
    ignored: tuple[str, ...]
    warnings: tuple[dict[str, Any], ...]
    metadata: Mapping[str, str]


def admit(
    path: Path, sha256: str, layers: Mapping[str, LayerShape], base_sha256: str = "", label: str = ""
) -> tuple[CanonicalAdapter, AdapterReport]:
    """Read the LoRA file at `path` for a base with these `layers`.

    Args:
        path: the file; it must not change while it is read.
        sha256: of the file, the adapter's identity.
        layers: layer key to shape, of the base it shall fit.
        base_sha256: of the base, compared with the one that the file names.
        label: how sentences name the file; its own name when empty.

    Raises:
        AdapterRefused: one sentence that says what is wrong with the file.
    """
    given = label or path.name
    named = read_header(path, given)
    metadata = named.pop("__metadata__", {})
    _check_layout(given, named)
    names = kohya.layer_names(layers)
    modules = kohya.modules_in(named)
    matched = {m: parts for m, parts in modules.items() if m in names}
    ignored = tuple(sorted(set(modules) - set(matched)))
    if not matched:
        raise AdapterRefused(
            f"{given} holds {len(modules)} layers of which the loaded base has none (the first is "
            f"{next(iter(sorted(modules)))!r}); it was made for another family of models; load its base or choose "
            "another LoRA.",
            code="adapter_other_family",
            given=given,
            layers=len(modules),
        )
    tensors = _read_tensors(path, given, [f"{module}.{part}" for module, parts in matched.items() for part in parts])
    changes: dict[str, LayerChange] = {}
    for module, parts in sorted(matched.items()):
        own = {f"{module}.{part}": tensors[f"{module}.{part}"] for part in parts}
        changes[names[module]] = _layer(given, module, own, layers[names[module]])
    adapter = CanonicalAdapter(key=sha256, layers=changes, metadata=metadata)
    ranks = adapter.ranks
    report = AdapterReport(
        rank=ranks[0] if len(ranks) == 1 else None,
        layers_matched=len(matched),
        layers_in_file=len(modules),
        layers_in_base=len(layers),
        ignored=ignored,
        warnings=tuple(_warnings(adapter, ignored, modules, base_sha256)),
        metadata=metadata,
    )
    return adapter, report


def read_header(path: Path, given: str) -> dict[str, Any]:
    """The JSON header of a safetensors file, checked for size, count, dimensions and repeated names.

    Raises:
        AdapterRefused: it is no safetensors file, or its header is damaged or beyond the limits.
    """
    try:
        with path.open("rb") as file:
            return header.read(file, path.stat().st_size)
    except header.HeaderDamagedError as error:
        raise _damaged(given, str(error)) from None


def _check_layout(given: str, names: Mapping[str, Any]) -> None:
    if not names:
        raise AdapterRefused(
            f"{given} holds no tensors; choose a file of a trained LoRA.", code="adapter_empty", given=given
        )
    if not kohya.is_kohya(names):
        raise AdapterRefused(
            f"{given} is not in the LoRA layout that is read here (kohya's lora_unet_*.lora_down.weight; its first "
            f"tensor is {min(names)[:80]!r}); convert it to that layout or choose another LoRA.",
            code="adapter_layout",
            given=given,
            first=min(names)[:80],
        )


def _layer(given: str, module: str, tensors: Mapping[str, Tensor], base: LayerShape) -> LowRank:
    """The factors of one module, checked against the base's weight."""
    parts = {name.partition(".")[2] for name in tensors}
    if not {"lora_down.weight", "lora_up.weight"} <= parts:
        raise _damaged(given, f"the layer {module} lacks lora_down or lora_up")
    foreign = parts - {"lora_down.weight", "lora_up.weight", "alpha"}
    if foreign:
        raise AdapterRefused(
            f"{given} has {sorted(foreign)[0]!r} in {module}, a kind of adapter that is not read here yet; plain "
            "LoRA is; choose another file.",
            code="adapter_kind",
            given=given,
            part=sorted(foreign)[0],
        )
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise _damaged(given, f"{name} holds {tensor.dtype}, not floating-point numbers")
        value = float(tensor.float().abs().max()) if tensor.numel() else math.nan
        if not math.isfinite(value) or (value > LARGEST_VALUE):
            raise _damaged(given, f"{name} holds {value:g}")
    alpha = tensors.get(f"{module}.alpha")
    if alpha is not None and (alpha.numel() != 1 or float(alpha) < 0):
        raise _damaged(given, f"the alpha of {module} is not one number of 0 or more")
    change = kohya.read_layer(tensors, module)
    want_down = tuple(base.shape[1:])
    fits = tuple(change.down.shape[1:]) == want_down and tuple(change.up.shape[:2]) == (base.shape[0], change.rank)
    if not fits:
        raise AdapterRefused(
            f"{given} was made for another family of models: {module} has in- and outputs "
            f"{tuple(change.down.shape[1:])} and {change.up.shape[0]}, the loaded base has {want_down} and "
            f"{base.shape[0]}; load its base or choose another LoRA.",
            code="adapter_shape",
            given=given,
            layer=module,
        )
    return change


def _warnings(
    adapter: CanonicalAdapter, ignored: tuple[str, ...], modules: Mapping[str, set[str]], base_sha256: str
) -> list[dict[str, Any]]:
    """What a person should know of a file that was let in."""
    found: list[dict[str, Any]] = []
    if ignored:
        found.append(
            {
                "code": "layers_ignored",
                "message": f"{len(ignored)} of {len(modules)} layers are not in this base and do nothing.",
                "values": {"ignored": len(ignored), "layers": len(modules)},
            }
        )
    if adapter.norm() == 0:
        found.append(
            {"code": "adapter_zero", "message": "All its differences are zero: it does nothing.", "values": {}}
        )
    made_for = adapter.metadata.get("lora_studio_base_sha256", "")
    if made_for and base_sha256 and made_for != base_sha256:
        found.append(
            {
                "code": "adapter_other_base",
                "message": f"It was trained on another base ({made_for[:10]}) than the loaded one "
                f"({base_sha256[:10]}): its effect may be weak or wrong.",
                "values": {"made_for": made_for[:10], "loaded": base_sha256[:10]},
            }
        )
    return found


def _damaged(given: str, why: str) -> AdapterRefused:
    return AdapterRefused(
        f"{given} is no usable LoRA file: {why}; choose another file.",
        code="adapter_damaged",
        given=given,
        why=why,
    )


def _read_tensors(path: Path, given: str, names: list[str]) -> dict[str, Tensor]:
    """The named tensors as copies, so that nobody who changes the file later can change a picture."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(given, str(error).splitlines()[0]) from error
