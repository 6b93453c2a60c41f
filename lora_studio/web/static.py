"""Our scripts, styles and texts, below a path that names their content, so that browsers may keep them for ever."""

from __future__ import annotations

import hashlib
from pathlib import Path

from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from lora_studio.ui import texts

FOLDER = Path(texts.__file__).resolve().parent


class _Kept(StaticFiles):
    """Static files that never change under their path."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def version() -> str:
    """A name for the present content of all scripts, styles and texts."""
    digest = hashlib.sha256()
    for folder in ("static", "strings"):
        for path in sorted((FOLDER / folder).rglob("*")):
            if path.is_file():
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def static_routes(name: str) -> list[Mount]:
    """The mounts for version `name`."""
    return [
        Mount(f"/studio/static/{name}/strings", _Kept(directory=FOLDER / "strings")),
        Mount(f"/studio/static/{name}", _Kept(directory=FOLDER / "static")),
    ]


def head(name: str) -> str:
    """What goes into the page right after `<head>`: language and theme first, before anything is painted."""
    root = f"/studio/static/{name}"
    return (
        f'<script src="{root}/js/boot.js"></script>'
        f'<link rel="stylesheet" href="{root}/css/studio.css">'
        f'<link rel="icon" href="{root}/icon.svg" type="image/svg+xml">'
        f'<script type="module" src="{root}/js/main.js"></script>'
    )
