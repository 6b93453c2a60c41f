"""Embeddings for one base: read once, from the safetensors form, and refused where they do not fit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lora_studio.adapters import unpacking
from lora_studio.adapters.embedding import admit
from lora_studio.engine.embedding_cache import EmbeddingCache
from lora_studio.errors import EmbeddingRefused, NotFound
from lora_studio.pipeline import SharedBase
from lora_studio.store import Workspace
from lora_studio.types import EmbeddingEntry
from tests.support import embeddings as made
from tests.support.tiny import load_tiny, write_tiny_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SharedBase:
    return load_tiny(write_tiny_base(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "workspace") as opened:
        yield opened


def enter(workspace: Workspace, path: Path, widths: dict[str, int]) -> EmbeddingEntry:
    sha256 = workspace.files.put_file(path)
    embedding, report = admit(path, sha256, widths)
    tensors = "" if report.tensors is None else workspace.files.put_bytes(report.tensors, ".safetensors")
    size = path.stat().st_size
    return workspace.embeddings.add(
        EmbeddingEntry(sha256, path.stem, "ann", time.time(), size, embedding.count, embedding.widths, tensors)
    )


def test_the_base_says_what_it_takes(base: SharedBase) -> None:
    weight = base.text_encoder.get_input_embeddings().weight
    assert base.info.text_widths == {"clip_l": weight.shape[1]} == {"clip_l": made.WIDTH}


@pytest.mark.slow
def test_read_once_without_another_process(
    base: SharedBase, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = enter(workspace, made.write_pt(tmp_path / "words.pt", 4), base.text_widths)
    monkeypatch.setattr(unpacking.subprocess, "Popen", None)
    cache = EmbeddingCache(workspace, base)
    first = cache.get(entry.sha256)
    assert (first.name, first.sha256, first.count) == ("words", entry.sha256, 4)
    assert torch.equal(first.vectors["clip_l"], made.vectors(4))
    assert cache.get(entry.sha256) is first


@pytest.mark.slow
def test_one_that_was_deleted_still_serves_who_has_it(base: SharedBase, workspace: Workspace, tmp_path: Path) -> None:
    """A picture that waits in the queue, and later a cell that is made again, find it."""
    entry = enter(workspace, made.write_pt(tmp_path / "words.pt", 4), base.text_widths)
    notebook = workspace.notebooks.default("ann")
    workspace.notebooks.add(notebook.id, "picture", {"embeddings": [{"name": "words", "sha256": entry.sha256}]})
    workspace.embeddings.delete(entry.sha256)
    assert EmbeddingCache(workspace, base).get(entry.sha256).name == "words"
    workspace.embeddings.purge(time.time() + 1)
    found = EmbeddingCache(workspace, base).get(entry.sha256)
    assert torch.equal(found.vectors["clip_l"], made.vectors(4))


def test_what_is_not_there_or_does_not_fit(base: SharedBase, workspace: Workspace, tmp_path: Path) -> None:
    cache = EmbeddingCache(workspace, base)
    with pytest.raises(NotFound):
        cache.get("0" * 64)
    entry = enter(workspace, made.write_safetensors(tmp_path / "wide.safetensors", width=48), {"clip_l": 48})
    for _ in range(2):
        with pytest.raises(EmbeddingRefused, match="wide"):
            cache.get(entry.sha256)
