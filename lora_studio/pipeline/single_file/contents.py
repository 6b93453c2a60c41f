"""What lies in a checkpoint file, from its header alone: names, shapes and numbers of its tensors, and its metadata.

Nothing of the weights is read, so a wrong file is answered in milliseconds whatever its size. It does not know which
kind of base it is; `kinds` does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lora_studio.adapters.tensors import TensorIndex, read_index
from lora_studio.errors import BaseUnavailable
from lora_studio.headers.header import HeaderDamagedError
from lora_studio.headers.reasons import coded, reason, shown

_DIMENSIONS = 8
"""Video models have tensors of five; they are told by their name, not called damaged."""
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


@dataclass(frozen=True)
class Contents:
    """The header of a checkpoint.

    Attributes:
        ref: how the file was asked for.
        path: of the file.
        shapes: tensor name to shape.
        numbers: tensor name to its number format, such as F16.
        metadata: what the file says of itself.
        index: where its tensors lie.
    """

    ref: str
    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    numbers: Mapping[str, str]
    metadata: Mapping[str, str]
    index: TensorIndex

    def under(self, prefix: str) -> dict[str, tuple[int, ...]]:
        """Name behind `prefix` to shape, of the tensors below it."""
        return {name[len(prefix) :]: shape for name, shape in self.shapes.items() if name.startswith(prefix)}

    def has(self, prefix: str) -> bool:
        """True when a tensor's name begins so."""
        return any(name.startswith(prefix) for name in self.shapes)

    def require(self, names: Iterator[str]) -> None:
        """Raise `BaseUnavailable` where one of these tensors holds no floating-point numbers."""
        for name in names:
            if self.numbers[name] not in _FLOATS:
                raise damaged(self.ref, reason("not_floats", name=shown(name), found=self.numbers[name]))


def read_contents(ref: str, path: Path) -> Contents:
    """The contents of the file at `path`.

    Raises:
        BaseUnavailable: it is no safetensors file, it is damaged or cut off, or it holds 8-bit weights with scales
            that are not read.
    """
    try:
        with path.open("rb") as file:
            index = read_index(file, os.fstat(file.fileno()).st_size, _DIMENSIONS)
    except HeaderDamagedError as error:
        raise damaged(ref, error.reason) from None
    named = index.entries
    shapes = {name: tuple(entry["shape"]) for name, entry in named.items()}
    numbers = {name: str(entry.get("dtype")) for name, entry in named.items()}
    return Contents(ref, path, shapes, numbers, index.metadata, index)


def damaged(ref: str, clause: str) -> BaseUnavailable:
    """The sentence for a file that cannot be read to its end."""
    return BaseUnavailable(
        f"The base {ref!r} cannot be loaded: {clause}; fetch it again or choose another base.",
        code="base_damaged",
        given=ref,
        why=str(clause),
        **coded(clause),
    )
