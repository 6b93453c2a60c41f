"""The painter gives the very pixels, captions and attributes that the base and the example sets were made from."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("skia")

from pretrain import painter

HERE = Path(__file__).parent


def _cases() -> ModuleType:
    """The module with the cases, which lies beside this file."""
    spec = importlib.util.spec_from_file_location("painter_cases", HERE / "painter_cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


EXPECTED = json.loads((HERE / "painter_hashes.json").read_text(encoding="utf-8"))


def test_fifty_three_pictures_have_the_recorded_pixels() -> None:
    found = _cases().picture_hashes(painter)
    assert len(found) == 53
    assert {name for name in found if found[name] != EXPECTED["pictures"][name]} == set()


def test_the_base_set_has_the_recorded_captions_attributes_and_pixels() -> None:
    assert _cases().text_hashes(painter) == EXPECTED["texts"]


def test_a_picture_depends_on_its_seed() -> None:
    item = painter.ears_item("cat ears", "train", 3)
    assert (painter.draw(item.attributes, item.seed) == item.picture()).all()
    assert (painter.draw(item.attributes, item.seed + 0.1) != item.picture()).any()
