"""`generate --embedding FILE`: files enter the library before pictures are made; what is wrong is said at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_studio.store import Workspace
from tests.cli.conftest import Studio

DRAW = ("generate", "--prompt", "a, EasyThing", "--seed", "1", "--out", "p")


def listed(tmp_path: Path) -> list[str]:
    with Workspace.open(tmp_path / "ws") as workspace:
        return sorted(entry.name for entry in workspace.embeddings.list("local"))


def test_files_enter_the_library(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "here" / "EasyThing.pt").write_bytes(b"embedding 1")
    (tmp_path / "here" / "sub").mkdir()
    (tmp_path / "here" / "sub" / "坏手.safetensors").write_bytes(b"embedding 2")
    answer = studio(*DRAW, "--embedding", "EasyThing.pt", "--embedding", "sub/坏手.safetensors", "--json")
    assert answer.code == 0, answer.err
    assert len(json.loads(answer.out)["images"]) == 1
    assert "note" not in answer.err
    assert listed(tmp_path) == ["EasyThing", "坏手"]
    assert studio(*DRAW, "--embedding", "EasyThing.pt").code == 0
    assert listed(tmp_path) == ["EasyThing", "坏手"], "the same file twice is one entry"


def test_a_name_that_is_taken_is_told(studio: Studio, tmp_path: Path) -> None:
    """Whoever writes the file's name in the prompt would otherwise get another embedding and not know."""
    for folder in ("one", "two"):
        (tmp_path / "here" / folder).mkdir()
        (tmp_path / "here" / folder / "bad.bin").write_bytes(b"embedding " + folder.encode())
    answer = studio(*DRAW, "--embedding", "one/bad.bin", "--embedding", "two/bad.bin")
    assert answer.code == 0
    assert "'bad 2'" in answer.err
    assert listed(tmp_path) == ["bad", "bad 2"]


def test_warnings_of_a_file_are_told(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "here" / "long.pt").write_bytes(b"embedding long")
    assert "note: it is long\n" in studio(*DRAW, "--embedding", "long.pt").err


@pytest.mark.parametrize(
    ("given", "said"), [("gone.pt", "does not exist"), ("folder.pt", "is a folder"), ("x.ckpt", ".safetensors, .pt")]
)
def test_what_is_no_file_is_said_before_an_engine_is_built(
    given: str, said: str, studio: Studio, tmp_path: Path
) -> None:
    (tmp_path / "here" / "folder.pt").mkdir()
    (tmp_path / "here" / "x.ckpt").write_bytes(b"embedding")
    answer = studio(*DRAW, "--embedding", given)
    assert answer.code == 2
    assert f"'{given}'" in answer.err
    assert said in answer.err
    assert answer.engines == []


def test_a_damaged_file_ends_the_command(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "here" / "torn.pt").write_bytes(b"nothing")
    answer = studio(*DRAW, "--embedding", "torn.pt")
    assert answer.code == 2
    assert answer.err.strip().splitlines()[-1] == "'torn' is damaged."
    assert not list((tmp_path / "here" / "p").glob("*.png"))
