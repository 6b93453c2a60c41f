"""Who asks: a random id that the browser keeps in a cookie. It is the owner of things until accounts come.

128 bits from the system's generator; whoever does not know it cannot guess it. It does not know what is owned.
"""

from __future__ import annotations

import re
import secrets
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "lora_studio_browser"
MAX_AGE = 400 * 24 * 3600
"""Seconds; browsers keep no cookie longer, and every visit renews it."""

_ID = re.compile(r"[0-9a-f]{32}")


class Identity:
    """Middleware: puts the browser's id into the scope, and gives one to a browser that has none."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        known = _cookie(HTTPConnection(scope).headers.get("cookie", ""))
        scope["lora_studio_owner"] = known or secrets.token_hex(16)
        page = scope["path"] == "/"

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start" and (page or not known):
                cookie = f"{COOKIE}={scope['lora_studio_owner']}; Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Lax"
                MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        await self.app(scope, receive, send_with_cookie)


def owner_of(scope: Scope) -> str:
    """The id that `Identity` found."""
    return str(scope["lora_studio_owner"])


def _cookie(header: str) -> str | None:
    """The id in a Cookie header, None where there is none or it is none of ours."""
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel is not None and _ID.fullmatch(morsel.value) else None
