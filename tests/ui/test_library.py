"""The library as pages see it: cards, changes, deleting with undo, side files, folders, a thousand entries."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.settings import Settings
from lora_studio.store import Workspace
from lora_studio.types import AdapterEntry
from lora_studio.ui.actions import actions
from lora_studio.ui.actions.library import take_side
from lora_studio.ui.studio import Ask, Studio
from tests.support import lora_files as made
from tests.support.fake_engine import FakeEngine, adapter_entry
from tests.ui.conftest import ROOT, Call, ended, uid

DATA = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of LoRAs with what lies beside them."""
    found = tmp_path / "models" / "Lora"
    made.write(found / "cat.safetensors", "sd1", {"modelspec.license": "CC0", "x": "<b>"}, seed=1)
    made.write(found / "style" / "ink.safetensors", "sdxl", seed=2)
    made.write_json(
        found / "cat.json", {"activation text": "cat ears", "preferred weight": 0.6, "negative text": "dog"}
    )
    (found / "style" / "ink.json").write_bytes(b"{")
    return found


@pytest.fixture
def studio(tmp_path: Path, folder: Path) -> Iterator[Studio]:
    """A studio that reads the folder."""
    settings = Settings(workspace=tmp_path / "ws", assets=ROOT / "assets", lora_folders=(folder,))
    with Workspace.open(settings.workspace, settings.lora_folders) as workspace:
        list(workspace.folders.scan())
        engine = FakeEngine(workspace, settings.assets)
        yield Studio(engine, workspace, settings)
        engine.close()


@pytest.fixture
def mine(studio: Studio) -> AdapterEntry:
    """A LoRA of ann's own."""
    return studio.workspace.adapters.add(adapter_entry(studio.workspace, DATA, "mine", "ann"))


def card(call: Call, name: str, owner: str = "ann") -> dict[str, Any]:
    return next(entry for entry in call("library", owner)["adapters"] if entry["name"] == name)


def test_cards_say_what_is_known(call: Call, tmp_path: Path) -> None:
    cat = card(call, "cat")
    assert (cat["family"], cat["made_for"], cat["rank"], cat["recommended_weight"]) == ("sd1", "SD 1.5", 4, 0.6)
    assert (list(cat["trigger_words"]), cat["negative"], list(cat["places"])) == (
        ["cat ears"],
        "dog",
        ["Lora/cat.safetensors"],
    )
    assert (cat["misfit"], cat["fits"]) == ("family", False), "the pretended base is of no family of theirs"
    [warning] = card(call, "ink")["warnings"]
    assert (warning["code"], warning["values"]) == ("side_damaged", {"file": "ink.json"})
    told = json.dumps(call("library"))
    assert str(tmp_path) not in told, "no path of this machine leaves it"


def test_the_reason_why_one_does_not_fit(studio: Studio, call: Call) -> None:
    base = studio.base()
    add = studio.workspace.adapters.add
    add(AdapterEntry("1" * 64, "fitting", "ann", 1.0, 1, base_sha256=base.sha256, family=base.family))
    add(AdapterEntry("2" * 64, "other base", "ann", 1.0, 1, base_sha256="e" * 64, family=base.family))
    add(AdapterEntry("3" * 64, "says nothing", "ann", 1.0, 1))
    told = {entry["name"]: entry["misfit"] for entry in call("library")["adapters"]}
    assert told == {"cat": "family", "ink": "family", "fitting": "", "other base": "base", "says nothing": ""}


def test_a_detail_has_the_metadata_as_texts_and_the_licence(call: Call) -> None:
    detail = call("adapter", sha256=card(call, "cat")["sha256"])
    found = detail["adapter"]
    assert found["metadata"] == {"modelspec.license": "CC0", "x": "<b>"}
    assert (found["licence"], found["report"]["format"], found["checked"]) == ("CC0", "kohya", False)
    assert detail["uses"] == {"cells": 0, "prompts": (), "runs": ()}


def test_changing_a_card(call: Call) -> None:
    cat = card(call, "cat")
    changes = {
        "name": "Kitty",
        "trigger_words": "ears, (tail, fluffy)",
        "notes": "${alert(1)}",
        "recommended_weight": "0.85",
        "stars": 5,
    }
    call("edit_adapter", sha256=cat["sha256"], changes=changes)
    after = card(call, "Kitty")
    assert list(after["trigger_words"]) == ["ears", "(tail, fluffy)"]
    assert (after["notes"], after["recommended_weight"], after["stars"]) == ("${alert(1)}", 0.85, 5)


