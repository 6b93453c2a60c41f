"""`lora_studio.cli.given`: what a name, a path and a weight behind a colon mean at `generate --lora` and `adapter`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_studio.cli.given import MOST_CONFIG, PEFT_CONFIG, PEFT_FILE, find_adapter, named, peft_config, split_weight
from lora_studio.errors import InvalidInput, NotFound
from lora_studio.store import Workspace
from lora_studio.types import AdapterEntry
from tests.cli.conftest import Studio


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cat", ("cat", None)),
        ("cat:0.5", ("cat", 0.5)),
        ("cat:-1e-1", ("cat", -0.1)),
        ("my:cat:2", ("my:cat", 2.0)),
        ("my:cat", ("my:cat", None)),
        ("C:\\loras\\cat.safetensors", ("C:\\loras\\cat.safetensors", None)),
        ("C:\\loras\\cat.safetensors:0.5", ("C:\\loras\\cat.safetensors", 0.5)),
        ("cat:nan", ("cat:nan", None)),
        ("cat:inf", ("cat:inf", None)),
        ("cat:", ("cat:", None)),
        (":0.5", (":0.5", None)),
    ],
)
def test_a_weight_is_what_stands_behind_the_last_colon(text: str, wanted: tuple[str, float | None]) -> None:
    assert split_weight(text) == wanted


@pytest.fixture
def library(tmp_path: Path) -> Workspace:
    """A workspace with LoRAs whose names hold colons."""
    workspace = Workspace.open(tmp_path / "library")
    for name in ("cat", "my:cat", "style:2"):
        sha256 = workspace.files.put_bytes(name.encode(), ".safetensors")
        workspace.adapters.add(AdapterEntry(sha256=sha256, name=name, owner="local", created=1.0, size=3))
    return workspace


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cat", ("cat", 1.0)),
        ("cat:0.5", ("cat", 0.5)),
        ("my:cat", ("my:cat", 1.0)),
        ("my:cat:0.25", ("my:cat", 0.25)),
        ("style:2", ("style:2", 1.0)),
        ("style:2:0.5", ("style:2", 0.5)),
    ],
)
def test_names_may_hold_colons(library: Workspace, text: str, wanted: tuple[str, float]) -> None:
    asked = find_adapter(library, text)
    assert (asked.name, asked.weight) == wanted
    library.close()


@pytest.mark.parametrize(
    ("text", "kind", "part"),
    [
        ("cat:strong", InvalidInput, "'strong'"),
        ("cat:", InvalidInput, "''"),
        ("cat:1,5", InvalidInput, "'1,5'"),
        ("cat:nan", InvalidInput, "'nan'"),
        ("dog", NotFound, "'dog'"),
        ("dog:0.5", NotFound, "'dog'"),
        ("./dog.safetensors:0.5", NotFound, "'./dog.safetensors'"),
        ("C:\\loras\\dog.safetensors", NotFound, "dog.safetensors"),
        ("", NotFound, "''"),
        ("x" * 5000, NotFound, "xxx"),
    ],
)
def test_what_is_not_there_or_no_number(library: Workspace, text: str, kind: type[Exception], part: str) -> None:
    with pytest.raises(kind) as caught:
        find_adapter(library, text)
    assert part in str(caught.value)
    library.close()


def test_a_drive_letter_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Workspace) -> None:
    """On Windows `C:\\a.safetensors:0.5` splits behind the path; here a file of that odd name stands in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "C:").mkdir()
    (tmp_path / "C:" / "a.safetensors").write_bytes(b"x")
    assert find_adapter(library, "C:/a.safetensors").weight == 1.0
    asked = find_adapter(library, "C:/a.safetensors:0.5")
    assert (asked.file, asked.weight) == (Path("C:/a.safetensors"), 0.5)
    library.close()


def test_a_file_of_peft_s_is_called_as_its_folder(tmp_path: Path, library: Workspace) -> None:
    """`generate --lora FOLDER/adapter_model.safetensors` had called it adapter_model, `adapter` as its folder."""
    file = tmp_path / "my cat" / PEFT_FILE
    file.parent.mkdir()
    file.write_bytes(b"x")
    for given in (file.parent, file):
        asked = named(library, str(given), 0.5)
        assert (asked.file, asked.name, asked.weight) == (file, "my cat", 0.5)
    library.close()


def test_a_bare_word_is_a_name_before_it_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Workspace
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog", "cat.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert (named(library, "cat").file, named(library, "cat").name) == (None, "cat")
    for name, file in (("./cat", "cat"), ("dog", "dog"), ("cat.txt", "cat.txt")):
        assert named(library, name).file == Path(file)
    library.close()


def test_a_config_that_can_be_none_is_refused(tmp_path: Path) -> None:
    """`adapter` had read it whole, `generate` had left it out: the LoRA then acts at another strength."""
    file = tmp_path / "cat.safetensors"
    assert peft_config(file) is None
    (tmp_path / PEFT_CONFIG).write_text('{"r": 4}', encoding="utf-8")
    assert peft_config(file) == '{"r": 4}'
    (tmp_path / PEFT_CONFIG).write_bytes(b" " * (MOST_CONFIG + 1))
    with pytest.raises(InvalidInput, match=PEFT_CONFIG):
        peft_config(file)


def test_pictures_are_made_with_a_folder_of_peft_s(studio: Studio, tmp_path: Path) -> None:
    folder = tmp_path / "here" / "my cat"
    folder.mkdir()
    (folder / PEFT_FILE).write_bytes(b"adapter cats")
    (folder / PEFT_CONFIG).write_text('{"r": 4}', encoding="utf-8")
    answer = studio("generate", "--prompt", "a", "--lora", "my cat:0.5", "--out", "p", "--json")
    assert answer.code == 0, answer.err
    [used] = json.loads(answer.out)["images"][0]["adapters"]
    assert (used["name"], used["weight"]) == ("my cat", 0.5)
    with Workspace.open(tmp_path / "ws") as workspace:
        [job] = workspace.jobs.list(kinds=["import_adapter"])
    assert job.payload["config"] == '{"r": 4}'


def test_a_file_of_another_kind_is_refused_before_an_engine_is_built(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "here" / "words.txt").write_text("no LoRA", encoding="utf-8")
    answer = studio("generate", "--prompt", "a", "--lora", "words.txt:0.5", "--out", "p")
    assert (answer.code, answer.engines) == (2, [])
    assert "The file 'words.txt' is no LoRA that is read here" in answer.err
