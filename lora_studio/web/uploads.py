"""`POST /studio/upload/...`: one file per request as its raw bytes, written beside the workspace's files first.

    /studio/upload/picture?set=ID&name=NAME     a picture, a caption (.txt) or a zip into a set; NAME may have folders
    /studio/upload/adapter?job=ID&name=NAME     a LoRA file, handed over to the engine as the job ID
    /studio/upload/embedding?job=ID&name=NAME   a textual-inversion embedding, likewise
    /studio/upload/side?sha256=SHA&name=NAME    a file that lay beside a LoRA: A1111's .json, .civitai.info, a picture
    /studio/upload/recall?name=NAME             a picture whose texts are read; it is not kept

One file per request means that an outage costs one file, which is sent again, and not the whole heap.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lora_studio.dataset.texts import MAX_FILE
from lora_studio.errors import InvalidInput, StudioError
from lora_studio.store.disk import told
from lora_studio.store.side_files import MAX_PICTURE
from lora_studio.types.library import adapter_name, embedding_name
from lora_studio.ui.actions.embeddings import import_embedding
from lora_studio.ui.actions.library import import_adapter, take_side
from lora_studio.ui.actions.recall import recall_picture
from lora_studio.ui.studio import Ask, Studio
from lora_studio.ui.views import dataset_view
from lora_studio.web.answers import Answer, refusal
from lora_studio.web.identity import owner_of

MAX_PICTURES = 600_000_000
MAX_ADAPTER = 4_000_000_000
MAX_EMBEDDING = 100_000_000
"""Bytes of one upload; what is in it is judged by the rooms that read it."""
MAX_NAME = 200
MAX_PATH = 1000
"""Characters of a name, and of one with its folders."""

Take = Callable[[Ask, Path, str], Any]


def upload_routes(studio: Studio) -> list[Route]:
    """The doors for files."""
    return [
        Route("/studio/upload/picture", _door(studio, _take_picture, MAX_PICTURES, _path), methods=["POST"]),
        Route("/studio/upload/adapter", _door(studio, _take_adapter, MAX_ADAPTER), methods=["POST"]),
        Route("/studio/upload/embedding", _door(studio, _take_embedding, MAX_EMBEDDING), methods=["POST"]),
        Route("/studio/upload/side", _door(studio, take_side, MAX_PICTURE), methods=["POST"]),
        Route("/studio/upload/recall", _door(studio, recall_picture, MAX_FILE), methods=["POST"]),
    ]


def _take_picture(ask: Ask, path: Path, name: str) -> Any:
    manifest = ask.studio.workspace.datasets.add_files(ask.dataset().id, [path], [name])
    return {"set": dataset_view(manifest)}


def _take_adapter(ask: Ask, path: Path, name: str) -> Any:
    called = adapter_name(name)
    ask.new_id("job")
    sha256 = ask.studio.workspace.files.put_file(path, name[len(called) :].lower())
    return import_adapter(ask, sha256, called)


def _take_embedding(ask: Ask, path: Path, name: str) -> Any:
    called = embedding_name(name)
    ask.new_id("job")
    sha256 = ask.studio.workspace.files.put_file(path, name[len(called) :].lower())
    return import_embedding(ask, sha256, called)


def _bare(given: str) -> str:
    """A file's name without its folders."""
    return PurePosixPath(given.replace("\\", "/")).name[:MAX_NAME] or "file"


def _path(given: str) -> str:
    """A file's name with the folders that it was dropped with: by them a caption finds its picture. It is a name alone,
    nothing is ever written under it; one that leads out of its folders loses them."""
    parts = [part for part in given.replace("\\", "/").split("/") if part not in ("", ".")]
    return "/".join(parts)[-MAX_PATH:] if parts and ".." not in parts else _bare(given)


def _door(studio: Studio, take: Take, limit: int, named: Callable[[str], str] = _bare) -> Callable[[Request], Any]:
    """A handler that streams the body into a file and hands it to `take`, with its name as `named` makes it."""

    async def receive(request: Request) -> Response:
        """Take one file."""
        name = named(request.query_params.get("name", ""))
        ask = Ask(studio, owner_of(request.scope), dict(request.query_params))
        waiting = studio.workspace.root / "uploads"
        try:
            with told(waiting):
                waiting.mkdir(mode=0o750, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=waiting) as folder:
                    path = Path(folder) / "upload"
                    await _write(request, path, (name, limit))
                    return Answer(await run_in_threadpool(take, ask, path, name))
        except StudioError as problem:
            return refusal(problem)

    return receive


async def _write(request: Request, path: Path, bounds: tuple[str, int]) -> None:
    """Stream the body to `path`; `bounds` are the file's name and the most bytes. Raises `InvalidInput`."""
    name, limit = bounds
    size = 0
    with path.open("wb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise InvalidInput(
                    f"The file {name!r} has more than {limit // 1_000_000} MB, which is the most that is taken; "
                    "give a smaller one.",
                    code="upload_too_large",
                    given=name,
                    allowed=str(limit // 1_000_000),
                )
            await run_in_threadpool(file.write, chunk)