def test_long_notes_are_cut_in_lists_alone(call: Call) -> None:
    """A thousand descriptions of Civitai made a list of eight megabytes."""
    sha256 = card(call, "cat")["sha256"]
    assert call("edit_adapter", sha256=sha256, changes={"notes": "x" * 5000})["adapter"]["notes"] == "x" * 5000
    assert card(call, "cat")["notes"] == "x" * 1000
    assert call("adapter", sha256=sha256)["adapter"]["notes"] == "x" * 5000


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"owner": "x"}, "owner"),
        ({"stars": "6"}, "6"),
        ({"stars": 1.5}, "1.5"),
        ({"recommended_weight": "much"}, "much"),
        ({"notes": 3}, "3"),
        ({"notes": "x" * 20_001}, "20001"),
        ({"name": ""}, "''"),
        ({"name": "x" * 101}, "101"),
        ({"cover": 5}, "5"),
    ],
)
def test_bad_changes_are_refused(call: Call, changes: dict[str, Any], word: str) -> None:
    cat = card(call, "cat")
    with pytest.raises(InvalidInput) as caught:
        call("edit_adapter", sha256=cat["sha256"], changes=changes)
    assert word in caught.value.message
    assert card(call, "cat") == cat


def test_a_cover_is_a_picture_that_the_caller_sees(studio: Studio, call: Call) -> None:
    cell = call("make", cell=uid(), job=uid(), form={"prompt": "1girl", "seed": "1"})["cell"]
    ended(studio, cell["job"])
    picture = call("cells")["cells"][0]["images"][0]["sha256"]
    cat = card(call, "cat")
    with pytest.raises(NotFound):
        call("edit_adapter", "ben", sha256=cat["sha256"], changes={"cover": picture})
    assert call("edit_adapter", sha256=cat["sha256"], changes={"cover": picture})["adapter"]["cover"] == picture
    assert card(call, "cat", "ben")["cover"] == picture
    assert call("edit_adapter", sha256=cat["sha256"], changes={"cover": None})["adapter"]["cover"] is None


def test_deleting_says_what_uses_it_and_can_be_undone(studio: Studio, call: Call, mine: AdapterEntry) -> None:
    stack = [{"sha256": mine.sha256, "weight": "1"}]
    cell = call("make", cell=uid(), job=uid(), form={"prompt": "1girl", "seed": "1", "adapters": stack})["cell"]
    ended(studio, cell["job"])
    assert call("adapter_uses", sha256=mine.sha256) == {"cells": 1, "prompts": ("1girl",), "runs": ()}
    assert card(call, "mine")["used"] is not None
    call("delete_adapter", sha256=mine.sha256)
    assert call("cells")["cells"][0]["missing"] == ["mine"]
    assert [one["name"] for one in call("hidden_adapters")["adapters"]] == ["mine"]
    with pytest.raises(NotFound):
        call("edit_adapter", sha256=mine.sha256, changes={"stars": 1})
    with pytest.raises(NotFound):
        call("restore_adapter", "ben", sha256=mine.sha256)
    assert call("restore_adapter", sha256=mine.sha256)["adapter"]["name"] == "mine"
    assert call("cells")["cells"][0]["missing"] == []


def test_a_folders_file_is_hidden_and_stays(studio: Studio, call: Call, folder: Path) -> None:
    cat = card(call, "cat")
    call("delete_adapter", sha256=cat["sha256"])
    list(studio.workspace.folders.scan())
    assert [entry["name"] for entry in call("library")["adapters"]] == ["ink"]
    assert call("library")["hidden"] == 1
    assert (folder / "cat.safetensors").is_file()
    call("restore_adapter", sha256=cat["sha256"])
    assert card(call, "cat") == cat


def test_a_cell_says_that_a_folders_file_is_gone(studio: Studio, call: Call, folder: Path) -> None:
    stack = [{"sha256": card(call, "cat")["sha256"], "weight": "1"}]
    cell = call("make", cell=uid(), job=uid(), form={"prompt": "1girl", "seed": "1", "adapters": stack})["cell"]
    ended(studio, cell["job"])
    (folder / "cat.safetensors").unlink()
    list(studio.workspace.folders.scan())
    assert card(call, "cat")["missing"]
    assert call("cells")["cells"][0]["missing"] == ["cat"]


