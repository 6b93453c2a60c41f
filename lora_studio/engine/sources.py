"""From where LoRA files may be fetched, and what a person's text for one means.

    owner/repo                 a repository of Hugging Face, its only .safetensors file
    owner/repo:file            a file of it
    https://host/path          a file of a host that the operator listed, or of Hugging Face

It asks nobody; what the answers of hosts mean stands here too (`choose`, `file_name`), the asking in `https`.
Sources: Hugging Face Hub's API (https://huggingface.co/docs/hub/api: /api/models/{id} lists `siblings`; a file is at
/{id}/resolve/{revision}/{path}); RFC 6266 for file names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from lora_studio.errors import InvalidInput, NotAllowed, NotFound
from lora_studio.settings import Settings
from lora_studio.types.library import ADAPTER_SUFFIX

HUB = "huggingface.co"
HUB_HOSTS = (HUB, "*.huggingface.co", "*.hf.co")
"""Where the hub's files are: it answers with a redirect to a store of its own."""
_USUAL = "pytorch_lora_weights.safetensors"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_FORMS = "owner/repo, owner/repo:file.safetensors or https://host/file.safetensors"
_TOLD = 5


@dataclass(frozen=True)
class Policy:
    """What the operator allows.

    Attributes:
        hub: Hugging Face.
        hosts: other hosts; `*.example.org` stands for all below it.
        limit: bytes of a file.
    """

    hub: bool = False
    hosts: tuple[str, ...] = ()
    limit: int = 2_000_000_000

    def allows(self, host: str) -> bool:
        """True where a request may go to that host."""
        listed = (*self.hosts, *(HUB_HOSTS if self.hub else ()))
        name = host.casefold().rstrip(".")
        return any(name.endswith(one[1:]) if one.startswith("*.") else name == one for one in listed)


NOTHING = Policy()
"""Nothing may be fetched."""


@dataclass(frozen=True)
class Wanted:
    """What is to be fetched: a file at once, or one of a repository that must be asked for its files first."""

    url: str = ""
    repository: str = ""


def policy_of(settings: Settings) -> Policy:
    """What the settings allow; offline means nothing."""
    if settings.offline:
        return NOTHING
    return Policy(settings.download_hub, settings.download_hosts, settings.download_megabytes * 1_000_000)


def read_source(text: str, policy: Policy) -> Wanted:
    """What a person's text asks for.

    Raises:
        NotAllowed: the operator does not allow it.
        InvalidInput: it is neither of the forms.
    """
    given = text.strip()
    if not policy.hub and not policy.hosts:
        raise NotAllowed(
            "Fetching LoRAs from the network is switched off; whoever runs this app can allow it by the settings "
            "download_hub and download_hosts; until then add files.",
            code="download_off",
        )
    if "://" in given:
        return Wanted(_checked(given, policy))
    repository, _, file = given.partition(":")
    if not _REPOSITORY.fullmatch(repository):
        raise InvalidInput(
            f"{given[:200]!r} is nothing that can be fetched; give {_FORMS}.", code="download_source", given=given[:200]
        )
    if not policy.hub:
        raise _forbidden(HUB, policy)
    if not file:
        return Wanted(repository=repository)
    return Wanted(file_url(repository, file))


def file_url(repository: str, file: str) -> str:
    """Where a file of a repository lies. Raises `InvalidInput` for one of another kind or with `..` in its path."""
    parts = [part for part in file.replace("\\", "/").split("/") if part]
    if not parts or ".." in parts or not file.casefold().endswith(ADAPTER_SUFFIX):
        raise InvalidInput(
            f"The file {file[:200]!r} is no LoRA that is read here; give a {ADAPTER_SUFFIX} file.",
            code="adapter_suffix",
            given=file[:200],
            allowed=ADAPTER_SUFFIX,
        )
    return f"https://{HUB}/{repository}/resolve/main/{quote('/'.join(parts))}"


def list_url(repository: str) -> str:
    """Where the hub says which files a repository has."""
    return f"https://{HUB}/api/models/{repository}"


def choose(repository: str, answer: bytes) -> str:
    """The file that is meant by a repository alone, from the hub's answer.

    Raises:
        NotFound: it has none.
        InvalidInput: it has several and none under the usual name.
    """
    try:
        told = json.loads(answer)
        names = [str(one["rfilename"]) for one in told["siblings"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        names = []
    found = sorted(name for name in names if name.casefold().endswith(ADAPTER_SUFFIX))
    if _USUAL in found:
        return _USUAL
    if not found:
        raise NotFound(
            f"The repository {repository!r} has no {ADAPTER_SUFFIX} file; choose another one.",
            code="download_nothing",
            given=repository,
        )
    if len(found) > 1:
        shown = ", ".join(found[:_TOLD])
        raise InvalidInput(
            f"The repository {repository!r} has {len(found)} {ADAPTER_SUFFIX} files ({shown}); write the one you want "
            f"behind a colon, like {repository}:{found[0]}.",
            code="download_several",
            given=repository,
            count=len(found),
            near=found[:_TOLD],
            first=found[0],
        )
    return found[0]


def file_name(url: str, headers: Mapping[str, str]) -> str:
    """What a fetched file is called: by its host, else by the end of its address; for showing, never a path."""
    message = Message()
    message["content-disposition"] = headers.get("content-disposition", "")
    named: Any = message.get_filename() or unquote(urlsplit(url).path)
    name = re.split(r"[/\\]", str(named))[-1].encode("utf-8", "replace").decode("utf-8")
    return "".join(sign for sign in name if sign.isprintable())[:200] or "LoRA"


def _checked(given: str, policy: Policy) -> str:
    """An https address of an allowed host; a page of the hub about a file becomes the file. Raises."""
    try:
        parts = urlsplit(given)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    plain = parts.scheme == "https" and host and port in (None, 443) and not (parts.username or parts.password)
    if not plain or any(sign.isspace() or not sign.isprintable() for sign in given):
        raise InvalidInput(
            f"{given[:200]!r} is nothing that can be fetched; give {_FORMS}.", code="download_source", given=given[:200]
        )
    if not policy.allows(host):
        raise _forbidden(host, policy)
    path = parts.path.replace("/blob/", "/resolve/", 1) if host == HUB else parts.path
    return f"https://{host}{quote(path, safe='/%:@!$&()*+,;=~-._')}" + (f"?{parts.query}" if parts.query else "")


def _forbidden(host: str, policy: Policy) -> NotAllowed:
    allowed = ", ".join((*policy.hosts, *((HUB,) if policy.hub else ())))
    return NotAllowed(
        f"Nothing may be fetched from {host[:100]!r}; allowed are {allowed}; choose one of these or ask whoever runs "
        "this app.",
        code="download_host",
        given=host[:100],
        allowed=allowed,
    )
