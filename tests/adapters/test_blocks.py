"""`lora_studio.adapters.blocks` against the lists of sd-webui-lora-block-weight, for the families and a small base."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_studio.adapters.blocks import block_of_layers
from lora_studio.adapters.formats.families import known_layers
from tests.support.tiny import load_tiny, write_tiny_base

BLOCKID26 = "IN00 IN01 IN02 IN03 IN04 IN05 IN06 IN07 IN08 IN09 IN10 IN11 M00 " + " ".join(
    f"OUT{n:02d}" for n in range(12)
)
BLOCKID17 = "IN01 IN02 IN04 IN05 IN07 IN08 M00 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08 OUT09 OUT10 OUT11"
BLOCKID20 = "IN00 IN01 IN02 IN03 IN04 IN05 IN06 IN07 IN08 M00 OUT00 OUT01 OUT02 OUT03 OUT04 OUT05 OUT06 OUT07 OUT08"
BLOCKID12 = "IN04 IN05 IN07 IN08 M00 OUT00 OUT01 OUT02 OUT03 OUT04 OUT05"


@pytest.mark.parametrize(
    ("family", "names", "attended"),
    [("sd1", BLOCKID26, BLOCKID17), ("sd2", BLOCKID26, BLOCKID17), ("sdxl", BLOCKID20, BLOCKID12)],
)
def test_the_blocks_of_a_family(family: str, names: str, attended: str) -> None:
    layers = known_layers(family)
    blocks, found = block_of_layers(layers)
    assert (" ".join(blocks.names), " ".join(blocks.attended)) == (names, attended)
    outside = {key.split(".")[1] for key in layers if key.startswith("unet.") and key not in found}
    assert outside <= {"time_embedding", "add_embedding", "conv_norm_out", "conv_out"}
    assert not any(key.startswith("text") for key in found)


@pytest.mark.parametrize(
    ("layer", "block"),
    [
        ("unet.conv_in", "IN00"),
        ("unet.down_blocks.0.resnets.1.conv1", "IN02"),
        ("unet.down_blocks.0.downsamplers.0.conv", "IN03"),
        ("unet.down_blocks.1.attentions.0.proj_in", "IN04"),
        ("unet.mid_block.resnets.1.conv2", "M00"),
        ("unet.mid_block.attentions.0.proj_in", "M00"),
        ("unet.up_blocks.0.upsamplers.0.conv", "OUT02"),
        ("unet.up_blocks.3.attentions.2.proj_out", "OUT11"),
    ],
)
def test_layers_lie_where_kohyas_names_of_the_original_put_them(layer: str, block: str) -> None:
    blocks, found = block_of_layers(known_layers("sd1"))
    assert blocks.names[found[layer]] == block


def test_a_base_of_another_shape(tmp_path: Path) -> None:
    """Two levels of one residual block; its blocks are told to the page."""
    base = load_tiny(write_tiny_base(tmp_path))
    config = base.unet.config
    levels, layers = len(config.block_out_channels), config.layers_per_block
    names = base.info.blocks.names
    assert sum(name.startswith("IN") for name in names) == levels * (layers + 1)
    assert sum(name.startswith("OUT") for name in names) == levels * (layers + 1)
    assert names.count("M00") == 1
    assert set(base.info.blocks.attended) < set(names)


def test_no_unet_no_blocks() -> None:
    blocks, found = block_of_layers(["text_encoder.text_model.encoder.layers.0.self_attn.q_proj"])
    assert (blocks.names, found) == ((), {})
