"""From what stands in the fields of a form to a frozen dataclass, and from the dataclass to the form's plan.

Fields are sent as the texts that a person typed: what is no number reaches the dataclass's own check, whose sentence
quotes it. It knows no widgets.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar

from lora_studio.types import FieldSpec, describe

T = TypeVar("T")


def read(cls: type, given: dict[str, Any]) -> dict[str, Any]:
    """The values of a form with texts made numbers where they are some; unknown names stay and are refused later.

    An empty text is None for a field that may be left out.
    """
    hints = typing.get_type_hints(cls)
    return {name: _read(hints[name], value) if name in hints else value for name, value in given.items()}


def _read(hint: Any, value: Any) -> Any:
    """One field's text as the number that it is meant to be, else the text itself."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text and type(None) in options:
        return None
    for kind in (int, float):
        if kind in options:
            try:
                return kind(text)
            except ValueError:
                continue
    return value


def number_of(value: Any) -> Any:
    """A field's text as a number where it is one, whole where it is written so; else as it is."""
    return _read(int | float, value)


def plan(cls: type) -> list[dict[str, Any]]:
    """What a page needs to draw a form for `cls`: one entry per field that says something of itself."""
    hints = typing.get_type_hints(cls)
    return [_entry(field, hints[field.name]) for field in describe(cls)]


def _entry(field: FieldSpec, hint: Any) -> dict[str, Any]:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    kind = "number"
    if field.choices:
        kind = "choice"
    elif bool in options:
        kind = "flag"
    elif str in options:
        kind = "text"
    return dataclasses.asdict(field) | {"kind": kind, "whole": int in options and float not in options}
