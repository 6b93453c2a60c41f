"""Names of a UNet's layers in the layout of the original checkpoints (LDM, SGM), from diffusers' own names.

kohya's trainers write SDXL files so (`lora_unet_input_blocks_4_1_...`), and so do files made from single-file
checkpoints. The numbers follow from how many blocks and layers the UNet has, which its own layer names tell.

Source: CompVis/latent-diffusion ldm/modules/diffusionmodules/openaimodel.py (UNetModel) and Stability-AI/
generative-models sgm/modules/diffusionmodules/openaimodel.py; diffusers scripts/convert_original_stable_diffusion
_to_diffusers.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_INVERSE_RESNET = {original: path for path, original in _RESNET.items()}
_INVERSE_ENDS = {original: path for path, original in _ENDS.items()}
_LDM = re.compile(r"(input_blocks|middle_block|output_blocks)\.(\d+)\.(?:(\d+)\.)?(.+)")
_BLOCK = re.compile(
    r"(down_blocks|up_blocks|mid_block)\.(?:(\d+)\.)?(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)"
)


class LdmNames:
    """The original names of one UNet's layers."""

    def __init__(self, paths: Iterable[str]) -> None:
        """`paths`: diffusers' module paths of the UNet's layers, all of them."""
        found = [match for path in paths if (match := _BLOCK.fullmatch(path))]
        down = [int(m[4]) for m in found if m[1] == "down_blocks" and m[3] == "resnets"]
        up = [int(m[4]) for m in found if m[1] == "up_blocks" and m[3] == "resnets"]
        self._down_layers = max(down, default=-1) + 1
        self._up_layers = max(up, default=-1) + 1
        self._with_attention = {int(m[2]) for m in found if m[1] == "up_blocks" and m[3] == "attentions"}

    def of(self, path: str) -> str | None:
        """The original name of a layer, None where the layout has none."""
        if path in _ENDS:
            return _ENDS[path]
        match = _BLOCK.fullmatch(path)
        if match is None:
            return None
        block, number, kind, index, rest = match[1], int(match[2] or 0), match[3], int(match[4]), match[5]
        inner = _RESNET.get(rest) if kind == "resnets" else rest
        place = self._place(block, number, kind, index)
        if kind == "downsamplers":
            inner = "op" if rest == "conv" else None
        return None if inner is None or place is None else f"{place}.{inner}"

    def _place(self, block: str, number: int, kind: str, index: int) -> str | None:
        """The module that holds a resnet, an attention or a resampler."""
        if block == "mid_block":
            return f"middle_block.{1 if kind == 'attentions' else 2 * index}"
        if block == "down_blocks":
            start = 1 + number * (self._down_layers + 1)
            if kind == "downsamplers":
                return f"input_blocks.{start + self._down_layers}.0"
            return f"input_blocks.{start + index}.{0 if kind == 'resnets' else 1}"
        start = number * self._up_layers
        if kind == "upsamplers":
            return f"output_blocks.{start + self._up_layers - 1}.{2 if number in self._with_attention else 1}"
        return f"output_blocks.{start + index}.{0 if kind == 'resnets' else 1}"


def diffusers_path(path: str) -> str | None:
    """diffusers' module path of a layer of the original UNet with two residual blocks a level; None for another."""
    if path in _INVERSE_ENDS:
        return _INVERSE_ENDS[path]
    match = _LDM.fullmatch(path)
    if match is None:
        return None
    block, number, inner, rest = match[1], int(match[2]), match[3], match[4]
    if block == "middle_block":
        whole = f"{inner}.{rest}" if inner is not None else rest
        if number == 1:
            return f"mid_block.attentions.0.{whole}"
        return f"mid_block.resnets.{number // 2}.{_INVERSE_RESNET.get(whole, whole)}"
    way, count = ("down_blocks", number - 1) if block == "input_blocks" else ("up_blocks", number)
    level, index = divmod(count, 3)
    if rest in ("op", "conv"):
        kind = "downsamplers" if rest == "op" else "upsamplers"
        return f"{way}.{level}.{kind}.0.conv"
    if inner == "0":
        return f"{way}.{level}.resnets.{index}.{_INVERSE_RESNET.get(rest, rest)}"
    return f"{way}.{level}.attentions.{index}.{rest}"
