"""`serve`: the studio in a browser. It checks address and port, and hands over to the page it is given."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from lora_studio.cli.options import ServeOptions, base_settings
from lora_studio.errors import InvalidInput
from lora_studio.settings import Settings, load_settings


def run(options: ServeOptions, page: Callable[[Settings], None]) -> None:
    """Serve the page until it is stopped.

    Raises:
        InvalidInput: the port is taken or not allowed.
        NotAllowed: the host could be reached from other machines.
    """
    settings = load_settings(
        host=options.host,
        port=options.port,
        **base_settings(options),
        device=options.device,
        dtype=options.dtype,
        workspace=options.workspace,
        lora_folders=options.lora_folders or None,
        offline=options.offline or None,
        open_browser=False if options.no_browser else None,
    )
    check_port(settings.host, settings.port)
    page(settings)


def check_port(host: str, port: int) -> None:
    """Find out before anything is loaded that the port cannot be had; raises `InvalidInput`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as problem:
            why = (
                "is in use by another program" if problem.errno == errno.EADDRINUSE else f"failed ({problem.strerror})"
            )
            raise InvalidInput(
                f"The port {port} on {host} {why}; close that one or give another, like --port {port % 65535 + 1}.",
                code="port_taken",
                given=str(port),
            ) from None
