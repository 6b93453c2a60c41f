"""Which block of a model a layer belongs to, for a heat strip: a few names in the order in which a picture passes them.

`unet.down_blocks.1.attentions.0...` is of `down_blocks.1`; a transformer's `transformer_blocks.7` likewise; the text
encoders are each one block. The names are diffusers' own. It does not know tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NUMBERED = re.compile(r"(down_blocks|up_blocks|transformer_blocks|single_transformer_blocks|layers)\.(\d+)(\.|$)")
_ORDER = ("text_encoder", "in", "down_blocks", "mid_block", "up_blocks", "transformer", "single", "layers", "out")
_INPUT = ("conv_in", "time_embedding", "add_embedding", "x_embedder", "context_embedder", "time_text_embed")


def block_of(layer: str) -> str:
    """The block of a layer key, e.g. `down_blocks.1`, `mid_block`, `text_encoder_2`, `in`, `out`."""
    component, _, path = layer.partition(".")
    if component.startswith("text"):
        return component
    if path.startswith("mid_block"):
        return "mid_block"
    found = _NUMBERED.match(path)
    if found:
        return f"{found[1]}.{found[2]}"
    return "in" if path.startswith(_INPUT) else "out"


def in_order(blocks: Iterable[str]) -> list[str]:
    """Each block once, from the text to the picture."""

    def place(block: str) -> tuple[int, int, str]:
        kind, _, number = block.partition(".")
        rank = next((n for n, start in enumerate(_ORDER) if kind.startswith(start)), len(_ORDER))
        return rank, int(number or 0), block

    return sorted(set(blocks), key=place)
