"""What must outlive a stop: checkpoints as bytes, and the cache of encoded pictures.

A checkpoint is a safetensors file (no pickle) that holds everything a run needs to go on as if it had never
stopped: weights, optimizer, step and losses, and which base and which set they come from. Where bytes are kept is
somebody else's business.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from lora_studio.dataset.examples import Example
from lora_studio.errors import InvalidInput

_FORMAT = "1"
_HEADER = "lora_studio_checkpoint"


class Cache(Protocol):
    """Keeps small byte strings by key; may forget any of them at any time."""

    def get(self, key: str) -> bytes | None:
        """What was put under `key`, or None."""

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`."""


class MemoryCache:
    """A `Cache` that lasts as long as the process."""

    def __init__(self) -> None:
        self._items: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        """What was put under `key`, or None."""
        return self._items.get(key)

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`."""
        self._items[key] = data


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A place to go on from: `step` optimizer steps were made with these `losses`, in `seconds`.

    Attributes:
        base: sha256 of the base, "" in checkpoints that do not say it.
        examples: `fingerprint` of the pictures and captions, likewise.
    """

    step: int
    losses: tuple[float, ...]
    seconds: float
    tensors: dict[str, Tensor]
    base: str = ""
    examples: str = ""

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        header = {
            "format": _FORMAT,
            "step": str(self.step),
            "seconds": repr(self.seconds),
            "base": self.base,
            "examples": self.examples,
        }
        losses = torch.tensor(self.losses, dtype=torch.float64)
        tensors = {**self.tensors, "losses": losses}
        data: bytes = save(tensors, metadata={_HEADER: json.dumps(header)})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """What `to_bytes` wrote; raises `InvalidInput` for anything else."""
        try:
            header = _header(data)
            tensors = load(data)
            losses = tuple(tensors.pop("losses").tolist())
            if header["format"] != _FORMAT:
                raise ValueError(f"format {header['format']}")
            told = (str(header.get(name, "")) for name in ("base", "examples"))
            return cls(int(header["step"]), losses, float(header["seconds"]), tensors, *told)
        except (KeyError, ValueError, IndexError, TypeError, SafetensorError) as error:
            raise InvalidInput(
                f"The checkpoint cannot be read ({error}); start the training anew from its recipe.",
                code="checkpoint_unreadable",
                given=str(error),
            ) from error


def learnt_on(path: Path) -> str:
    """sha256 of the base that the checkpoint at `path` was made on; "" where it does not say.

    A file that cannot be read is told of by the run that goes on from it.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            return str(_header(start + file.read(int.from_bytes(start, "little"))).get("base", ""))
    except (OSError, KeyError, ValueError, TypeError, OverflowError, MemoryError):
        return ""


def fingerprint(examples: Sequence[Example]) -> str:
    """sha256 over pictures and captions in their order: what decides, with the settings, what a step learns."""
    named = [[example.sha256, example.caption] for example in examples]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()


def _header(data: bytes) -> dict[str, Any]:
    """What the beginning of a checkpoint's file says of it. Raises KeyError, TypeError or ValueError for others."""
    length = int.from_bytes(data[:8], "little")
    return dict(json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_HEADER]))
