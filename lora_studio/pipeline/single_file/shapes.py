"""The configs of a checkpoint's parts, from the shapes of its tensors.

Widths, layers, attention and the width of the text are what the shapes say; what no shape tells (activations, norm
groups, the scale of latents) comes from the config that is shipped for the kind. Heads go by convention: Stable
Diffusion 1.x has 8 everywhere, the others 64 channels a head (CompVis' and Stability AI's configs).

For the real Stable Diffusion 1.5, 2.1 and XL this gives their published configs; a test says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]
"""Tensor name, without the prefix of its part, to shape."""

_HEAD = 64
"""Channels of an attention head."""
MOST = 100
"""Blocks, levels and layers of one kind; real bases have at most 32."""


def unet_config(shapes: Shapes, shipped: Mapping[str, Any], pooled: int | None = None) -> dict[str, Any]:
    """The UNet's config.

    Args:
        shapes: `input_blocks.0.0.weight` and so on.
        shipped: the config of its kind.
        pooled: width of the pooled text, for Stable Diffusion XL.

    Raises:
        KeyError, ValueError: a tensor is missing or has another number of dimensions.
    """
    channels: list[int] = []
    depths: list[int] = []
    layers = [0]
    for number in range(1, _count(shapes, r"input_blocks\.(\d+)\.")):
        block = f"input_blocks.{number}"
        if f"{block}.0.op.weight" in shapes:
            layers.append(0)
            continue
        if not layers[-1]:
            channels.append(shapes[f"{block}.0.in_layers.2.weight"][0])
            depths.append(_count(shapes, rf"{re.escape(block)}\.1\.transformer_blocks\.(\d+)\."))
        layers[-1] += 1
    if len(set(layers)) != 1:
        raise ValueError(f"its blocks have {layers} layers")
    attended = [depth > 0 for depth in depths]
    # Down, up (one more) and middle; such a block has 20 tensors, and a residual one 10 or more.
    _check_size(
        shapes, sum((2 * layers[0] + 1) * depth for depth, has in zip(depths, attended, strict=True) if has), 20
    )
    _check_size(shapes, (2 * layers[0] + 1) * len(layers), 10)
    middle = _count(shapes, r"middle_block\.1\.transformer_blocks\.(\d+)\.")
    depths = [*(depth or 1 for depth in depths[:-1]), depths[-1] or middle]
    found = {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": layers[0],
        "down_block_types": ["CrossAttnDownBlock2D" if one else "DownBlock2D" for one in attended],
        "up_block_types": ["CrossAttnUpBlock2D" if one else "UpBlock2D" for one in reversed(attended)],
        "transformer_layers_per_block": 1 if set(depths) == {1} else depths,
        "cross_attention_dim": shapes["middle_block.1.transformer_blocks.0.attn2.to_k.weight"][1],
        "use_linear_projection": len(shapes["middle_block.1.proj_in.weight"]) == 2,
    }
    if not isinstance(shipped["attention_head_dim"], int):
        found["attention_head_dim"] = [max(1, width // _HEAD) for width in channels]
    if pooled is not None:
        vector = shapes["label_emb.0.0.weight"][1]
        found["projection_class_embeddings_input_dim"] = vector
        found["addition_time_embed_dim"] = (vector - pooled) // 6
    return {**shipped, **found}


def vae_config(shapes: Shapes, shipped: Mapping[str, Any]) -> dict[str, Any]:
    """The autoencoder's config, from `encoder.conv_in.weight` and so on. Raises KeyError where a tensor is missing."""
    levels = _count(shapes, r"encoder\.down\.(\d+)\.")
    layers = _count(shapes, r"encoder\.down\.0\.block\.(\d+)\.")
    _check_size(shapes, levels * (2 * layers + 1), 8)
    found = {
        "block_out_channels": [shapes[f"encoder.down.{level}.block.0.conv1.weight"][0] for level in range(levels)],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": layers,
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "mid_block_add_attention": "encoder.mid.attn_1.q.weight" in shapes,
    }
    return {**shipped, **found}


def clip_config(shapes: Shapes, shipped: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a text encoder in transformers' layout, from `embeddings.token_embedding.weight` and so on."""
    found = {
        "num_hidden_layers": _count(shapes, r"encoder\.layers\.(\d+)\."),
        "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "max_position_embeddings": shapes["embeddings.position_embedding.weight"][0],
    }
    return {**shipped, **found, **_table(shapes["embeddings.token_embedding.weight"])}


def open_clip_config(shapes: Shapes, shipped: Mapping[str, Any], projected: bool) -> dict[str, Any]:
    """The config of a text encoder in OpenCLIP's layout, from `token_embedding.weight` and so on.

    Args:
        projected: True where its projection is used (Stable Diffusion XL); else its last layer is not read and left
            out (Stable Diffusion 2), unless the file leaves it out already.
    """
    layers = _count(shapes, r"transformer\.resblocks\.(\d+)\.")
    found = {
        "num_hidden_layers": layers if projected or layers == shipped["num_hidden_layers"] else layers - 1,
        "intermediate_size": shapes["transformer.resblocks.0.mlp.c_fc.weight"][0],
        "max_position_embeddings": shapes["positional_embedding"][0],
    }
    if projected:
        found["projection_dim"] = shapes["text_projection"][1]
    return {**shipped, **found, **_table(shapes["token_embedding.weight"])}


def _table(shape: tuple[int, ...]) -> dict[str, int]:
    """What the table of tokens (words, width) says."""
    words, width = shape
    return {"vocab_size": words, "hidden_size": width, "num_attention_heads": max(1, width // _HEAD)}


def _count(names: Iterable[str], pattern: str) -> int:
    """How many numbers `pattern` finds at the beginnings of names; they must be 0, 1, 2 ... without a gap.

    Raises:
        ValueError: they are not, or are more than any base has.
    """
    numbers = {found[1] for name in names if (found := re.match(pattern, name))}
    if len(numbers) > MOST or numbers != {str(number) for number in range(len(numbers))}:
        raise ValueError(f"its blocks ({pattern.replace(chr(92), '')}) are not numbered from 0 to at most {MOST - 1}")
    return len(numbers)


def _check_size(shapes: Shapes, blocks: int, tensors: int) -> None:
    """Raise `ValueError` where a part of so many blocks needs more tensors than there are, before it is made."""
    if blocks * tensors > len(shapes):
        raise ValueError(f"it lacks tensors ({blocks} blocks of {tensors} are named, {len(shapes)} tensors are there)")
