"""What the tests of the engine share: a tiny base on disk and loaded, and a workspace, for all tests of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_studio.pipeline import SharedBase
from lora_studio.store import Workspace
from tests.support.tiny import load_tiny, write_tiny_base


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def base(folder: Path) -> SharedBase:
    return load_tiny(folder)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace.open(tmp_path_factory.mktemp("ws")) as opened:
        yield opened
