"""What must outlive a stop: checkpoints as bytes, and the cache of encoded pictures.

A checkpoint is a safetensors file (no pickle) that holds everything a run needs to go on as if it had never
stopped: weights, optimizer, step and losses. Where bytes are kept is somebody else's business.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Protocol

import torch
from safetensors.torch import load, save
from torch import Tensor

from lora_studio.errors import InvalidInput

_FORMAT = "1"


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
    """A place to go on from: `step` optimizer steps were made with these `losses`, in `seconds`."""

    step: int
    losses: tuple[float, ...]
    seconds: float
    tensors: dict[str, Tensor]

    def to_bytes(self) -> bytes:
        """As a safetensors file."""
        header = {"format": _FORMAT, "step": str(self.step), "seconds": repr(self.seconds)}
        losses = torch.tensor(self.losses, dtype=torch.float64)
        tensors = {**self.tensors, "losses": losses}
        data: bytes = save(tensors, metadata={"lora_studio_checkpoint": json.dumps(header)})
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """What `to_bytes` wrote; raises `InvalidInput` for anything else."""
        try:
            length = int.from_bytes(data[:8], "little")
            header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["lora_studio_checkpoint"])
            tensors = load(data)
            losses = tuple(tensors.pop("losses").tolist())
            if header["format"] != _FORMAT:
                raise ValueError(f"format {header['format']}")
            return cls(int(header["step"]), losses, float(header["seconds"]), tensors)
        except (KeyError, ValueError, IndexError) as error:
            raise InvalidInput(
                f"The checkpoint cannot be read ({error}); start the training anew from its recipe.",
                code="checkpoint_unreadable",
                given=str(error),
            ) from error
