"""Errors as answers: a `StudioError` becomes JSON with its sentence, its code and its values."""

from __future__ import annotations

from starlette.responses import JSONResponse

from lora_studio.errors import BaseUnavailable, InvalidInput, NotAllowed, NotFound, StorageError, StudioError

_STATUS: tuple[tuple[type[StudioError], int], ...] = (
    (InvalidInput, 422),
    (BaseUnavailable, 422),
    (NotFound, 404),
    (NotAllowed, 403),
    (StorageError, 507),
)


def refusal(problem: StudioError) -> JSONResponse:
    """The answer for an error with a sentence."""
    status = next((number for kind, number in _STATUS if isinstance(problem, kind)), 500)
    return JSONResponse({"error": problem.as_json()}, status)
