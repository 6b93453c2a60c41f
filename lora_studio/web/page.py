"""The one HTML page: our scripts and styles go in right after `<head>`, and its content policy names its scripts.

Gradio puts `head=` in by script, too late to choose language and theme before the first paint; so the page is changed
here on its way out. Its policy allows inline scripts by a nonce alone. 'unsafe-eval' cannot be left out, because
Gradio builds its components' scripts by `new Function`; nothing that a person typed ever reaches those.
"""

from __future__ import annotations

import re
import secrets

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEAD = re.compile(rb"<head[^>]*>")


class Page:
    """Middleware around Gradio: changes the page at `/` and lets everything else pass.

    Args:
        head: HTML that goes in right after `<head>`.
    """

    def __init__(self, app: ASGIApp, head: str) -> None:
        self.app = app
        self.head = head.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/":
            await self.app(scope, receive, send)
            return
        scope = dict(scope) | {"headers": [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]}
        start: Message = {}
        body = bytearray()

        async def send_changed(message: Message) -> None:
            """Hold the page back until all of it is there, and send it changed."""
            if message["type"] == "http.response.start":
                start.update(message)
                return
            if message["type"] != "http.response.body":
                await send(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            headers = MutableHeaders(scope=start)
            if "text/html" in headers.get("content-type", ""):
                nonce = secrets.token_urlsafe(16)
                body[:] = self._changed(bytes(body), nonce)
                headers["content-security-policy"] = policy(nonce)
                headers["content-length"] = str(len(body))
                headers["cache-control"] = "no-store"
            await send(start)
            await send({"type": "http.response.body", "body": bytes(body)})

        await self.app(scope, receive, send_changed)

    def _changed(self, html: bytes, nonce: str) -> bytes:
        """The page with our head in it and a nonce on each script."""
        html = _HEAD.sub(lambda found: found.group(0) + self.head, html, count=1)
        return html.replace(b"<script", f'<script nonce="{nonce}"'.encode())


def policy(nonce: str) -> str:
    """The content policy of the page: everything from this server, nothing from anywhere else."""
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )
