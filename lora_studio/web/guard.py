"""What may come in and what goes out with it: host names, origins, closed doors, security headers.

Host      loopback names only, so that a foreign site cannot reach the server by pointing its own name here
Origin    calls that change something must come from this very page (SameSite=Lax alone does not bind ports)
doors     of Gradio's own routes only those that the page needs; nothing on it is a Gradio endpoint
headers   nosniff, no frames, no referrer; the page's own policy is set where the page is (`page`)
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = ("GET", "HEAD")

OPEN = ("/studio/", "/assets/", "/static/", "/svelte/")
"""Paths below which everything is open."""

DOORS = ("/", "/theme.css", "/gradio_api/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt")
"""Single paths that are open: the page, its theme, and what browsers ask for by themselves."""

HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
CLOSED_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""The content policy of everything but the page: a picture or a file that is opened by itself may do nothing."""


class Guard:
    """Middleware; the outermost.

    Args:
        one_name: send people who typed `localhost` to 127.0.0.1, where the server listens. Cookies are kept by name,
            and one person should have one notebook, whichever of the two they type.
    """

    def __init__(self, app: ASGIApp, one_name: bool) -> None:
        self.app = app
        self.one_name = one_name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # nothing here speaks WebSocket
        refused = _refusal(scope) or (_redirect(scope) if self.one_name else None)

        async def send_guarded(message: Message) -> None:
            """Send, with the headers that guard the page."""
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("content-security-policy", CLOSED_POLICY)
                for name in ("access-control-allow-origin", "access-control-allow-credentials", "server"):
                    if name in headers:
                        del headers[name]
            await send(message)

        await (refused or self.app)(scope, receive, send_guarded)


def _refusal(scope: Scope) -> ASGIApp | None:
    """The answer to a request that must not come in, None for one that may."""
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if not is_loopback_host(host):
        return PlainTextResponse(
            f"The host name {host[:100]!r} is not one of this server; open http://127.0.0.1 with its port instead.", 421
        )
    path = scope["path"]
    if path not in DOORS and not path.startswith(OPEN):
        return PlainTextResponse(f"There is nothing at {path[:100]!r}.", 404)
    if scope["method"] not in SAFE_METHODS:
        origin = headers.get("origin", "")
        if (
            path in DOORS
            or urlsplit(origin).netloc != host
            or headers.get("sec-fetch-site", "same-origin")
            not in (
                "same-origin",
                "none",
            )
        ):
            return PlainTextResponse(f"Calls from {origin[:100]!r} are not answered; use the page of this server.", 403)
    return None


def _redirect(scope: Scope) -> ASGIApp | None:
    """The way from `localhost` to 127.0.0.1, None for other names and for anything but the page."""
    name, port = _split(Headers(scope=scope).get("host", ""))
    if scope["path"] != "/" or name != "localhost":
        return None
    return RedirectResponse(f"http://127.0.0.1{':' + port if port else ''}/", 307)


def is_loopback_host(host: str) -> bool:
    """True for a Host header that names this machine: localhost, 127.0.0.0/8 or [::1], with or without a port."""
    name, _ = _split(host)
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _split(host: str) -> tuple[str, str]:
    """Name and port of a Host header; brackets of an IPv6 address are taken off."""
    if host.startswith("["):
        name, _, rest = host[1:].partition("]")
        return name, rest.removeprefix(":")
    name, _, port = host.partition(":")
    return name.casefold(), port
