"""The order of blocks on a heat strip: as a picture passes them, from the text to the last layer.

Blocks are those of `strength.block_of`: `unet.down_blocks.1`, `unet.mid_block`, `unet` (what lies outside of blocks),
`text_encoder` ... It does not know tensors.
"""

from __future__ import annotations

from collections.abc import Iterable

_ORDER = ("down_blocks", "mid_block", "up_blocks", "transformer_blocks", "single_transformer_blocks", "")


def in_order(blocks: Iterable[str]) -> list[str]:
    """Each block once, from the text to the picture."""

    def place(block: str) -> tuple[bool, int, int, str]:
        component, _, rest = block.partition(".")
        kind, _, number = rest.partition(".")
        rank = _ORDER.index(kind) if kind in _ORDER else len(_ORDER)
        return not component.startswith("text"), rank, int(number) if number.isdigit() else 0, block

    return sorted(set(blocks), key=place)