def test_pages_hear_of_changes_by_the_poll(studio: Studio, call: Call, folder: Path) -> None:
    before = call("poll")["library"]
    assert before == {"stamp": call("library")["stamp"], "done": 0, "todo": 0}
    made.write(folder / "new.safetensors", seed=3)
    list(studio.workspace.folders.scan())
    assert call("poll")["library"]["stamp"] > before["stamp"]


def test_folders_tell_how_they_stand_by_their_names(studio: Studio, call: Call, folder: Path) -> None:
    (folder / "bad.safetensors").write_bytes(b"nothing")
    list(studio.workspace.folders.scan())
    [told] = call("library")["folders"]
    assert told == {"folder": "Lora", "files": 2, "unusable": 1, "problem": None, "read": True}
    assert call("hidden_adapters")["unusable"] == [{"place": "Lora/bad.safetensors", "code": "damaged"}]
    folder.rename(folder.parent / "away")
    list(studio.workspace.folders.scan())
    [told] = call("library")["folders"]
    assert told["problem"]["code"] == "library_folder_missing"
    assert told["problem"]["values"] == {"given": "Lora"}
    assert str(folder) not in told["problem"]["message"]


def test_files_that_lay_beside_it_fill_what_nobody_changed(
    studio: Studio, call: Call, mine: AdapterEntry, tmp_path: Path
) -> None:
    call("edit_adapter", sha256=mine.sha256, changes={"notes": "my own"})
    text = made.write_json(tmp_path / "t", {"activation text": "ears", "preferred weight": 0.5, "notes": "theirs"})
    picture = made.write_picture(tmp_path / "p.png")
    ask = Ask(studio, "ann", {"sha256": mine.sha256})
    take_side(ask, text, "mine.json")
    take_side(ask, picture, "mine.preview.png")
    after = card(call, "mine")
    assert (list(after["trigger_words"]), after["recommended_weight"], after["notes"]) == (["ears"], 0.5, "my own")
    assert studio.workspace.files.has(after["cover"])
    (tmp_path / "broken").write_bytes(b"{")
    take_side(ask, tmp_path / "broken", "mine.civitai.info")
    assert [one["code"] for one in card(call, "mine")["warnings"]] == ["side_damaged"]
    assert list(card(call, "mine")["trigger_words"]) == ["ears"]


@pytest.mark.parametrize("name", ["x.txt", "x.safetensors", "x"])
def test_other_files_are_none_that_lie_beside(studio: Studio, mine: AdapterEntry, tmp_path: Path, name: str) -> None:
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(InvalidInput, match="no file that is read beside"):
        take_side(Ask(studio, "ann", {"sha256": mine.sha256}), tmp_path / "f", name)


def test_a_picture_that_is_none_is_refused(studio: Studio, mine: AdapterEntry, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"no picture")
    with pytest.raises(InvalidInput):
        take_side(Ask(studio, "ann", {"sha256": mine.sha256}), tmp_path / "f", "mine.png")


@pytest.mark.slow
def test_a_thousand_are_listed_without_their_metadata(
    studio: Studio, call: Call, monkeypatch: pytest.MonkeyPatch, counted: Callable[[], list[str]]
) -> None:
    """A list of a thousand files took seconds where each brought 50 KB of its trainer's texts."""
    heavy = {"ss_tag_frequency": "x" * 50_000, "modelspec.title": "T"}
    for number in range(1000):
        entry = AdapterEntry(f"{number:064x}", f"n{number}", "ann", float(number), 1, metadata=heavy)
        with studio.workspace.database.write() as connection:
            studio.workspace.adapters.insert(connection, entry, kept=True)
    told = call("library")
    assert len(told["adapters"]) == 1002
    statements = counted()
    assert len([one for one in statements if "adapter.metadata" in one]) == 0
    assert len(statements) <= 12, "no question for each entry"


@pytest.fixture
def counted(studio: Studio) -> Callable[[], list[str]]:
    """The database's questions of one call of `library`."""
    from sqlalchemy import event

    said: list[str] = []

    def note(_: Any, __: Any, statement: str, *___: Any) -> None:
        said.append(statement)

    engine = studio.workspace.database._engine

    def ask() -> list[str]:
        event.listen(engine, "before_cursor_execute", note)
        actions()["library"](Ask(studio, "ann", {}))
        event.remove(engine, "before_cursor_execute", note)
        return [one for one in said if one.startswith("SELECT")]

    return ask
