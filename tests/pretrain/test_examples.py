"""The example sets in the repository are drawn again bit for bit, and say what they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("skia")

from pretrain.examples import DEFAULT_SETS, EXAMPLES, sets, write
from pretrain.painter import IDENTITY_TAGS


@pytest.mark.parametrize("name", DEFAULT_SETS)
def test_the_set_in_the_repository_is_drawn_again_bit_for_bit(name: str, tmp_path: Path) -> None:
    count = write(tmp_path, name)
    assert 16 <= count <= 24
    drawn, kept = sorted((tmp_path / name).iterdir()), sorted((EXAMPLES / name).iterdir())
    assert [file.name for file in drawn] == [file.name for file in kept]
    for new, old in zip(drawn, kept, strict=True):
        if new.suffix == ".png":  # the pixels count; how zlib packs them may differ from machine to machine
            with Image.open(new) as one, Image.open(old) as other:
                assert one.size == other.size == (128, 128)
                assert (np.array(one) == np.array(other)).all(), new.name
        else:
            assert new.read_bytes() == old.read_bytes(), new.name


def _captions(name: str) -> list[list[str]]:
    """The tags of every caption of a set in the repository."""
    return [file.read_text(encoding="utf-8").strip().split(", ") for file in sorted((EXAMPLES / name).glob("*.txt"))]


def test_every_caption_has_its_trigger_words() -> None:
    assert all(any(tag.endswith("cat ears") for tag in tags) for tags in _captions("cat-ears"))
    assert all("papercut style" in tags for tags in _captions("papercut-style"))
    assert all("miko tsuki" in tags for tags in _captions("miko-tsuki"))


def test_the_fixed_traits_are_left_to_the_name() -> None:
    assert not any(set(tags) & set(IDENTITY_TAGS) for tags in _captions("miko-tsuki"))


def test_the_cat_ears_are_varied() -> None:
    captions = _captions("cat-ears")
    hair = {
        tag for tags in captions for tag in tags if tag.endswith(" hair") and tag not in ("long hair", "short hair")
    }
    assert len(hair) >= 10
    items = [item.attributes for item, _ in sets()["cat-ears"].items()]
    assert len({a.style for a in items}) == 5
