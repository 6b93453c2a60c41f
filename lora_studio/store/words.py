"""Texts of people on their way into the database: what can be stored, and how long a name may be."""

from __future__ import annotations

from lora_studio.errors import InvalidInput

MAX_NAME = 100


def storable(text: str, what: str) -> str:
    """`text` as it is. Raises `InvalidInput` when it has halves of characters, which no UTF-8 can hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = text.encode("ascii", "backslashreplace").decode("ascii")[:200]
        raise InvalidInput(
            f"The {what} was given as {shown!r}, which is no valid text; type it again.",
            code="text_invalid",
            field=what,
            given=shown,
        ) from error
    return text


def checked_name(name: str, what: str) -> str:
    """A name without the spaces around it. Raises `InvalidInput` when it is empty or over 100 characters."""
    trimmed = storable(name, what).strip()
    if not trimmed:
        raise InvalidInput(
            f"The {what} was given as {name!r}; write at least one character.", code="name_empty", given=name
        )
    if len(trimmed) > MAX_NAME:
        raise InvalidInput(
            f"The {what} has {len(trimmed)} characters; at most {MAX_NAME} are allowed; shorten it.",
            code="name_too_long",
            given=str(len(trimmed)),
        )
    return trimmed


def displayable(text: str) -> str:
    """A file's name for showing and storing: what is no valid UTF-8 in it becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
