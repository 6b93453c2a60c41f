"""One table of bad input through both doors: the same mistake, made on the command line and in the form.

Each row is answered by one sentence that holds the given value; what is made of it by scripts stands in tests/cli
and tests/ui. Real engine, embedded base, nothing pretended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.doors.conftest import Form, Said, Shell, fill, opened, read_only

pytestmark = pytest.mark.slow

TRAIN = ("--name", "N", "--steps", "1", "--rank", "1", "--out", "a.safetensors")
DRAW = ("generate", "--steps", "2", "--seed", "1", "--out", "p")


@dataclass(frozen=True)
class Row:
    """One mistake: the value that the sentence must hold, and how it is made at each door."""

    given: str
    shell: tuple[str, ...]
    form: Callable[[Form], Said]
    goes_on: bool = False
    """The rest is good and is done; the sentence stands beside it."""


TABLE = {
    "no pictures": Row("'empty'", ("train", "empty", *TRAIN), lambda form: form.train("empty")),
    "one broken among good ones": Row(
        "'torn.png'", ("train", "mixed", *TRAIN), lambda form: form.add_pictures("mixed"), goes_on=True
    ),
    "an empty prompt": Row("''", (*DRAW, "--prompt", ""), lambda form: form.make(prompt="")),
    "a LoRA of another family": Row(
        "foreign",
        (*DRAW, "--prompt", "a", "--lora", "foreign.safetensors"),
        lambda form: form.add_lora("foreign.safetensors"),
    ),
    "a damaged LoRA": Row(
        "torn", (*DRAW, "--prompt", "a", "--lora", "torn.safetensors"), lambda form: form.add_lora("torn.safetensors")
    ),
    "a LoRA that is no LoRA by its name": Row(
        "torn.png'", (*DRAW, "--prompt", "a", "--lora", "mixed/torn.png"), lambda form: form.add_lora("mixed/torn.png")
    ),
    "a damaged embedding": Row(
        "torn", (*DRAW, "--prompt", "a", "--embedding", "torn.pt"), lambda form: form.add_embedding("torn.pt")
    ),
    "an embedding with code in it": Row(
        "posix.mkdir", (*DRAW, "--prompt", "a", "--embedding", "evil.pt"), lambda form: form.add_embedding("evil.pt")
    ),
    "an embedding of another width": Row(
        "768",
        (*DRAW, "--prompt", "a", "--embedding", "wide.safetensors"),
        lambda form: form.add_embedding("wide.safetensors"),
    ),
    "an embedding that is none by its name": Row(
        "01.txt'",
        (*DRAW, "--prompt", "a", "--embedding", "cats/01.txt"),
        lambda form: form.add_embedding("cats/01.txt"),
    ),
    "a weight that is no number": Row(
        "'strong'", (*DRAW, "--prompt", "a", "--lora", "cat ears:strong"), lambda form: form.weigh("strong")
    ),
    "a weight that is too large": Row(
        "99", (*DRAW, "--prompt", "a", "--lora", "cat ears:99"), lambda form: form.weigh("99")
    ),
    "a size that is no number": Row(
        "'broad", (*DRAW, "--prompt", "a", "--size", "broadx128"), lambda form: form.make(width="broad")
    ),
    "a size between the base's steps": Row(
        "100", (*DRAW, "--prompt", "a", "--size", "100x128"), lambda form: form.make(width="100", height="128")
    ),
    "a seed that is no number": Row(
        "'seven'", (*DRAW, "--prompt", "a", "--seed", "seven"), lambda form: form.make(seed="seven")
    ),
    "a seed below zero": Row("-1", (*DRAW, "--prompt", "a", "--seed", "-1"), lambda form: form.make(seed="-1")),
    "a base that is not there": Row(
        "'./no/base'", (*DRAW, "--prompt", "a", "--base", "./no/base"), lambda form: form.load_base("./no/base")
    ),
    "no network": Row(
        "'nobody/nothing'",
        (*DRAW, "--prompt", "a", "--base", "nobody/nothing"),
        lambda form: form.load_base("nobody/nothing"),
    ),
}


def check_sentence(sentence: str, given: str) -> None:
    """One line, one full stop at its end, and the value that was given."""
    assert given in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "Traceback" not in sentence


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_on_the_command_line(shell: Shell, row: Row) -> None:
    said = shell(*row.shell)
    assert said.code == (0 if row.goes_on else 2)
    quoting = [line for line in said.sentences if row.given in line]
    assert len(quoting) == 1, said.sentences
    check_sentence(quoting[0], row.given)
    if not row.goes_on:
        assert said.sentences[-1] == quoting[0], "it is the last that is said"


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_in_the_form(form: Form, row: Row) -> None:
    said = row.form(form)
    assert said.code == 200 if row.goes_on else said.code in (422, 404, "error")
    assert len(said.sentences) == 1, said
    check_sentence(said.sentences[0], row.given)


def test_after_all_of_it_the_form_still_draws(form: Form) -> None:
    """Nobody is disturbed by what went wrong before: not the base, not the next job."""
    assert form.make().code == "done"


def test_a_folder_that_cannot_be_written_to(shell: Shell, locked: Path) -> None:
    for said in (
        shell(*DRAW[:-1], str(locked / "p"), "--prompt", "a"),
        shell("train", "cats", *TRAIN[:-1], str(locked / "a.safetensors")),
        shell("train", "cats", *TRAIN, "--workspace", str(locked / "ws")),
    ):
        assert said.code == 2
        check_sentence(said.sentences[-1], str(locked))


def test_a_workspace_that_cannot_be_written_to_any_more(shell: Shell, disk: Path) -> None:
    """A disk that is put read-only under a running server: nothing is lost, and it goes on when that is over."""
    forms = opened(disk / "form", shell.place)
    form = next(forms)
    with read_only(disk / "form" / "files"):
        for said in (form.add_pictures("cats"), form.make()):
            assert said.code in (507, "error")
            check_sentence(said.sentences[0], str(disk / "form"))
    assert form.make().code == "done"
    forms.close()


def test_a_full_disk(shell: Shell, disk: Path) -> None:
    forms = opened(disk / "form", shell.place)
    form = next(forms)
    filler = fill(disk)
    for said in (
        shell(*DRAW[:-1], str(disk / "p"), "--prompt", "a"),
        shell("train", "cats", *TRAIN, "--workspace", str(disk / "shell")),
    ):
        assert said.code == 2
        check_sentence(said.sentences[-1], str(disk))
        assert "full" in said.sentences[-1]
    for said in (form.add_pictures("cats"), form.make()):
        assert said.code in (507, "error")
        check_sentence(said.sentences[0], str(disk))
        assert "full" in said.sentences[0]
    filler.unlink()
    assert form.make().code == "done", "it goes on when there is room again"
    forms.close()
