"""The page of kinds is the table that the tests run."""

from __future__ import annotations

from scripts.adapter_formats import TARGET, written
from tests.adapters.corpus import kinds


def test_the_page_is_written_from_the_table() -> None:
    assert TARGET.read_text(encoding="utf-8") == written()


def test_there_are_at_least_forty_kinds() -> None:
    found = kinds()
    assert len({kind.name for kind in found}) == len(found) >= 40
    assert {kind.group for kind in found} == {"layout", "arithmetic", "defect"}
    assert {kind.writer for kind in found} == {"plain code", "lycoris-lora", "peft", "diffusers"}
