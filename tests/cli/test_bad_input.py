"""Bad input: one sentence that holds the given value, exit code 2, no traceback, and no engine where none is needed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Answer, Studio
from tests.cli.fake import Faults, write_pictures
from tests.support.hardship import small_disk_at

TRAIN = ("train", "cats", "--name", "N", "--out", "a.safetensors")
GENERATE = ("generate", "--prompt", "a cat", "--out", "p")

TABLE = [
    # numbers that are none, or out of range
    (TRAIN, ("--steps", "abc"), "'abc'"),
    (TRAIN, ("--steps", "0"), "'0'"),
    (TRAIN, ("--steps", "1.5"), "'1.5'"),
    (TRAIN, ("--rank", "-4"), "'-4'"),
    (TRAIN, ("--rank", "9999999999999999999999"), "'9999999999999999999999'"),
    (TRAIN, ("--alpha", "nan"), "'nan'"),
    (TRAIN, ("--alpha", ""), "''"),
    (TRAIN, ("--lr", "fast"), "'fast'"),
    (TRAIN, ("--lr", "1e400"), "'1e400'"),
    (TRAIN, ("--lr", "0,001"), "'0,001'"),
    (TRAIN, ("--seed", "abc"), "'abc'"),
    (TRAIN, ("--seed", "-1"), "'-1'"),
    (TRAIN, ("--batch-size", "none"), "'none'"),
    (TRAIN, ("--caption-dropout", "2"), "'2'"),
    (TRAIN, ("--threads", "many"), "'many'"),
    (GENERATE, ("--threads", "-1"), "'-1'"),
    (GENERATE, ("--seed", "abc"), "'abc'"),
    (GENERATE, ("--seed", "9007199254740992"), "'9007199254740992'"),
    (GENERATE, ("--steps", "many"), "'many'"),
    (GENERATE, ("--cfg", "inf"), "'inf'"),
    (GENERATE, ("--cfg", "0.5"), "'0.5'"),
    (GENERATE, ("--count", "0"), "'0'"),
    (GENERATE, ("--clip-skip", "0"), "'0'"),
    (GENERATE, ("--clip-skip", "two"), "'two'"),
    (GENERATE, ("--emphasis", "loud"), "'loud'"),
    (GENERATE, ("--size", "12"), "'12'"),
    (GENERATE, ("--size", "8x8"), "8"),
    (GENERATE, ("--size", "bigxsmall"), "'bigxsmall'"),
    # names that are not known
    (TRAIN, ("--recipe", "wild"), "'wild'"),
    (TRAIN, ("--layers", "some"), "'some'"),
    (TRAIN, ("--dtype", "int4"), "'int4'"),
    (TRAIN, ("--least-weight", "1.5"), "1.5"),
    (GENERATE, ("--device", "tpu"), "'tpu'"),
    (GENERATE, ("--sampler", "magic"), "'magic'"),
    (GENERATE, ("--lora", "nobody"), "'nobody'"),
    (GENERATE, ("--lora", "nobody:strong"), "'strong'"),
    (GENERATE, ("--lora", "nobody:99"), "nobody:99"),
    (GENERATE, ("--lora", "nobody.safetensors"), "'nobody.safetensors'"),
    (GENERATE, ("--lora", "cats/:1"), "'cats/' is a folder"),
    # words
    (("train", "cats", "--out", "a.safetensors"), ("--name", "  "), "'  '"),
    (("train", "cats", "--out", "a.safetensors"), ("--name", "n" * 101), "101"),
    (("generate", "--out", "p"), ("--prompt", ""), "''"),
    (("generate", "--out", "p"), ("--prompt", " \t "), "' \\t '"),
    (("generate", "--out", "p"), ("--prompt", "x" * 10_001), "10001"),
    (("generate", "--out", "p"), ("--prompt", "a\udcff"), "\\udcff"),
    (GENERATE, ("--negative", "x" * 10_001), "10001"),
    (GENERATE, ("--prompts-from", "p.txt"), "both"),
    (("generate", "--out", "p"), (), "--prompt"),
    (("generate", "--out", "p"), ("--prompts-from", "nowhere.txt"), "'nowhere.txt'"),
    (("generate", "--out", "p"), ("--prompts-from", "latin.txt"), "'latin.txt'"),
    (("generate", "--out", "p"), ("--prompts-from", "gap.txt"), "'gap.txt'"),
    (("generate", "--out", "p"), ("--prompts-from", "nothing.txt"), "'nothing.txt'"),
    (("generate", "--out", "p"), ("--prompts-from", "cats"), "'cats'"),
    # folders and files
    (("train", "--name", "N", "--out", "a.safetensors"), ("nowhere",), "'nowhere'"),
    (("train", "--name", "N", "--out", "a.safetensors"), ("gap.txt",), "'gap.txt'"),
    (("train", "--name", "N", "--out", "a.safetensors"), ("empty",), "empty"),
    (("train", "--name", "N", "--out", "a.safetensors"), ("texts",), "texts"),
    (("train", "--name", "N", "--out", "a.safetensors"), ("broken",), "broken"),
    (("train", "--name", "N", "--out", "a.safetensors"), ("y" * 5000,), "yyy"),
    (("train", "cats", "--name", "N"), ("--out", "cats"), "'cats'"),
    (("train", "cats", "--name", "N"), ("--out", "a.ckpt"), "'a.ckpt'"),
    (("train", "cats", "--name", "N"), ("--out", "gap.txt/a.safetensors"), "gap.txt"),
    (("generate", "--prompt", "a"), ("--out", "gap.txt"), "gap.txt"),
    (TRAIN, ("--workspace", "gap.txt"), "gap.txt"),
    # what is missing or too much
    (("train",), (), "DIR"),
    (("train", "cats"), ("--out", "a.safetensors"), "--name"),
    (("train", "cats"), ("--name", "N"), "--out"),
    (("generate",), ("--prompt", "a"), "--out"),
    (TRAIN, ("dogs",), "dogs"),
    (TRAIN, ("--stepz", "5"), "--stepz"),
    (TRAIN, ("--steps",), "--steps"),
    (("paint",), (), "'paint'"),
    (("serve",), ("--host", "0.0.0.0"), "'0.0.0.0'"),
    (("serve",), ("--port", "abc"), "'abc'"),
    (("serve",), ("--device", "tpu"), "'tpu'"),
]


@pytest.fixture
def surroundings(tmp_path: Path) -> Path:
    """Good pictures, and files and folders that are wrong in their own ways."""
    here = tmp_path / "here"
    here.mkdir(exist_ok=True)
    write_pictures(here / "cats", 2)
    for name in ("empty", "texts", "broken"):
        (here / name).mkdir()
    (here / "texts" / "note.txt").write_text("no picture", encoding="utf-8")
    (here / "broken" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nhalf of it")
    (here / "latin.txt").write_bytes("Bär".encode("latin-1"))
    (here / "gap.txt").write_text("a\n\nb\n", encoding="utf-8")
    (here / "nothing.txt").write_text("\n\n", encoding="utf-8")
    return here


def check_one_sentence(answer: Answer, part: str) -> None:
    """Exit code 2 and one line that holds `part` as the last of standard error (notes may stand before it)."""
    lines = answer.err.strip().splitlines()
    assert answer.code == 2, answer
    assert "Traceback" not in answer.err
    assert part in lines[-1]
    assert lines[-1].endswith(".")
    assert all(line.startswith("note: ") for line in lines[:-1]), lines


@pytest.mark.parametrize(("command", "given", "part"), TABLE)
def test_one_sentence(
    studio: Studio, surroundings: Path, command: tuple[str, ...], given: tuple[str, ...], part: str
) -> None:
    answer = studio(*command, *given)
    check_one_sentence(answer, part)
    assert answer.out == ""
    assert answer.engines == [], "no model is loaded for input that is wrong on its face"


def test_with_json_the_sentence_is_an_object(studio: Studio, surroundings: Path) -> None:
    answer = studio(*GENERATE, "--size", "12", "--json")
    check_one_sentence(answer, "'12'")
    error = json.loads(answer.out)["error"]
    assert error["message"] == answer.err.strip()
    assert (error["code"], error["values"]["given"]) == ("size_unreadable", "12")


def test_a_usage_error_is_an_object_too(studio: Studio) -> None:
    answer = studio("train", "--json", "--stepz", "5")
    check_one_sentence(answer, "--stepz")
    assert json.loads(answer.out)["error"]["code"] == "usage"


def test_a_base_that_is_not_there(studio: Studio, surroundings: Path) -> None:
    check_one_sentence(studio(*GENERATE, "--base", "./no/base"), "'./no/base'")
    check_one_sentence(studio(*TRAIN, "--base", "nobody/nothing"), "'nobody/nothing'")


def test_a_size_that_only_the_base_can_judge(studio: Studio, surroundings: Path) -> None:
    check_one_sentence(studio(*GENERATE, "--size", "100x96"), "100")


def test_a_damaged_lora(studio: Studio, surroundings: Path) -> None:
    (surroundings / "bad.safetensors").write_bytes(b"no adapter at all")
    check_one_sentence(studio(*GENERATE, "--lora", "bad.safetensors"), "'bad'")


def test_a_port_in_use(studio: Studio) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        check_one_sentence(studio("serve", "--port", str(port)), str(port))


def test_a_folder_without_permission(studio: Studio, surroundings: Path, locked: Path) -> None:
    """Found out before any training: the engine is never built."""
    for answer in (
        studio("train", "cats", "--name", "N", "--out", str(locked / "a.safetensors")),
        studio("generate", "--prompt", "a", "--out", str(locked / "p")),
        studio(*TRAIN, "--workspace", str(locked / "ws")),
    ):
        check_one_sentence(answer, str(locked))
        assert "permi" in answer.err
        assert answer.engines == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 400 KB."""
    with small_disk_at(tmp_path / "disk", "400k") as folder:
        yield folder


def test_a_disk_that_fills_up_at_the_end(studio: Studio, surroundings: Path, small_disk: Path) -> None:
    """The file does not fit: nothing half is left, and the sentence says where the work is."""
    out = small_disk / "a.safetensors"
    answer = studio("train", "cats", "--name", "N", "--out", str(out), faults=Faults(padding=500_000))
    lines = answer.err.strip().splitlines()
    assert answer.code == 2
    assert str(out) in lines[-1]
    assert "full" in lines[-1]
    assert "safe in the library as 'N'" in lines[-1]
    assert list(small_disk.iterdir()) == []


def test_a_workspace_on_a_full_disk(studio: Studio, surroundings: Path, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(bytes(390_000))
    check_one_sentence(studio(*TRAIN, "--workspace", str(small_disk / "ws")), str(small_disk / "ws"))
