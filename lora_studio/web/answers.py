"""Answers as JSON, in ASCII; a `StudioError` becomes its sentence, its code and its values."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse

from lora_studio.errors import BaseUnavailable, InvalidInput, NotAllowed, NotFound, StorageError, StudioError

_STATUS: tuple[tuple[type[StudioError], int], ...] = (
    (InvalidInput, 422),
    (BaseUnavailable, 422),
    (NotFound, 404),
    (NotAllowed, 403),
    (StorageError, 507),
)


class Answer(JSONResponse):
    """JSON that can always be sent: half a character of somebody's file is an escape here, and no UTF-8 could hold it.

    One such text in a notebook or a library would else make every answer about it impossible, for good.
    """

    def render(self, content: Any) -> bytes:
        """The body of the answer."""
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def refusal(problem: StudioError) -> Answer:
    """The answer for an error with a sentence."""
    status = next((number for kind, number in _STATUS if isinstance(problem, kind)), 500)
    return Answer({"error": problem.as_json()}, status)
