"""What comes with the app is entered once, and what a person deleted stays deleted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_studio.store import Workspace
from lora_studio.store.samples import install_samples


@pytest.fixture
def assets(tmp_path: Path, picture: Callable[..., bytes]) -> Path:
    """Two adapters, one with its texts, and two cells with pictures."""
    adapters, cells = tmp_path / "assets/examples/adapters", tmp_path / "assets/examples/cells"
    adapters.mkdir(parents=True)
    cells.mkdir()
    (adapters / "cat-ears.safetensors").write_bytes(b"cat ears")
    (adapters / "plain.safetensors").write_bytes(b"plain")
    side = {
        "name": "cat ears",
        "trigger_words": ["cat ears"],
        "base_sha256": "b" * 64,
        "rank": 16,
        "alpha": 16,
        "family": "lora-studio-embedded",
        "recommended_weight": 0.8,
        "steps": 500,
    }
    (adapters / "cat-ears.json").write_text(json.dumps(side))
    listed = [
        {"kind": "picture", "request": {"prompt": "1girl"}, "result": {"images": [{"file": "0.png", "seed": 7}]}},
        {
            "kind": "compare",
            "request": {"with": {}, "without": {}},
            "result": {"with": {"images": [{"file": "1.png"}]}, "without": {"images": [{"file": "0.png"}]}},
            "note": "three LoRAs",
        },
    ]
    (cells / "cells.json").write_text(json.dumps(listed))
    for number in (0, 1):
        (cells / f"{number}.png").write_bytes(picture(number))
    return tmp_path / "assets"


def test_adapters_come_with_their_texts(workspace: Workspace, assets: Path) -> None:
    install_samples(workspace, assets)
    found = {entry.name: entry for entry in workspace.adapters.list("anybody")}
    assert set(found) == {"cat ears", "plain"}
    cat = found["cat ears"]
    assert (cat.sample, cat.trigger_words, cat.rank, cat.alpha) == (True, ("cat ears",), 16, 16.0)
    assert (cat.base_sha256, cat.family, cat.recommended_weight) == ("b" * 64, "lora-studio-embedded", 0.8)
    assert workspace.files.read(cat.sha256) == b"cat ears"
    plain = found["plain"]
    assert (plain.rank, plain.alpha, plain.trigger_words, plain.recommended_weight) == (None, None, (), 1.0)


def test_a_new_notebook_begins_with_the_sample_cells(
    workspace: Workspace, assets: Path, picture: Callable[..., bytes]
) -> None:
    before = workspace.notebooks.default("early")
    install_samples(workspace, assets)
    assert workspace.notebooks.cells(before.id) == []
    for owner in ("ann", "bob"):
        compare, first = workspace.notebooks.cells(workspace.notebooks.default(owner).id)
        assert (first.kind, first.request, first.sample, first.job) == ("picture", {"prompt": "1girl"}, True, None)
        assert first.result is not None
        image = first.result["images"][0]
        assert image["seed"] == 7
        assert "file" not in image
        assert workspace.files.read(image["sha256"]) == picture(0)
        assert compare.note == "three LoRAs"
        assert compare.result is not None
        assert compare.result["without"]["images"] == [{"sha256": image["sha256"]}]
    own = workspace.notebooks.add(workspace.notebooks.default("ann").id, "picture", {})
    assert workspace.notebooks.cells(own.notebook)[0] == own, "new cells stand above the samples"
    assert workspace.notebooks.cells(workspace.notebooks.create("ann", "empty").id) == []


def test_deleted_samples_stay_deleted(tmp_path: Path, assets: Path) -> None:
    for _ in range(2):
        with Workspace.open(tmp_path / "w") as opened:
            install_samples(opened, assets)
            install_samples(opened, assets)
            names = [entry.name for entry in opened.adapters.list("ann")]
            cells = opened.notebooks.cells(opened.notebooks.default("ann").id)
            if _ == 0:
                assert (len(names), len(cells)) == (2, 2)
                opened.adapters.delete(opened.adapters.find("cat ears").sha256)
                opened.notebooks.delete(cells[0].id)
            else:
                assert names == ["plain"]
                assert len(cells) == 1


def test_purging_a_sample_cell_leaves_its_pictures_to_others(workspace: Workspace, assets: Path) -> None:
    install_samples(workspace, assets)
    ann = workspace.notebooks.cells(workspace.notebooks.default("ann").id)
    for cell in ann:
        workspace.notebooks.delete(cell.id)
    workspace.notebooks.purge(float("inf"))
    bob = workspace.notebooks.cells(workspace.notebooks.default("bob").id)
    assert [workspace.files.has(image["sha256"]) for image in bob[1].result["images"]] == [True]


def test_a_newer_sample_is_entered_beside_the_older(workspace: Workspace, assets: Path) -> None:
    install_samples(workspace, assets)
    (assets / "examples/adapters/cat-ears.safetensors").write_bytes(b"better cat ears")
    (assets / "examples/cells/cells.json").write_text("[]")
    install_samples(workspace, assets)
    assert {entry.name for entry in workspace.adapters.list("ann")} == {"cat ears", "cat ears 2", "plain"}
    assert workspace.notebooks.cells(workspace.notebooks.default("ann").id) == []


def test_without_samples_nothing_happens(workspace: Workspace, tmp_path: Path) -> None:
    install_samples(workspace, tmp_path / "nothing")
    assert workspace.adapters.list("ann") == []
    assert workspace.notebooks.cells(workspace.notebooks.default("ann").id) == []


def test_odd_texts_beside_an_adapter_are_left_out(workspace: Workspace, assets: Path) -> None:
    odd = {"trigger_words": "a, b,", "rank": "many", "alpha": None, "recommended_weight": True, "metadata": {"k": 1}}
    (assets / "examples/adapters/plain.json").write_text(json.dumps(odd))
    (assets / "examples/adapters/cat-ears.json").write_text("[]")
    install_samples(workspace, assets)
    found = {entry.name: entry for entry in workspace.adapters.list("ann")}
    assert set(found) == {"cat-ears", "plain"}
    plain = found["plain"]
    assert (plain.trigger_words, plain.rank, plain.alpha) == (("a", "b"), None, None)
    assert (plain.recommended_weight, plain.metadata) == (1.0, {"k": "1"})
