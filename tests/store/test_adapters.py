"""The library: one entry for a file, names that differ, and a sentence with near names for what is not there."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.store import Workspace
from lora_studio.store.database import Database
from lora_studio.store.migrations.run import config
from lora_studio.types import LOCAL, AdapterEntry

Make = Callable[..., AdapterEntry]
HASHES = [f"{number:064x}" for number in range(16)]


def test_an_entry_comes_back_as_it_was(workspace: Workspace, entry: Make) -> None:
    asked = entry(
        HASHES[1],
        "猫耳",
        created=5.5,
        size=7,
        base_sha256=HASHES[2],
        family="lora-studio-embedded",
        rank=16,
        alpha=8.0,
        trigger_words=("cat ears", "猫"),
        cover=HASHES[3],
        run="run",
        recommended_weight=0.8,
        notes="line\nline",
        metadata={"ss_network_dim": "16"},
    )
    assert workspace.adapters.add(asked) == asked
    assert workspace.adapters.get(HASHES[1]) == asked
    assert workspace.adapters.list("ann") == [asked]


def test_the_same_file_twice_is_one_entry(workspace: Workspace, entry: Make) -> None:
    first = workspace.adapters.add(entry(HASHES[1], "one"))
    assert workspace.adapters.add(entry(HASHES[1], "two")) == first
    assert len(workspace.adapters.list()) == 1


def test_a_sample_is_everybodys_entry(workspace: Workspace, entry: Make) -> None:
    sample = workspace.adapters.add(entry(HASHES[1], "cat ears", owner="samples", sample=True))
    assert workspace.adapters.add(entry(HASHES[1], "mine", owner="ann")) == sample


def test_two_people_may_have_the_same_file(workspace: Workspace, entry: Make) -> None:
    """Without an entry of their own the second would add a file and never see it."""
    sha256 = workspace.files.put_bytes(b"adapter", ".safetensors")
    workspace.adapters.add(entry(sha256, "anns", owner="ann"))
    workspace.adapters.add(entry(sha256, "bobs", owner="bob"))
    assert [found.name for found in workspace.adapters.list("bob")] == ["bobs"]
    workspace.adapters.update(sha256, owner="bob", notes="his")
    assert workspace.adapters.get(sha256, "ann").notes == ""
    workspace.adapters.delete(sha256, owner="ann")
    assert workspace.files.has(sha256), "the other one's file stays"
    assert workspace.adapters.list("ann") == []
    workspace.adapters.delete(sha256, owner="bob")
    assert workspace.files.has(sha256), "it can be brought back"
    workspace.adapters.purge(time.time() + 1)
    assert not workspace.files.has(sha256)


def test_taken_names_get_numbers(workspace: Workspace, entry: Make) -> None:
    names = [
        workspace.adapters.add(entry(HASHES[i], name)).name for i, name in enumerate(["cat", "cat", "Cat", " cat "])
    ]
    assert names == ["cat", "cat 2", "Cat 3", "cat 4"]
    assert workspace.adapters.add(entry(HASHES[5], "cat", owner="bob")).name == "cat", "bob does not see ann's"
    workspace.adapters.add(entry(HASHES[6], "dog", owner="samples", sample=True))
    assert workspace.adapters.add(entry(HASHES[7], "dog")).name == "dog 2"


def test_threads_get_different_names(workspace: Workspace, entry: Make) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda i: workspace.adapters.add(entry(HASHES[i], "cat")).name, range(10)))
    assert len(set(made)) == 10


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "half \ud83d"])
def test_names_that_cannot_be_are_refused(workspace: Workspace, entry: Make, name: str) -> None:
    with pytest.raises(InvalidInput, match="name of the LoRA"):
        workspace.adapters.add(entry(HASHES[1], name))
    workspace.adapters.add(entry(HASHES[1], "good"))
    with pytest.raises(InvalidInput, match="name of the LoRA"):
        workspace.adapters.update(HASHES[1], name=name)


@pytest.mark.parametrize(
    "name", ["../../x", "a.b", "__class__", "CON", "x:0.5", "'; DROP TABLE adapter; --", "<b>", "猫"]
)
def test_odd_names_are_only_labels(workspace: Workspace, entry: Make, name: str) -> None:
    assert workspace.adapters.add(entry(HASHES[1], name)).name == name
    assert workspace.adapters.find(name).sha256 == HASHES[1]


def test_finding_goes_from_exact_to_near(workspace: Workspace, entry: Make) -> None:
    sha256 = "deadbeef" + "0" * 56
    workspace.adapters.add(entry(HASHES[1], "Cat Ears", owner="bob"))
    workspace.adapters.add(entry(HASHES[2], "cat ears", owner="ann"))
    workspace.adapters.add(entry(sha256, "fox"))
    assert workspace.adapters.find("Cat Ears").sha256 == HASHES[1]
    assert workspace.adapters.find("cat ears").sha256 == HASHES[2]
    assert workspace.adapters.find("CAT EARS", "bob").sha256 == HASHES[1]
    assert workspace.adapters.find("deadbeef").name == workspace.adapters.find(sha256.upper()).name == "fox"
    for asked in ("deadbee", "deadbeee", "0" * 8 + "x"):
        with pytest.raises(NotFound):
            workspace.adapters.find(asked)


def test_what_is_not_there_is_named_with_up_to_five_near_names(workspace: Workspace, entry: Make) -> None:
    with pytest.raises(NotFound, match="has no LoRA 'cat eers'; give the name"):
        workspace.adapters.find("cat eers")
    for number, name in enumerate(["cat ears", "bear", *(f"cat ear {i}" for i in range(8))]):
        workspace.adapters.add(entry(HASHES[number], name))
    with pytest.raises(NotFound, match="has no LoRA 'cat eers'; near names are") as caught:
        workspace.adapters.find("cat eers")
    assert len(caught.value.values["near"]) == 5
    assert caught.value.values["near"][0] == "cat ears"
    with pytest.raises(NotFound) as caught:
        workspace.adapters.find("ear")
    assert "bear" in caught.value.values["near"]


def test_own_ones_come_newest_first_and_samples_last(workspace: Workspace, entry: Make) -> None:
    workspace.adapters.add(entry(HASHES[1], "sample", owner="samples", sample=True, created=9.0))
    for number in (2, 3, 4):
        workspace.adapters.add(entry(HASHES[number], f"n{number}", created=float(number)))
    workspace.adapters.add(entry(HASHES[5], "bobs", owner="bob"))
    assert [found.name for found in workspace.adapters.list("ann")] == ["n4", "n3", "n2", "sample"]
    assert [found.name for found in workspace.adapters.list("nobody")] == ["sample"]
    assert [found.name for found in workspace.adapters.list()] == ["n4", "n3", "n2", "bobs", "sample"]


def test_changing_an_entry(workspace: Workspace, entry: Make) -> None:
    covers = [workspace.files.put_bytes(data, ".png") for data in (b"old", b"new")]
    workspace.adapters.add(entry(HASHES[1], "cat", cover=covers[0]))
    workspace.adapters.add(entry(HASHES[2], "dog"))
    changed = workspace.adapters.update(
        HASHES[1], name=" dog ", trigger_words=["a", "b"], notes="n", cover=covers[1], recommended_weight=1
    )
    assert (changed.name, changed.trigger_words, changed.notes) == ("dog 2", ("a", "b"), "n")
    assert (changed.cover, changed.recommended_weight) == (covers[1], 1.0)
    assert [workspace.files.has(cover) for cover in covers] == [False, True]
    assert workspace.adapters.update(HASHES[1], name="DOG 2").name == "DOG 2", "its own name is not taken"
    assert workspace.adapters.get(HASHES[2]).name == "dog"


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("owner_", "x", "owner_"),
        ("size", 1, "size"),
        ("recommended_weight", "strong", "'strong'"),
        ("recommended_weight", float("nan"), "nan"),
        ("recommended_weight", 11, "11"),
        ("recommended_weight", True, "True"),
        ("notes", "half \udc00", "udc00"),
    ],
)
def test_bad_changes_are_refused_by_name(
    workspace: Workspace, entry: Make, field: str, value: object, word: str
) -> None:
    workspace.adapters.add(entry(HASHES[1]))
    before = workspace.adapters.get(HASHES[1])
    with pytest.raises(InvalidInput) as caught:
        workspace.adapters.update(HASHES[1], **({"notes": "also"} | {field: value}))
    assert word in caught.value.message
    assert workspace.adapters.get(HASHES[1]) == before


def test_deleting_takes_the_file_even_where_cells_mention_it(workspace: Workspace, entry: Make) -> None:
    sha256 = workspace.files.put_bytes(b"adapter", ".safetensors")
    cover = workspace.files.put_bytes(b"cover", ".png")
    workspace.adapters.add(entry(sha256, cover=cover))
    book = workspace.notebooks.default("ann")
    cell = workspace.notebooks.add(book.id, "picture", {"adapters": [{"sha256": sha256, "name": "x", "weight": 1}]})
    workspace.adapters.delete(sha256)
    workspace.adapters.purge(time.time() + 1)
    assert not workspace.files.has(sha256)
    assert not workspace.files.has(cover)
    assert workspace.notebooks.cell(cell.id) == cell, "the cell stays and can say that its LoRA is gone"
    for gone in (lambda: workspace.adapters.get(sha256), lambda: workspace.adapters.delete(sha256)):
        with pytest.raises(NotFound, match=sha256):
            gone()


def test_other_programs_know_a_file_by_kohya_s_hash_or_its_tensors(workspace: Workspace, entry: Make) -> None:
    data = (2).to_bytes(8, "little") + b"{}" + b"tensors"
    plain = workspace.files.put_bytes(data, ".safetensors")
    workspace.adapters.add(entry(plain, "plain"))
    assert workspace.adapters.short_hash(plain) == hashlib.sha256(b"tensors").hexdigest()[:12]
    signed = workspace.files.put_bytes(data + b"!", ".safetensors")
    workspace.adapters.add(entry(signed, "signed", metadata={"sshs_model_hash": "AB" * 32}))
    assert workspace.adapters.short_hash(signed) == "ab" * 6
    odd = workspace.files.put_bytes(data + b"?", ".safetensors")
    workspace.adapters.add(entry(odd, "odd", metadata={"sshs_model_hash": "none, really"}))
    assert workspace.adapters.short_hash(odd) == hashlib.sha256(b"tensors?").hexdigest()[:12]
    assert workspace.adapters.short_hash(HASHES[5]) == HASHES[5][:12], "a file that is gone"


def test_a_workspace_of_the_third_revision_keeps_its_loras(tmp_path: Path, entry: Make) -> None:
    """The table is made anew: every entry, its number and its references must come over."""
    with Workspace.open(tmp_path) as opened:
        sha256 = opened.files.put_bytes(b"adapter", ".safetensors")
        told = {"ss_output_name": "neko", "ss_tag_frequency": "{}"}
        before = opened.adapters.add(entry(sha256, "cat", notes="n", trigger_words=("a", "b"), metadata=told))
        opened.adapters.add(entry(HASHES[2], "gone"))
        opened.adapters.delete(HASHES[2])
        opened.adapters.purge(time.time() + 1)
    database = Database(tmp_path / "workspace.db")
    with database.write() as connection:
        command.downgrade(config(connection), "0003")
    database.close()
    with Workspace.open(tmp_path) as opened:
        assert opened.adapters.get(sha256, "ann") == before
        assert opened.adapters.shelf("ann")[0].metadata == {"ss_output_name": "neko"}
        assert opened.references.held(sha256, ["ann"])
        opened.adapters.add(entry(HASHES[3], "new"))
        opened.adapters.delete(sha256, "ann")
        opened.adapters.purge(time.time() + 1)
        assert not opened.files.has(sha256), "its reference still belongs to the entry's number"


def test_deleting_can_be_undone_for_an_hour(workspace: Workspace, entry: Make) -> None:
    sha256 = workspace.files.put_bytes(b"adapter", ".safetensors")
    workspace.adapters.add(entry(sha256, "cat", notes="mine"))
    workspace.adapters.delete(sha256, "ann")
    assert workspace.adapters.list("ann") == []
    assert [one.name for one in workspace.adapters.list("ann", deleted=True)] == ["cat"]
    workspace.adapters.purge(time.time() - 60)
    workspace.adapters.add(entry(HASHES[2], "cat"))
    restored = workspace.adapters.restore(sha256, "ann")
    assert (restored.name, restored.notes) == ("cat 2", "mine"), "its name was taken meanwhile"
    workspace.adapters.delete(sha256, "ann")
    assert workspace.adapters.add(entry(sha256, "again")).notes == "mine", "bringing the file in brings it back"


def test_a_file_of_the_command_line_is_everybodys_entry(workspace: Workspace, entry: Make) -> None:
    """Check, pressed on a LoRA of the command line, made a second entry that hid stars, notes and cover."""
    sha256 = workspace.files.put_bytes(b"adapter", ".safetensors")
    workspace.adapters.add(entry(sha256, "from the shell", owner=LOCAL))
    edited = workspace.adapters.update(sha256, owner=LOCAL, stars=4, notes="mine")
    assert workspace.adapters.add(entry(sha256, "again", owner="ann")) == edited
    assert [(one.name, one.stars, one.notes) for one in workspace.adapters.shelf("ann")] == [
        ("from the shell", 4, "mine")
    ]
    workspace.adapters.delete(sha256, LOCAL)
    own = workspace.adapters.add(entry(sha256, "my own", owner="ann"))
    assert (own.owner, own.name, own.stars) == ("ann", "my own", 0), "nobody brings back what the operator deleted"
    assert workspace.adapters.shelf("bob") == []
