"""How far a tool is: what its generator yields between two layers, so that others can have their turn."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """`step` of `steps` layers are done."""

    step: int
    steps: int
