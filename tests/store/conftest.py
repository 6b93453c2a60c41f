"""A workspace of the test's own, and small things to put into it."""

from __future__ import annotations

import io
import random
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from lora_studio.store import Workspace
from lora_studio.types import AdapterEntry, JobKind, JobSpec


@pytest.fixture
def workspace(tmp_path: Path, empty_workspace: Path) -> Iterator[Workspace]:
    """An empty one, closed in the end."""
    with Workspace.open(shutil.copytree(empty_workspace, tmp_path / "workspace")) as opened:
        yield opened


@pytest.fixture
def spec() -> Callable[..., JobSpec]:
    """A job's spec with an id of its own."""

    def make(kind: JobKind = "generate", owner: str = "ann", **payload: Any) -> JobSpec:
        return JobSpec(id=uuid.uuid4().hex, kind=kind, owner=owner, payload=payload)

    return make


@pytest.fixture
def entry() -> Callable[..., AdapterEntry]:
    """An adapter's entry."""

    def make(sha256: str, name: str = "cat ears", owner: str = "ann", **more: Any) -> AdapterEntry:
        return AdapterEntry(sha256=sha256, name=name, owner=owner, **({"created": 1.0, "size": 3} | more))

    return make


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """PNG bytes of a drawing that no other seed gives."""

    def make(seed: int = 0, size: tuple[int, int] = (160, 140)) -> bytes:
        rng = random.Random(seed)
        image = Image.new("RGB", size, tuple(rng.randrange(256) for _ in range(3)))
        pen = ImageDraw.Draw(image)
        for _ in range(12):
            x, y = rng.randrange(size[0]), rng.randrange(size[1])
            pen.ellipse((x, y, x + 40, y + 30), fill=tuple(rng.randrange(256) for _ in range(3)))
        out = io.BytesIO()
        image.save(out, "PNG")
        return out.getvalue()

    return make


@pytest.fixture
def crash() -> Callable[[Workspace], None]:
    """End an open workspace as a kill would: its locks are gone, and nothing more is written."""

    def end(opened: Workspace) -> None:
        opened._presence.close()
        opened.database.close()

    return end
