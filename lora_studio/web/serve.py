"""Serving the application on this machine."""

from __future__ import annotations

import os
import sys
import threading
import time
import webbrowser

import uvicorn

from lora_studio.engine.protocol import Engine
from lora_studio.errors import NotAllowed
from lora_studio.settings import Settings, is_loopback
from lora_studio.store import Workspace

_QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "DISABLE_TELEMETRY": "1"}
"""Nothing is reported to anybody; read by gradio and huggingface_hub on import."""


def serve(settings: Settings, workspace: Workspace, engine: Engine) -> None:
    """Serve the page until the process is told to stop; prints the address.

    Raises:
        NotAllowed: an address that other machines could reach; there are no accounts yet.
    """
    if not is_loopback(settings.host):
        raise NotAllowed(
            f"The host {settings.host!r} could be reached from other machines, and there are no accounts yet that "
            "would keep people's pictures apart; allowed are 127.0.0.1, localhost and ::1; use one of these.",
            code="host_not_loopback",
            given=settings.host,
            allowed="127.0.0.1, localhost, ::1",
        )
    os.environ.update(_QUIET)
    from lora_studio.web.app import create_app

    config = uvicorn.Config(
        create_app(settings, workspace, engine),
        host=settings.host.strip("[]"),
        port=settings.port,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    address = f"http://{'[::1]' if ':' in settings.host else settings.host}:{settings.port}"
    threading.Thread(target=_announce, args=(server, address, settings.open_browser), daemon=True).start()
    server.run()


def _announce(server: uvicorn.Server, address: str, browse: bool) -> None:
    """Say where the page is as soon as it is there, and open it."""
    while not server.started:
        if server.should_exit:
            return
        time.sleep(0.05)
    print(f"LoRA Studio is at {address}  (Ctrl+C stops it)", file=sys.stderr, flush=True)
    if browse:
        webbrowser.open(address)
