"""A LoRA file's tensors: its header checked first, a pickle opened by another process.

It does not know what the tensors mean.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from lora_studio.adapters.embedding import kind_of
from lora_studio.adapters.tensors import TensorFile, TensorIndex
from lora_studio.adapters.unpacking import UnpackingError, unpacked
from lora_studio.errors import AdapterRefused
from lora_studio.headers import header
from lora_studio.headers.reasons import coded, reason

MAX_FILE = 16 * 2**30
"""Bytes; full differences of SDXL in float32 are about 10 GB."""
FLOATS: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
"""Numbers that are read; beside them integers, for a part that counts (`on_input`, an alpha of 16)."""
_BREATH = 64 * 2**20
"""Bytes that are read in one turn."""
_COUNTS = ("alpha", "on_input", ".scalar")
_OF_A_LORA = re.compile(
    r"lora|hada_|lokr_|oft_|ia3_|on_input|dora_scale|bundle_emb|\.diff(?:_b)?\Z|[wb]_norm\Z|\.[ab][12m]\.weight\Z"
)
"""What a name of a file must have at least once; a checkpoint of many gigabytes is refused before it is read."""


@dataclass(frozen=True, eq=False)
class Source:
    """Tensors and metadata of a file; `converted` is the safetensors form of a pickle."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    dtypes: tuple[str, ...]
    converted: bytes | None = None


def opening(path: Path, given: str) -> Generator[None, None, Source]:
    """Read every tensor of the file at `path`; yields while another process opens a pickle, and every `_BREATH` bytes.

    The tensors are copies, so that nobody who changes the file later can change a picture.

    Raises:
        AdapterRefused: one sentence that says what is wrong with the file.
    """
    size = path.stat().st_size
    if size > MAX_FILE:
        raise AdapterRefused(
            f"{given} has {size / 1e9:.1f} GB; a LoRA has at most {MAX_FILE / 1e9:.0f} GB; choose another file.",
            code="adapter_large",
            given=given,
            size=f"{size / 1e9:.1f}",
            allowed=f"{MAX_FILE / 1e9:.0f}",
        )
    if kind_of(path) == "torch":
        try:
            data = yield from unpacked(path, "adapter")
        except UnpackingError as error:
            raise _sentence(error, given) from None
        return (yield from _read(io.BytesIO(data), len(data), given, data))
    with path.open("rb") as file:
        return (yield from _read(file, os.fstat(file.fileno()).st_size, given))


def _read(file: BinaryIO, size: int, given: str, converted: bytes | None = None) -> Generator[None, None, Source]:
    """The tensors of an open safetensors file. Raises `AdapterRefused`."""
    named = header_of(file, size, given)
    names, metadata, dtypes = _checked(named, given)
    if not any(_OF_A_LORA.search(name) for name in names):
        raise no_layout(given, min(names))
    opened = TensorFile(file, TensorIndex(named, metadata, file.tell(), {}))
    tensors: dict[str, Tensor] = {}
    taken = 0
    try:
        for name in names:
            tensors[name] = opened.tensor(name)
            taken += tensors[name].nbytes
            if taken > _BREATH:
                taken = 0
                yield
        return Source(tensors, metadata, dtypes, converted)
    except header.HeaderDamagedError as error:
        raise damaged(given, error.reason) from None
    except OSError as error:
        raise damaged(given, error.strerror or reason("file_unreadable")) from error


def header_of(file: BinaryIO, size: int, given: str) -> dict[str, Any]:
    """The checked header, `__metadata__` included. Raises `AdapterRefused`."""
    try:
        return header.read(file, size)
    except header.HeaderDamagedError as error:
        raise damaged(given, error.reason) from None


def damaged(given: str, clause: str) -> AdapterRefused:
    """The sentence for a file that is none, `clause` saying why (`headers.reasons`)."""
    return AdapterRefused(
        f"{given} is no usable LoRA file: {clause}; choose another file.",
        code="adapter_damaged",
        given=given,
        why=str(clause),
        **coded(clause),
    )


def no_layout(given: str, found: str) -> AdapterRefused:
    """The sentence for a file of something else; `found` is what stands in it first."""
    first = found[:80]
    return AdapterRefused(
        f"{given} is in no LoRA layout that is read here (its first tensor is {first!r}; read are kohya's, LyCORIS', "
        "diffusers', peft's and those made of them); choose a file of a trained LoRA.",
        code="adapter_layout",
        given=given,
        first=first,
    )


def _checked(named: dict[str, Any], given: str) -> tuple[list[str], dict[str, str], tuple[str, ...]]:
    """Names, metadata and dtypes of a header whose numbers can all be read."""
    metadata = named.pop("__metadata__", {})
    if not named:
        raise AdapterRefused(
            f"{given} holds no tensors; choose a file of a trained LoRA.", code="adapter_empty", given=given
        )
    for name, entry in named.items():
        dtype = str(entry.get("dtype"))
        if dtype.startswith("F8"):
            raise AdapterRefused(
                f"{given} holds 8-bit numbers ({dtype} in {name[:80]!r}), which have lost too much for a LoRA; "
                "choose the file in 16 or 32 bits.",
                code="adapter_dtype",
                given=given,
                dtype=dtype,
            )
        if dtype not in FLOATS and not any(word in name[-40:] for word in _COUNTS):
            raise damaged(given, reason("not_floats", name=name[:80], found=dtype))
    return list(named), metadata, tuple(sorted({str(entry["dtype"]) for entry in named.values()}))


def _sentence(error: UnpackingError, given: str) -> AdapterRefused:
    """What the other process found, as a refusal."""
    if error.reason == "code":
        return AdapterRefused(
            f"{given} holds program code ({error.detail}), which is never run here; choose a .safetensors file.",
            code="adapter_code",
            given=given,
            found=error.detail,
        )
    if error.reason in ("large", "memory", "time"):
        return AdapterRefused(
            f"{given} takes more memory or time to open than a LoRA may; choose a .safetensors file.",
            code="adapter_bomb",
            given=given,
        )
    if error.reason == "layout":
        return no_layout(given, error.detail)
    return damaged(given, reason("file_end"))
