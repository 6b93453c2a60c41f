"""The names that Stability AI's and CompVis' code gives a UNet's layers, from diffusers' names.

kohya's tools, A1111 and ComfyUI name the layers of Stable Diffusion XL so. diffusers' down_blocks.1.attentions.0 is
input_blocks.4.1 there: blocks are counted one by one, a downsampler is a block of its own.

Source: Stability-AI/generative-models, sgm/modules/diffusionmodules/openaimodel.py, `UNetModel.__init__` (the order in
which input_blocks, middle_block and output_blocks are built). It knows no tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}


def layers_per_block(layers: Iterable[str]) -> int:
    """How many residual layers a downward block of the UNet has, from its layers' names."""
    numbers = [int(found[1]) for layer in layers if (found := re.search(r"down_blocks\.0\.resnets\.(\d+)\.", layer))]
    return max(numbers, default=1) + 1


def ldm_path(path: str, per_block: int, attended: bool = True) -> str:
    """The name of the module at diffusers' `path` in a UNet.

    Args:
        path: such as `down_blocks.1.attentions.0.proj_in`.
        per_block: `layers_per_block` of the UNet.
        attended: for an upsampler, whether its block has attention, behind which it then stands.
    """
    if path in _OUTSIDE:
        return _OUTSIDE[path]
    middle = re.match(r"mid_block\.(\w+\.\d+)\.(.*)", path)
    if middle:
        return f"middle_block.{_MIDDLE[middle[1]]}.{_inside(middle[1], middle[2])}"
    found = re.match(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", path)
    if not found:
        return path
    side, block, kind, number, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    if kind == "downsamplers":
        return f"input_blocks.{block * (per_block + 1) + per_block + 1}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{block * (per_block + 1) + per_block}.{2 if attended else 1}.conv"
    place = block * (per_block + 1) + number
    name = f"input_blocks.{place + 1}" if side == "down" else f"output_blocks.{place}"
    return f"{name}.{1 if kind == 'attentions' else 0}.{_inside(kind, rest)}"


def _inside(kind: str, rest: str) -> str:
    """The name within a residual or attention layer."""
    return _RESNET.get(rest, rest) if kind.startswith("resnets") else rest
