"""Stored files by sha256, to their owners alone; pictures leave as they were stored, texts in the PNG included.

    /studio/picture/SHA.png      a picture; with ?name= it is saved under that name
    /studio/thumb/SHA.webp       a small copy, ?size= pixels
    /studio/adapter/SHA.safetensors
    /studio/embedding/SHA      an embedding's file as it came, saved under its name
    /studio/made/SHA             what the workbench made for the caller
    /studio/example/SET/FILE     a picture of a sample set

What is somebody else's is answered like what is not there: a hash is a name and no key. Answers under a hash may be
kept for ever, but for files that are saved under a name which a person may change.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from lora_studio.errors import InvalidInput, StudioError
from lora_studio.ui.actions.status import examples
from lora_studio.ui.studio import Ask, Studio, file_missing
from lora_studio.web.answers import refusal
from lora_studio.web.identity import owner_of

KEEP = "private, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"
"""For what is saved under its present name: a browser that kept it would save it under an old one."""
MOST_JOBS = 10_000
_THUMB = 256


def file_routes(studio: Studio) -> list[Route]:
    """The routes of everything that is stored."""

    async def picture(request: Request) -> Response:
        return await _answer(studio, request, _picture)

    async def thumb(request: Request) -> Response:
        return await _answer(studio, request, _thumb)

    async def adapter(request: Request) -> Response:
        return await _answer(studio, request, _adapter)

    async def embedding(request: Request) -> Response:
        return await _answer(studio, request, _embedding)

    async def made(request: Request) -> Response:
        return await _answer(studio, request, _made)

    async def example(request: Request) -> Response:
        return await _answer(studio, request, _example)

    return [
        Route("/studio/picture/{sha256}.png", picture),
        Route("/studio/thumb/{sha256}.webp", thumb),
        Route("/studio/adapter/{sha256}.safetensors", adapter),
        Route("/studio/embedding/{sha256}", embedding),
        Route("/studio/made/{sha256}", made),
        Route("/studio/example/{set}/{file}", example),
    ]


async def _answer(studio: Studio, request: Request, make: object) -> Response:
    """The file that `make` finds for this caller, or the sentence why not."""
    assert callable(make)
    ask = Ask(studio, owner_of(request.scope), {**request.query_params, **request.path_params})
    try:
        response: Response = await run_in_threadpool(make, ask)
    except StudioError as problem:
        return refusal(problem)
    response.headers.setdefault("cache-control", KEEP)
    return response


def _picture(ask: Ask) -> Response:
    path = _own(ask)
    if path.suffix != ".png":
        raise file_missing(ask.text("sha256"))
    headers = _saved_as(ask.text("name"), ".png") if "name" in ask.data else {}
    return FileResponse(path, media_type="image/png", headers=headers)


def _thumb(ask: Ask) -> Response:
    _own(ask)
    given = ask.text("size", str(_THUMB))
    if not re.fullmatch(r"[0-9]{1,4}", given):
        raise InvalidInput(
            f"size was given as {given[:80]!r}; it must be a whole number; change it and try again.",
            code="field_number",
            field="size",
            given=given[:80],
            allowed="16 to 1024",
            whole=True,
        )
    return FileResponse(ask.studio.workspace.files.thumbnail(ask.text("sha256"), int(given)), media_type="image/webp")


def _adapter(ask: Ask) -> Response:
    entry = ask.adapter()
    path = ask.studio.workspace.files.path(entry.sha256)
    return _download(path, entry.name, ".safetensors")


def _embedding(ask: Ask) -> Response:
    entry = ask.embedding()
    path = ask.studio.workspace.files.path(entry.sha256)
    return _download(path, entry.name, path.suffix)


def _made(ask: Ask) -> Response:
    """What the workbench made: a file that the result of one of the caller's jobs lists."""
    sha256 = ask.text("sha256")
    jobs = ask.studio.workspace.jobs.list(owner=ask.owner, kinds=["workbench"], states=["done"], limit=MOST_JOBS)
    if not any(file["sha256"] == sha256 for job in jobs for file in (job.result or {}).get("files", [])):
        raise file_missing(sha256)
    path = ask.studio.workspace.files.path(sha256)
    return _download(path, ask.text("name", "adapter").removesuffix(path.suffix), path.suffix)


def _download(path: Path, name: str, suffix: str) -> Response:
    """A file to be saved under `name`."""
    headers = _saved_as(name, suffix) | {"cache-control": ASK_AGAIN}
    return FileResponse(path, media_type="application/octet-stream", headers=headers)


def _example(ask: Ask) -> Response:
    assets = ask.studio.settings.assets
    for example in examples(assets):
        if example["name"] == ask.text("set") and ask.text("file") in example["show"]:
            return FileResponse(assets / "examples" / example["name"] / ask.text("file"), media_type="image/png")
    raise file_missing(ask.text("file"))


def _own(ask: Ask) -> Path:
    """Where a stored file lies that the caller may see. Raises `NotFound`, for somebody else's too."""
    return ask.studio.workspace.files.path(ask.file(ask.text("sha256")))


def _saved_as(name: str, suffix: str) -> dict[str, str]:
    """The header that makes a browser save the file under `name` (RFC 6266)."""
    plain = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "_", name).strip(" .")[:120] or "file"
    plain = plain.removesuffix(suffix) + suffix
    ascii_only = plain.encode("ascii", "replace").decode().replace("?", "_")
    return {"content-disposition": f"attachment; filename=\"{ascii_only}\"; filename*=UTF-8''{quote(plain)}"}
