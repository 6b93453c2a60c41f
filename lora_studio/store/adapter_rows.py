"""Rows of the table of adapters as entries and back, and what a person may change of one.

Lists leave out the two large columns, the file's metadata and the report: a thousand files trained by kohya's scripts
carry some 50 MB of the first. It opens no files and begins no transaction.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from lora_studio.errors import InvalidInput
from lora_studio.headers.adapter import hints_of, split_words
from lora_studio.store.tables import adapter
from lora_studio.store.words import checked_name, storable
from lora_studio.types import AdapterEntry

CHANGEABLE = ("name", "trigger_words", "notes", "cover", "recommended_weight", "stars")
MOST_STARS = 5
MOST_NOTES = 20_000

LIGHT = tuple(column for column in adapter.c if column.name not in ("metadata", "report", "edited"))
"""What lists read."""

_OWN = ("number", "kept", "changed", "edited")
"""Columns that are the table's own business."""

Places = Mapping[str, Sequence[str]]
"""Where files lie in folders that are read in place, by sha256."""


def entry_of(row: Row[Any], places: Places) -> AdapterEntry:
    """The entry of a row; of one that was read with `LIGHT` alone, the metadata are the few hints and there is no
    report."""
    values = row._asdict()
    for name in _OWN:
        values.pop(name, None)
    hints = values.pop("hints")
    lies = tuple(places.get(row.sha256, ()))
    values["trigger_words"] = tuple(values["trigger_words"])
    values.setdefault("metadata", hints)
    return AdapterEntry(**values, places=lies, missing=not row.kept and not lies)


def values_of(entry: AdapterEntry) -> dict[str, Any]:
    """A row's columns for an entry, without name, kept and changed.

    Raises:
        InvalidInput: notes or stem are no valid text.
    """
    metadata = json.loads(json.dumps(entry.metadata))
    return {
        "sha256": entry.sha256,
        "owner": entry.owner,
        "created": entry.created,
        "size": entry.size,
        "base_sha256": entry.base_sha256,
        "family": entry.family,
        "rank": entry.rank,
        "alpha": entry.alpha,
        "trigger_words": list(entry.trigger_words),
        "cover": entry.cover,
        "run": entry.run,
        "recommended_weight": entry.recommended_weight,
        "notes": storable(entry.notes, "notes"),
        "sample": entry.sample,
        "stem": storable(entry.stem, "name of the file"),
        "stars": entry.stars,
        "deleted": None,
        "edited": [],
        "side": json.loads(json.dumps(entry.side)),
        "hints": hints_of(metadata),
        "report": json.loads(json.dumps(entry.report)),
        "metadata": metadata,
    }


def checked(key: str, value: Any) -> Any:
    """A changed value as it is stored. Raises `InvalidInput`."""
    if key == "name":
        return checked_name(value, "name of the LoRA")
    if key == "notes":
        return _notes(storable(value, "notes"))
    if key == "trigger_words":
        return list(split_words(storable(word, "trigger word") for word in _texts(value)))
    if key == "cover":
        return value
    if key == "recommended_weight":
        return float(_number("recommended_weight", value, -10, 10))
    if key == "stars":
        return int(_number("stars", value, 0, MOST_STARS, whole=True))
    raise InvalidInput(
        f"A LoRA's {key!r} cannot be changed; what can be is {', '.join(CHANGEABLE)}.",
        code="unknown_field",
        given=key,
        allowed=", ".join(CHANGEABLE),
    )


def _texts(value: Any) -> Iterable[str]:
    return (value,) if isinstance(value, str) else value


def _notes(text: str) -> str:
    if len(text) > MOST_NOTES:
        raise InvalidInput(
            f"The notes have {len(text)} characters; at most {MOST_NOTES} are allowed; shorten them.",
            code="notes_too_long",
            given=str(len(text)),
            allowed=str(MOST_NOTES),
        )
    return text


def _number(name: str, value: Any, low: int, high: int, whole: bool = False) -> float:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not low <= number <= high or (whole and number != int(number)):
        kind = "whole number" if whole else "number"
        raise InvalidInput(
            f"{name} was given as {value!r}; it must be a {kind} from {low} to {high}; change it.",
            code="field_number",
            field=name,
            given=str(value),
            allowed=f"{low} to {high}",
            whole=whole,
        )
    return number
