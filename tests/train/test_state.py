"""Checkpoints as files: what they say of themselves, and what is said of those that cannot be read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from lora_studio.dataset.examples import Example
from lora_studio.errors import InvalidInput
from lora_studio.train.state import Checkpoint, fingerprint, learnt_on

WHOLE = Checkpoint(7, (0.5, 0.25), 1.5, {"down": torch.ones(2, 3)}, "b" * 64, "e" * 64)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(WHOLE.to_bytes())
    back = Checkpoint.from_bytes(WHOLE.to_bytes())
    assert (back.step, back.losses, back.seconds) == (7, (0.5, 0.25), 1.5)
    assert (back.base, back.examples) == ("b" * 64, "e" * 64)
    assert torch.equal(back.tensors["down"], WHOLE.tensors["down"])
    assert learnt_on(tmp_path / "c") == "b" * 64


def test_one_of_an_older_version_names_neither_base_nor_set(tmp_path: Path) -> None:
    header = {"format": "1", "step": "7", "seconds": "1.5"}
    tensors = {"down": torch.ones(1), "losses": torch.zeros(1, dtype=torch.float64)}
    old = save(tensors, metadata={"lora_studio_checkpoint": json.dumps(header)})
    (tmp_path / "c").write_bytes(old)
    back = Checkpoint.from_bytes(old)
    assert (back.base, back.examples, learnt_on(tmp_path / "c")) == ("", "", "")


DAMAGED = [b"", b"checkpoint 7", b"\xff" * 40, WHOLE.to_bytes()[:-4], save({"a": torch.ones(1)})]


@pytest.mark.parametrize("data", DAMAGED, ids=["empty", "a text", "no header", "cut off", "another file"])
def test_a_damaged_one_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    """A file that was cut off was an error without a sentence."""
    with pytest.raises(InvalidInput) as caught:
        Checkpoint.from_bytes(data)
    assert caught.value.code == "checkpoint_unreadable"
    (tmp_path / "c").write_bytes(data)
    assert learnt_on(tmp_path / "c") in ("", "b" * 64), "the run itself tells of it"


def test_pictures_captions_and_order_make_the_fingerprint() -> None:
    one, two = Example(Path("1.png"), "1" * 64, "cat ears"), Example(Path("2.png"), "2" * 64, "cat")
    known = fingerprint([one, two])
    assert known == fingerprint([replace(one, image=Path("elsewhere.png")), two])
    for other in ([two, one], [one], [replace(one, caption="cat"), two], [replace(one, sha256="3" * 64), two]):
        assert fingerprint(other) != known
