"""The tensors of a safetensors file by plain reads, one at a time, each into memory of its own.

The library maps a file into memory; whoever truncates a mapped file ends the process that looks at it. Read so, a file
that was cut off or written over meanwhile is an error with a sentence, and nothing is held twice: one tensor's bytes
are its memory. The header must have been checked (`lora_studio.headers.header.read`): a tensor takes no more memory
than the file has bytes. It does not know what the tensors mean.

Weights of 8 bits may stand for others: ComfyUI keeps a number beside each by which it is multiplied when it is used.

    model.diffusion_model.scaled_fp8                        a mark, no numbers
    <layer>.weight (F8_E4M3), <layer>.scale_weight          W = weight · scale_weight
    <layer>.weight (F8_E4M3), <layer>.weight_scale          the same, in files with `<layer>.comfy_quant`
    <layer>.scale_input, <layer>.input_scale                for multiplying in 8 bits; W does not depend on it

Sources: the format's description, https://github.com/huggingface/safetensors#format; comfyanonymous/ComfyUI
comfy/ops.py (`scaled_fp8_ops`, `mixed_precision_ops`) and comfy/utils.py (`convert_old_quants`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from torch import Tensor

from lora_studio.headers import header
from lora_studio.headers.header import HeaderCutOffError, HeaderDamagedError
from lora_studio.headers.reasons import shown

DTYPES: Mapping[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}
"""Numbers by the format's words."""

_SCALES = ("scale_weight", "weight_scale")
_UNUSED = ("scale_input", "input_scale")
_MARK = "scaled_fp8"


class ScaledError(HeaderDamagedError):
    """8-bit weights whose scales are not read here: `reason` continues "it cannot be read:"."""


@dataclass(frozen=True)
class TensorIndex:
    """Where a file's tensors lie: the checked header, and where it ends.

    Attributes:
        entries: tensor name to dtype, shape and data_offsets.
        metadata: what the file says of itself.
        start: bytes before the tensors'.
        scales: name of a scaled weight to that of its scale.
    """

    entries: Mapping[str, Any]
    metadata: Mapping[str, str]
    start: int
    scales: Mapping[str, str]


def read_index(file: BinaryIO, size: int, dimensions: int = header.MAX_DIMENSIONS) -> TensorIndex:
    """The index of an open file of `size` bytes.

    Raises:
        ScaledError: it holds 8-bit weights with scales of a kind that is not read.
        HeaderDamagedError: it is no safetensors file, or it is damaged or cut off.
    """
    named = header.read(file, size, dimensions)
    metadata = named.pop("__metadata__", {})
    return TensorIndex(named, metadata, file.tell(), scales_of(named))


class TensorFile:
    """An open safetensors file."""

    def __init__(self, file: BinaryIO, index: TensorIndex) -> None:
        self._file = file
        self._index = index

    def tensor(self, name: str) -> Tensor:
        """A tensor as it lies in the file, in memory of its own.

        Raises:
            KeyError: there is none of this name.
            HeaderCutOffError: the file has been truncated since its header was read.
            HeaderDamagedError: its numbers are of a kind that is not known, or its shape is none.
            OSError: it cannot be read.
        """
        entry = self._index.entries[name]
        dtype = DTYPES.get(str(entry["dtype"]))
        if dtype is None:
            raise HeaderDamagedError("number_kind", name=shown(name), found=str(entry["dtype"])[:20])
        first, last = entry["data_offsets"]
        memory = torch.empty(last - first, dtype=torch.uint8)
        self._file.seek(self._index.start + first)
        missing = last - first - _fill(memory, self._file)
        if missing:
            raise HeaderCutOffError("file_cut_within", missing=missing, name=shown(name))
        try:
            # A byte of 2 is no bool: torch's own would be undefined.
            return (memory.bool() if dtype is torch.bool else memory.view(dtype)).reshape(entry["shape"])
        except (RuntimeError, OverflowError):
            raise HeaderDamagedError("tensor_impossible", name=shown(name)) from None

    def weight(self, name: str) -> Tensor:
        """The numbers that a tensor stands for: as it lies in the file, or float32 where it has a scale.

        Raises:
            as `tensor`.
        """
        scale = self._index.scales.get(name)
        raw = self.tensor(name)
        return raw if scale is None else raw.float() * self.tensor(scale).float().reshape(())


def beside_weights(name: str) -> bool:
    """True for what stands beside 8-bit weights and is no weight itself."""
    return name.rpartition(".")[2] in (*_SCALES, *_UNUSED, _MARK, "comfy_quant")


def scales_of(entries: Mapping[str, Any]) -> dict[str, str]:
    """The scale of each 8-bit weight that has one; both by name.

    Args:
        entries: a checked header without `__metadata__`.

    Raises:
        ScaledError: a scale that is not one number, that is none of the known ones, or that some weights lack.
    """
    small = {name for name, entry in entries.items() if str(entry["dtype"]).startswith("F8")}
    if not small:
        return {}
    found: dict[str, str] = {}
    marked = False
    for name, entry in entries.items():
        layer, _, last = name.rpartition(".")
        weight = f"{layer}.weight" if layer else "weight"
        if last == _MARK:
            marked = True
        elif last in _SCALES and weight in small:
            if math.prod(entry["shape"]) != 1 or entry["dtype"] not in ("F16", "BF16", "F32", "F64"):
                raise ScaledError("scale_number", name=shown(name))
            if weight in found:
                raise ScaledError("scale_twice", name=shown(weight))
            found[weight] = name
        elif "scale" in last and last not in _UNUSED and weight in small:
            raise ScaledError("scale_unknown", name=shown(name))
    lacking = [name for name in sorted(small - set(found)) if len(entries[name]["shape"]) > 1]
    if lacking and (found or marked):
        raise ScaledError("scale_lacking", name=shown(lacking[0]))
    return found


def _fill(memory: Tensor, file: BinaryIO) -> int:
    """Read into (n,) uint8 until it is full or the file ends; how many bytes were read."""
    view = memory.numpy().data
    done = 0
    while done < len(view):
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            break
        done += count
    return done
