"""`lora_studio.prompt.block_weights` against the extension's own numbers, and on bases of other shapes."""

from __future__ import annotations

import pytest

from lora_studio.prompt.block_weights import PRESETS, lengths, read_block_weights
from lora_studio.types import UNetBlocks

# BLOCKID26 and BLOCKID17, BLOCKID20 and BLOCKID12 of lora_block_weight.py, each without BASE.
IN, OUT = [f"IN{n:02d}" for n in range(12)], [f"OUT{n:02d}" for n in range(12)]
SD1 = UNetBlocks((*IN, "M00", *OUT), ("IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "M00", *OUT[3:]))
XL = UNetBlocks((*IN[:9], "M00", *OUT[:9]), ("IN04", "IN05", "IN07", "IN08", "M00", *OUT[:6]))
SMALL = UNetBlocks(
    (*IN[:6], "M00", *OUT[:6]), ("IN01", "IN03", "M00", "OUT02", "OUT03", "OUT04", "OUT05")
)  # fmt: skip

# DEF_WEIGHT_PRESET, for the seventeen parts of Stable Diffusion 1.
THEIRS = {
    "NONE": "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0",
    "ALL": "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1",
    "INS": "1,1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0",
    "IND": "1,0,0,0,1,1,1,0,0,0,0,0,0,0,0,0,0",
    "INALL": "1,1,1,1,1,1,1,0,0,0,0,0,0,0,0,0,0",
    "MIDD": "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0",
    "OUTD": "1,0,0,0,0,0,0,0,1,1,1,1,0,0,0,0,0",
    "OUTS": "1,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1",
    "OUTALL": "1,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1",
    "ALL0.5": ",".join(["0.5"] * 17),
}


@pytest.mark.parametrize("name", list(THEIRS))
def test_a_preset_is_the_extensions_list_on_stable_diffusion_1(name: str) -> None:
    assert set(THEIRS) == set(PRESETS)
    assert read_block_weights(name, SD1) == read_block_weights(THEIRS[name], SD1)


def test_short_lists_are_of_the_blocks_with_attention() -> None:
    found = read_block_weights("0.5," + ",".join(str(n) for n in range(-8, 8)), SD1)
    assert found is not None
    assert found.words == 0.5
    placed = dict(zip(SD1.names, found.blocks, strict=True))
    assert [placed[name] for name in SD1.attended] == [float(n) for n in range(-8, 8)]
    assert {placed[name] for name in set(SD1.names) - set(SD1.attended)} == {0.0}


def test_long_lists_are_of_all_blocks() -> None:
    numbers = [float(n % 10) for n in range(26)]
    found = read_block_weights(" , ".join(map(str, numbers)), SD1)
    assert found is not None
    assert (found.words, list(found.blocks)) == (numbers[0], numbers[1:])


@pytest.mark.parametrize(("blocks", "told"), [(SD1, "26 / 17"), (XL, "20 / 12"), (SMALL, "14 / 8")])
def test_every_base_has_its_own_lengths(blocks: UNetBlocks, told: str) -> None:
    assert lengths(blocks) == told
    for count in range(30):
        found = read_block_weights(",".join(["1"] * count), blocks)
        assert (found is not None) == (str(count) in told.split(" / "))


def test_presets_mean_the_same_on_a_small_unet() -> None:
    found = {name: read_block_weights(name, SMALL) for name in PRESETS}
    acting = {
        name: [block for block, factor in zip(SMALL.names, one.blocks, strict=True) if factor]
        for name, one in found.items()
        if one is not None
    }
    assert acting["INS"] == ["IN01"]
    assert acting["IND"] == ["IN03"]
    assert acting["MIDD"] == ["IN03", "M00", "OUT02", "OUT03"]
    assert acting["OUTS"] == ["OUT04", "OUT05"]
    assert acting["ALL"] == list(SMALL.attended)
    assert acting["NONE"] == []


@pytest.mark.parametrize(
    "text", ["", "FOO", "all", "R" + ",1" * 16, "X" + ",1" * 16, "nan" + ",1" * 16, "11" + ",1" * 16, "1;1"]
)
def test_what_means_nothing(text: str) -> None:
    assert read_block_weights(text, SD1) is None
