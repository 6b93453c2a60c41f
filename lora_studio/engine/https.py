"""Fetching by https from hosts that are allowed, and from nowhere else.

A name could lead to a machine of the inner network (SSRF), so every address of a host must be a public one, and the
connection goes to the very address that was checked: a second look-up could give another. Redirects are followed by
hand, each checked as the first. It knows neither what is fetched nor why it is allowed.
Source: OWASP, Server Side Request Forgery Prevention Cheat Sheet.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from lora_studio.errors import NotAllowed, NotFound, StudioError

PORT = 443
TIMEOUT = 20.0
"""Seconds for connecting, and without a byte."""
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_AGENT = "lora-studio"

Resolve = Callable[[str], list[str]]
"""The addresses of a host; raises OSError."""
Connect = Callable[[str, str], http.client.HTTPConnection]
"""A connection to a host (first) at an address of it."""


@dataclass(frozen=True)
class Answer:
    """An open answer: its final address, its headers in small letters, and the bytes as they come."""

    url: str
    headers: dict[str, str]
    chunks: Iterator[bytes]


def resolve(host: str) -> list[str]:
    """All addresses of a host."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, PORT, type=socket.SOCK_STREAM)]


def connect(host: str, address: str) -> http.client.HTTPConnection:
    """A connection to `address` whose certificate must be `host`'s."""
    return _Pinned(host, address)


class _Pinned(http.client.HTTPSConnection):
    """Connects to the address that was checked, whatever the name leads to by now."""

    def __init__(self, host: str, address: str) -> None:
        self._trust = ssl.create_default_context()
        super().__init__(host, PORT, timeout=TIMEOUT, context=self._trust)
        self._address = address

    def connect(self) -> None:
        plain = socket.create_connection((self._address, PORT), self.timeout)
        try:
            self.sock = self._trust.wrap_socket(plain, server_hostname=self.host)
        except OSError:
            plain.close()
            raise


@dataclass(frozen=True)
class Web:
    """What is asked of the network; tests put their own in."""

    allows: Callable[[str], bool]
    resolve: Resolve = resolve
    connect: Connect = connect

    @contextlib.contextmanager
    def get(self, url: str) -> Iterator[Answer]:
        """The answer to a request, redirects followed.

        Raises:
            NotAllowed: a host that is not allowed or has no public address, the first one or one of a redirect.
            NotFound: the host does not answer, or says that there is no such file.
        """
        with contextlib.ExitStack() as opened:
            for _ in range(_MOST_REDIRECTS + 1):
                host = self._host(url)
                answer = self._ask(opened, host, url)
                if answer.status not in _REDIRECTS:
                    yield self._checked(answer, host, url)
                    return
                url = urljoin(url, answer.headers.get("location", ""))
            raise _unanswered(self._host(url), "it answers with one redirect after the other")

    def _host(self, url: str) -> str:
        """The host of an address that may be asked. Raises `NotAllowed`."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme != "https" or parts.port not in (None, PORT) or not self.allows(host):
            raise NotAllowed(
                f"The file was to be fetched from {url[:100]!r}, which is not allowed; choose another source.",
                code="download_redirect",
                given=url[:100],
            )
        return host

    def _ask(self, opened: contextlib.ExitStack, host: str, url: str) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            addresses = self.resolve(host)
            if not addresses or not all(is_public(address) for address in addresses):
                raise NotAllowed(
                    f"The host {host!r} leads into this machine's own network, from which nothing is fetched; choose "
                    "another source.",
                    code="download_private",
                    given=host,
                )
            connection = self.connect(host, addresses[0])
            opened.callback(connection.close)
            connection.request("GET", path, headers={"user-agent": _AGENT, "accept-encoding": "identity"})
            answer = connection.getresponse()
            opened.callback(answer.close)
            return answer
        except (OSError, http.client.HTTPException, UnicodeError) as problem:
            raise _unanswered(host, str(problem) or type(problem).__name__) from problem

    def _checked(self, answer: http.client.HTTPResponse, host: str, url: str) -> Answer:
        if answer.status != 200:
            status, path = f"{answer.status} {answer.reason}", urlsplit(url).path[:200]
            raise NotFound(
                f"{host} answers {status} to the request for {path!r}; check the name, and whether a login is needed "
                "there (none is sent).",
                code="download_status",
                host=host,
                status=status,
                given=path,
            )
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(url, headers, _chunks(answer, host))


def _chunks(answer: http.client.HTTPResponse, host: str) -> Iterator[bytes]:
    try:
        while chunk := answer.read1(1 << 16):
            yield chunk
        if answer.length:
            raise _unanswered(host, f"it ended {answer.length} bytes early")
    except (OSError, http.client.HTTPException) as problem:
        raise _unanswered(host, str(problem) or type(problem).__name__) from problem


def is_public(address: str) -> bool:
    """False for addresses of this machine, of private networks and of no machine at all, in any disguise."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        nat = found in ipaddress.ip_network("64:ff9b::/96") or found in ipaddress.ip_network("64:ff9b:1::/48")
        if nat or (inner is not None and not is_public(str(inner))):
            return False
    return found.is_global and not found.is_multicast and not found.is_reserved and not found.is_unspecified


def _unanswered(host: str, reason: str) -> StudioError:
    return NotFound(
        f"{host} could not be reached ({reason[:200]}); check the network, or add the file by hand.",
        code="download_unreachable",
        host=host,
        reason=reason[:200],
    )
