"""Dataclass fields that carry their own doc line, range and check, and their way to JSON and back.

Labels, help texts and documentation are generated from `describe`; a form and the command line therefore
cannot say anything else than the check does. Pattern: litgpt `args.py` (docs beside fields, checks in
`__post_init__`).
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import MISSING, dataclass
from typing import Any, TypeVar

from lora_studio.errors import InvalidInput

T = TypeVar("T")

_SHOWN = 200
"""Characters of a bad value that its sentence quotes."""
_FLOATS = 2**1000
"""Whole numbers below are floats too; larger ones stay as they are, for the check to refuse."""


@dataclass(frozen=True)
class FieldSpec:
    """What a field says of itself: doc line, unit, allowed range or choices."""

    name: str
    doc: str
    default: Any
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    advanced: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.minimum is not None and self.maximum is not None:
            return f"{_digits(self.minimum)} to {_digits(self.maximum)}"
        if self.minimum is not None:
            return f"{_digits(self.minimum)} or more"
        return "any value"


def _digits(value: float) -> str:
    """A bound of a range in full: 9007199254740991 and not 9.0072e+15."""
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def spec(
    default: Any = MISSING,
    *,
    doc: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    unit: str = "",
    advanced: bool = False,
) -> Any:
    """A dataclass field with its doc line and its check (see `FieldSpec`)."""
    meta = {
        "doc": doc,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "unit": unit,
        "advanced": advanced,
    }
    return dataclasses.field(default=default, metadata={"spec": meta})


def describe(cls: type) -> tuple[FieldSpec, ...]:
    """The `FieldSpec`s of a dataclass, in order, of the fields that were made by `spec`."""
    found = []
    for f in dataclasses.fields(cls):
        if "spec" in f.metadata:
            default = None if f.default is MISSING else f.default
            found.append(FieldSpec(name=f.name, default=default, **f.metadata["spec"]))
    return tuple(found)


def check(obj: Any) -> None:
    """Raise `InvalidInput` for the first field of the dataclass `obj` that is out of its range.

    A bool is no number, an int may stand for a float, NaN and infinities are refused.
    """
    hints = typing.get_type_hints(type(obj))
    for field in describe(type(obj)):
        value = getattr(obj, field.name)
        if value is None and type(None) in typing.get_args(hints[field.name]):
            continue
        wanted = _numeric_kind(hints[field.name])
        if wanted is not None:
            _check_number(field, value, wanted)
        choices = ("true", "false") if hints[field.name] is bool else field.choices
        if choices and not (isinstance(value, bool) if hints[field.name] is bool else value in choices):
            raise InvalidInput(
                f"{field.name} was given as {value!r}; allowed is one of {', '.join(choices)}; choose one of these.",
                code="field_choice",
                field=field.name,
                given=str(value),
                allowed=", ".join(choices),
            )


def check_text(value: Any, field: str) -> None:
    """Raise `InvalidInput` where `value`, given for `field`, is no text that can be kept.

    Half a character (a lone surrogate), which a page can send and JSON can say, fits into no file.
    """
    whole = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    if value == whole:
        return
    shown = whole[:_SHOWN]
    raise InvalidInput(
        f"{field} was given as {shown!r}, which is no valid text; type it again.",
        code="text_invalid",
        field=field,
        given=shown,
    )


def _numeric_kind(hint: Any) -> type | None:
    """`int`, `float` or None for a type hint, `X | None` looked through."""
    options = [h for h in (typing.get_args(hint) or (hint,)) if h is not type(None)]
    if options == [int]:
        return int
    if options == [float] or set(options) == {int, float}:
        return float
    return None


def _check_number(field: FieldSpec, value: Any, wanted: type) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # A whole number of hundreds of digits is one that no float can hold.
    finite = number and (abs(value) < _FLOATS if isinstance(value, int) else math.isfinite(value))
    whole = finite and (wanted is float or isinstance(value, int) or value.is_integer())
    low = field.minimum is None or (finite and value >= field.minimum)
    high = field.maximum is None or (finite and value <= field.maximum)
    if not (number and finite and whole and low and high):
        kind = "a whole number" if wanted is int else "a number"
        shown = repr(value)[:_SHOWN]
        span = "" if field.allowed == "any value" else f" from {field.allowed}"
        raise InvalidInput(
            f"{field.name} was given as {shown}; it must be {kind}{span}; change it and try again.",
            code="field_number",
            field=field.name,
            given=str(value)[:_SHOWN],
            allowed=field.allowed,
            whole=wanted is int,
        )


def to_json(obj: Any) -> Any:
    """A dataclass (nested, with tuples) as plain JSON values."""
    if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
        return {f.name: to_json(getattr(obj, f.name)) for f in dataclasses.fields(obj)}
    if isinstance(obj, (list, tuple)):
        return [to_json(item) for item in obj]
    if isinstance(obj, dict):
        return {str(key): to_json(value) for key, value in obj.items()}
    return obj


def from_json(cls: type[T], data: Any) -> T:
    """The dataclass `cls` from what `to_json` gave; unknown keys are refused, never ignored."""
    if not isinstance(data, dict):
        raise InvalidInput(
            f"{cls.__name__} was given as {data!r}; it must be a JSON object.", code="not_an_object", given=str(data)
        )
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise InvalidInput(
            f"{cls.__name__} has no field {unknown[0]!r}; allowed are {', '.join(sorted(hints))}.",
            code="unknown_field",
            given=unknown[0],
            allowed=", ".join(sorted(hints)),
        )
    missing = [
        f.name
        for f in dataclasses.fields(cls)  # type: ignore[arg-type]
        if f.default is MISSING and f.default_factory is MISSING and f.name not in data
    ]
    if missing:
        raise InvalidInput(
            f"{cls.__name__} lacks the field {missing[0]!r}; add it and try again.",
            code="missing_field",
            given=missing[0],
        )
    return cls(**{key: _restore(hints[key], value) for key, value in data.items()})


def _restore(hint: Any, value: Any) -> Any:
    """One JSON value as the type that `hint` names."""
    if value is None:
        return None
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = [a for a in args if a is not type(None)]
        return _restore(inner[0], value) if len(inner) == 1 else value
    if origin is tuple and isinstance(value, (list, tuple)):
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_restore(args[0], item) for item in value)
        return tuple(_restore(a, item) for a, item in zip(args, value, strict=True))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and not isinstance(value, hint):
        return from_json(hint, value)
    if isinstance(value, bool):
        return value
    if hint is float and isinstance(value, int) and abs(value) < _FLOATS:
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)  # 20.0, as some programs write 20
    return value
