"""Which Stable Diffusion a LoRA of a UNet or of its text encoders was made for, by names and by the width of texts.

The input of a cross-attention's `to_k` is 768 wide in SD 1.x, 1024 in SD 2.x, 2048 in SDXL. It does not know numbers
and reads no metadata.

Source: invoke-ai/InvokeAI backend/model_manager (families by widths).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lora_studio.headers.transformers import Sides

_WIDTHS: Mapping[int, str] = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
_CONTEXT = re.compile(r"attn2[._](?:processor[._])?to_[kv]\Z")
_SECOND_TEXT = re.compile(r"lora_te2_|text_encoder_2\.|label_emb|add_embedding")
_UNET = re.compile(r"(?:down_blocks|up_blocks|mid_block|input_blocks|output_blocks|middle_block)[._]")
_DEEP = re.compile(r"transformer_blocks[._](\d{1,3})")
_TEXT = re.compile(r"self_attn[._][qkv]_proj\Z")


def unet_of(modules: Mapping[str, Sides]) -> str:
    """sd1, sd2 or sdxl, "" where the modules do not tell.

    Args:
        modules: name of each module as the file has it, and its sides, 0 for one that is not known.
    """
    for name, (_, inputs) in modules.items():
        if inputs in _WIDTHS and _CONTEXT.search(name):
            return _WIDTHS[inputs]
    if any(_SECOND_TEXT.search(name) for name in modules):
        return "sdxl"
    if any(_UNET.search(name) and (match := _DEEP.search(name)) and int(match[1]) >= 1 for name in modules):
        return "sdxl"
    for name, (_, inputs) in modules.items():
        if inputs and _TEXT.search(name):
            # SDXL's first text encoder is SD 1.x's; `lora_te_` tells, `lora_te1_` (always diffusers') does not.
            found = {768: "sd1", 1024: "sd2"}.get(inputs, "")
            return found if found == "sd2" or name.startswith("lora_te_") else ""
    return ""
