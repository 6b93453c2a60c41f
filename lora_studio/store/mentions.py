"""Which base and which adapters a stored request mentions, so that a cell can say when one of them has changed.

Requests are read as plain JSON at any depth (a generation, the two sides of a comparison, a training's config);
nothing is checked here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Mentions:
    """sha256 of the base ("" where none is named), and weight by sha256 of each adapter."""

    base: str = ""
    adapters: dict[str, float] = field(default_factory=dict)


def mentions(request: Any) -> Mentions:
    """What a request as JSON mentions; the first base that is named counts, and an adapter's largest weight."""
    found = Mentions()
    _walk(request, found)
    return found


def _walk(value: Any, found: Mentions) -> None:
    if isinstance(value, dict):
        base = value.get("base")
        if isinstance(base, str) and not found.base:
            found.base = base
        _note_adapters(value.get("adapters"), found)
        for part in value.values():
            _walk(part, found)
    elif isinstance(value, list | tuple):
        for part in value:
            _walk(part, found)


def _note_adapters(listed: Any, found: Mentions) -> None:
    if not isinstance(listed, list | tuple):
        return
    for entry in listed:
        if isinstance(entry, dict) and isinstance(entry.get("sha256"), str):
            weight = entry.get("weight", 1.0)
            number = float(weight) if isinstance(weight, int | float) else 1.0
            known = found.adapters.get(entry["sha256"])
            found.adapters[entry["sha256"]] = number if known is None or abs(number) > abs(known) else known
