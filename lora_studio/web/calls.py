"""`POST /studio/call/NAME`: one JSON object in, one out. The actions themselves stand in `ui.actions`."""

from __future__ import annotations

import json
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lora_studio.errors import InvalidInput, NotFound, StudioError
from lora_studio.store.words import storable
from lora_studio.ui.studio import Action, Ask, Studio
from lora_studio.web.answers import Answer, refusal
from lora_studio.web.identity import owner_of

MAX_BODY = 1_000_000
"""Bytes of a call; the longest prompts of a form are far below it."""


def call_route(studio: Studio, actions: dict[str, Action]) -> Route:
    """The route of all actions."""

    async def call(request: Request) -> Response:
        """Answer one call."""
        try:
            name = request.path_params["name"]
            if name not in actions:
                given = name[:80]
                raise NotFound(f"There is no call {given!r}; reload the page.", code="call_unknown", given=given)
            ask = Ask(studio, owner_of(request.scope), await _body(request))
            return Answer(await run_in_threadpool(actions[name], ask))
        except StudioError as problem:
            return refusal(problem)

    return Route("/studio/call/{name}", call, methods=["POST"])


async def _body(request: Request) -> dict[str, Any]:
    """The JSON object that was sent. Raises `InvalidInput`."""
    raw = bytearray()
    async for chunk in request.stream():
        raw.extend(chunk)
        if len(raw) > MAX_BODY:
            raise InvalidInput(
                f"The call has more than {MAX_BODY} bytes; send less.", code="call_too_long", allowed=str(MAX_BODY)
            )
    try:
        data = json.loads(bytes(raw) or b"{}", parse_constant=_no_number)
    except (ValueError, RecursionError) as problem:
        raise InvalidInput(
            f"The call {bytes(raw[:40])!r} is not JSON; reload the page and try again.",
            code="call_not_json",
            given=repr(bytes(raw[:40])),
        ) from problem
    if not isinstance(data, dict):
        raise InvalidInput(
            f"The call {str(data)[:40]!r} is not a JSON object; reload the page and try again.",
            code="call_not_json",
            given=str(data)[:40],
        )
    _check_texts(data)
    return data


def _check_texts(data: dict[str, Any]) -> None:
    """Raise `InvalidInput` for a text with half a character, by the name of its field; a page sends such a one as an
    escape, and no file and no other program could take it."""
    waiting: list[tuple[str, Any]] = [("call", data)]
    while waiting:
        field, value = waiting.pop()
        if isinstance(value, str):
            storable(value, field)
        elif isinstance(value, dict):
            for key in value:
                storable(key, field)
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(field, part) for part in value]


def _no_number(name: str) -> None:
    """Refuse NaN and Infinity, which are no JSON."""
    raise ValueError(name)
