"""`serve`: the studio in a browser. It checks place, address and port, and hands over to the page it is given."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable

from lora_studio.cli.options import ServeOptions, given_settings
from lora_studio.errors import InvalidInput, NotAllowed
from lora_studio.settings import Settings, load_settings


def run(options: ServeOptions, page: Callable[[Settings], None]) -> None:
    """Serve the page until it is stopped.

    Raises:
        InvalidInput: the port is taken or not allowed.
        NotAllowed: the host could be reached from other machines, or must be, on a Hugging Face Space.
    """
    if os.environ.get("SPACE_ID"):  # set in every Space; without this it would wait there for a page that never comes
        raise NotAllowed(
            f"This is the Hugging Face Space {os.environ['SPACE_ID']!r}, where a page must be open to everybody, and "
            "there are no accounts yet that would keep people's pictures apart; allowed is the page on a machine of "
            "your own; clone the repository there and start it.",
            code="space_not_served",
            given=os.environ["SPACE_ID"],
        )
    settings = load_settings(**given_settings(options), open_browser=False if options.no_browser else None)
    check_port(settings.host, settings.port)
    page(settings)


def check_port(host: str, port: int) -> None:
    """Find out before anything is loaded that address or port cannot be had; raises `InvalidInput`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if os.name != "nt":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), port))
    except OSError as problem:
        if problem.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise InvalidInput(
                f"The address {host} is none of this machine ({problem.strerror}); give another one, like --host "
                "127.0.0.1.",
                code="host_unusable",
                given=host,
            ) from None
        why = "is in use by another program" if problem.errno == errno.EADDRINUSE else f"failed ({problem.strerror})"
        raise InvalidInput(
            f"The port {port} on {host} {why}; close that one or give another, like --port {port % 65535 + 1}.",
            code="port_taken",
            given=str(port),
        ) from None
