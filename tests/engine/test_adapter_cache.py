"""LoRA files of folders on a real tiny base: read in place, their report kept, a change while they are read noticed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lora_studio.adapters import admit
from lora_studio.adapters.canonical import LowRank
from lora_studio.adapters.door import FileOptions
from lora_studio.engine import adapter_cache
from lora_studio.engine.adapter_cache import AdapterCache, remember
from lora_studio.errors import NotFound
from lora_studio.pipeline import SharedBase
from lora_studio.store import Workspace
from lora_studio.types import LOCAL
from tests.support.tiny import kohya_file, load_tiny, random_adapter, write_tiny_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SharedBase:
    return load_tiny(write_tiny_base(tmp_path_factory.mktemp("tiny")))


@pytest.fixture
def workspace(tmp_path: Path, base: SharedBase) -> Iterator[Workspace]:
    """One that reads a folder with a LoRA in it."""
    folder = tmp_path / "Lora"
    folder.mkdir()
    kohya_file(random_adapter(base, 1), folder / "noise.safetensors")
    with Workspace.open(tmp_path / "workspace", [folder]) as opened:
        list(opened.folders.scan())
        yield opened


def product(change: LowRank) -> torch.Tensor:
    """B·A, flattened, with whatever stands in front of it."""
    return change.up.flatten(1) @ change.down.flatten(1)


def test_a_file_in_a_folder_is_read_where_it_lies(workspace: Workspace, base: SharedBase) -> None:
    entry = workspace.adapters.find("noise")
    adapter, warnings = AdapterCache(workspace, base).get(entry.sha256)
    wanted = random_adapter(base, 1)
    assert set(adapter.layers) == set(wanted.layers)
    for key, change in wanted.layers.items():
        found = adapter.layers[key]
        assert isinstance(found, LowRank)
        assert isinstance(change, LowRank)
        assert torch.allclose(product(found), product(change), rtol=1e-5, atol=1e-6)
    assert warnings == ()
    assert not workspace.files.has(entry.sha256)


def test_its_report_is_kept_beside_what_the_header_says(workspace: Workspace, base: SharedBase) -> None:
    entry = workspace.adapters.find("noise")
    before = workspace.adapters.get(entry.sha256).report
    assert (before["format"], before["ranks"], before["text_encoder"]) == ("kohya", [3, 3], True)
    AdapterCache(workspace, base).get(entry.sha256)
    after = workspace.adapters.get(entry.sha256).report
    assert after["layers_matched"] == after["layers_in_file"] == len(random_adapter(base, 1).layers)
    assert (after["layers_in_base"], after["base"]) == (
        sum(not layer.is_norm for layer in base.layers.values()),
        base.info.sha256,
    )
    assert "metadata" not in after, "the entry has them already"
    stamp = workspace.adapters.stamp()
    AdapterCache(workspace, base).get(entry.sha256)
    assert workspace.adapters.stamp() == stamp, "what is known already is not news"


def test_a_file_that_is_written_over_while_it_is_read_is_noticed(
    workspace: Workspace, base: SharedBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = workspace.adapters.find("noise")
    place = workspace.files.path(entry.sha256)
    true = adapter_cache.admit

    def slow(*given: object, **more: object) -> object:
        found = true(*given, **more)  # type: ignore[arg-type]
        kohya_file(random_adapter(base, 2), place)
        return found

    monkeypatch.setattr(adapter_cache, "admit", slow)
    with pytest.raises(NotFound, match="was changed"):
        AdapterCache(workspace, base).get(entry.sha256)


def test_a_missing_file_is_not_found(workspace: Workspace, base: SharedBase) -> None:
    entry = workspace.adapters.find("noise")
    workspace.files.path(entry.sha256).unlink()
    with pytest.raises(NotFound):
        AdapterCache(workspace, base).get(entry.sha256)
    assert workspace.adapters.get(entry.sha256, LOCAL).name == "noise"


def test_what_was_measured_stays_and_belongs_to_its_base(workspace: Workspace, base: SharedBase) -> None:
    """Bug: the bars of the blocks went with the first picture, and the strength stayed under another base's name."""
    entry = workspace.adapters.find("noise")
    place = workspace.files.path(entry.sha256)
    _, measured = admit(place, entry.sha256, base.layers, options=FileOptions(weights=base.slots))
    remember(workspace, entry.sha256, measured, base.info)
    before = workspace.adapters.get(entry.sha256).report
    assert before["strength"] == measured.strength > 0
    assert before["blocks"] == dict(measured.blocks) != {}
    AdapterCache(workspace, base).get(entry.sha256)
    assert workspace.adapters.get(entry.sha256).report == before
    _, unmeasured = admit(place, entry.sha256, base.layers)
    remember(workspace, entry.sha256, unmeasured, dataclasses.replace(base.info, sha256="f" * 64, title="another"))
    after = workspace.adapters.get(entry.sha256).report
    assert (after["strength"], after["blocks"], after["base_title"]) == (None, {}, "another")


def test_what_is_joined_goes_with_the_adapter(
    workspace: Workspace, base: SharedBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bug: joins are kept by the adapter's own key, in which a config beside the file counts, and stayed for ever."""
    entry = workspace.adapters.find("noise")
    folder = workspace.files.path(entry.sha256).parent
    kohya_file(random_adapter(base, 2), folder / "other.safetensors")
    list(workspace.folders.scan())
    true, forgotten = adapter_cache.admit, []

    def beside(*given: object, **more: object) -> object:
        adapter, report = true(*given, **more)  # type: ignore[arg-type]
        return dataclasses.replace(adapter, key=f"{adapter.key}+config"), report

    monkeypatch.setattr(adapter_cache, "admit", beside)
    monkeypatch.setattr(adapter_cache, "_REMEMBERED", 1)
    monkeypatch.setattr(base.slots, "forget", forgotten.append)
    cache = AdapterCache(workspace, base)
    for name in ("noise", "other"):
        cache.get(workspace.adapters.find(name).sha256)
    assert forgotten == [f"{entry.sha256}+config"]
