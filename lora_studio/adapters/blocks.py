"""The blocks of a UNet, and in which of them each layer lies: what block weights of an adapter are of.

A block is one module of the original layout's `input_blocks`, `middle_block` and `output_blocks`: IN00 is the first
convolution, and a level of a UNet with two residual blocks has three blocks on its way down, the last of which halves
the size. Stable Diffusion 1 and 2 have 12 + 1 + 12, Stable Diffusion XL 9 + 1 + 9. It does not know weights.

Source: hako-mikan/sd-webui-lora-block-weight, scripts/lora_block_weight.py (`BLOCKID26`, `BLOCKID20`, `ratiodealer`).
"""

from __future__ import annotations

from collections.abc import Iterable

from lora_studio.adapters.formats.ldm import LdmNames
from lora_studio.types import UNetBlocks

_SIDES = {"input_blocks": "IN", "middle_block": "M", "output_blocks": "OUT"}
_UNET = "unet."


def block_of_layers(layers: Iterable[str]) -> tuple[UNetBlocks, dict[str, int]]:
    """The blocks of a base and, for each layer that lies in one, the index of its name.

    Args:
        layers: keys of the base's layers, `unet.down_blocks.0.resnets.0.conv1` ...; those of text encoders, and the
            UNet's few outside of its blocks, are in no block.
    """
    paths = [key.removeprefix(_UNET) for key in layers if key.startswith(_UNET)]
    names = LdmNames(paths)
    found: dict[str, tuple[int, int]] = {}
    attended: set[tuple[int, int]] = set()
    for path in paths:
        side, _, rest = (names.of(path) or "").partition(".")
        if side in _SIDES:
            number = 0 if side == "middle_block" else int(rest.partition(".")[0])
            place = found[_UNET + path] = (list(_SIDES).index(side), number)
            attended |= {place} if ".attentions." in path else set()
    order = sorted(set(found.values()))
    index = {place: at for at, place in enumerate(order)}
    blocks = UNetBlocks(tuple(map(_name, order)), tuple(_name(place) for place in order if place in attended))
    return blocks, {key: index[place] for key, place in found.items()}


def _name(place: tuple[int, int]) -> str:
    """(0, 4) -> IN04."""
    side, number = place
    return f"{list(_SIDES.values())[side]}{number:02d}"
