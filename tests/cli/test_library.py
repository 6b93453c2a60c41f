"""`library`: folders are looked through, entries listed, shown and changed; `--lora` finds what lies in folders."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Studio
from tests.support import lora_files as made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the environment names beside one that is not there."""
    found = tmp_path / "models" / "Lora"
    made.write(found / "cat.safetensors", seed=1)
    made.write_json(found / "cat.json", {"activation text": "cat ears", "preferred weight": 0.7})
    made.write(found / "style" / "ink.safetensors", "sdxl", seed=2)
    (found / "bad.safetensors").write_bytes(b"nothing")
    monkeypatch.setenv("LORA_STUDIO_LORA_FOLDERS", f"{found}{os.pathsep}{tmp_path / 'gone'}")
    return found


def told(studio: Studio, *argv: str) -> dict[str, Any]:
    answer = studio("library", *argv, "--json")
    assert answer.code == 0, answer.err
    return dict(json.loads(answer.out))


def test_scanning_and_listing(studio: Studio, folder: Path) -> None:
    assert told(studio, "list") == {"adapters": []}, "nothing is looked at where nobody asks"
    found = told(studio, "scan")
    assert found["read"] == 3
    assert found["unusable"] == [{"place": "Lora/bad.safetensors", "code": "damaged"}]
    here, gone = found["folders"]
    assert (here["files"], here["unusable"], here["problem"]) == (2, 1, None)
    assert gone["problem"]["code"] == "library_folder_missing"
    assert told(studio, "scan")["read"] == 0
    listed = {one["name"]: one for one in told(studio, "list")["adapters"]}
    assert listed["cat"]["trigger_words"] == ["cat ears"]
    assert (listed["ink"]["family"], listed["ink"]["places"]) == ("sdxl", ["Lora/style/ink.safetensors"])


def test_lines_for_people(studio: Studio, folder: Path) -> None:
    scanned = studio("library", "scan").out
    assert f"{folder}: 2 LoRAs, 1 other files" in scanned
    assert "is not there" in scanned
    assert "ink" in studio("library").out
    assert "SDXL" in studio("library", "list").out
    assert "trigger_words: ['cat ears']" in studio("library", "show", "cat").out


def test_changing_an_entry(studio: Studio, folder: Path) -> None:
    told(studio, "scan")
    changed = told(studio, "edit", "cat", "--label", "Kitty", "--words", "a, b", "--weight", "0.4", "--stars", "5")
    entry = changed["adapter"]
    assert (entry["name"], entry["trigger_words"], entry["recommended_weight"]) == ("Kitty", ["a", "b"], 0.4)
    assert told(studio, "show", "cat")["adapter"]["stars"] == 5, "by the name of its file"
    told(studio, "scan")
    assert told(studio, "show", "Kitty")["adapter"]["trigger_words"] == ["a", "b"]


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (("burn",), "'burn'"),
        (("show",), "NAME is missing"),
        (("show", "nobody"), "no LoRA 'nobody'"),
        (("edit", "cat"), "nothing to change"),
        (("edit", "cat", "--stars", "6"), "'6'"),
        (("edit", "cat", "--weight", "heavy"), "'heavy'"),
        (("edit", "cat", "--label", " "), "' '"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(studio: Studio, folder: Path, argv: tuple[str, ...], word: str) -> None:
    told(studio, "scan")
    answer = studio("library", *argv)
    assert (answer.code, answer.out) == (2, "")
    assert word in answer.err
    assert answer.err.count("\n") == 1


def test_pictures_are_made_with_what_lies_in_folders(studio: Studio, folder: Path) -> None:
    """By the file's name as A1111 writes it, by its place, and with a note where a folder is not there."""
    for name in ("cat", "style/ink", "CAT:0.5"):
        answer = studio("generate", "--prompt", "a", "--seed", "1", "--out", "p", "--lora", name, "--json")
        assert answer.code == 0, answer.err
        [used] = json.loads(answer.out)["images"][0]["adapters"]
        assert used["name"] in ("cat", "ink")
    assert "note: The folder" in answer.err


def test_two_files_of_one_name_are_not_guessed(studio: Studio, folder: Path) -> None:
    made.write(folder / "style" / "cat.safetensors", seed=5)
    told(studio, "scan")
    told(studio, "edit", "cat", "--label", "Kitty")
    told(studio, "edit", "cat 2", "--label", "Tiger")
    answer = studio("generate", "--prompt", "a", "--seed", "1", "--out", "p", "--lora", "cat:0.5")
    assert answer.code == 2
    assert "'Kitty'" in answer.err
    assert "'Tiger'" in answer.err


def test_serving_takes_folders(studio: Studio, tmp_path: Path) -> None:
    served: list[Any] = []
    answer = studio("serve", "--port", "18431", "--lora-folders", "a", "--lora-folders", "b", served=served)
    assert answer.code == 0, answer.err
    assert served[0].lora_folders == (tmp_path / "here" / "a", tmp_path / "here" / "b")
