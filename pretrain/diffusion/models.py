"""UNet and text encoder: continued from a base folder, grown, or new.

Growing keeps what the model does: an added layer and added feed-forward columns begin as doing nothing. Another width
begins a new text encoder and new projections of its words in the UNet; all else of the UNet stays.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrain.recipe import RecipeError, TextEncoder, UNet
from pretrain.trainings import check_whole


def noise_schedule(base: Path) -> Tensor:
    """The share of signal (alphas_cumprod) by timestep, float32 (1000,), of a base's scheduler.

    Raises:
        RecipeError: the base predicts something else than v.
    """
    from diffusers import DDPMScheduler

    config = json.loads((base / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    if config.get("prediction_type") != "v_prediction":
        raise RecipeError(
            f"{base} predicts {config.get('prediction_type')!r}; this training knows v_prediction alone; choose a "
            "base with it."
        )
    alphas: Tensor = DDPMScheduler.from_config(config).alphas_cumprod
    return alphas.float()


def load_models(base: Path, unet: UNet, text: TextEncoder, seed: int) -> tuple[Any, Any]:
    """(UNet, text encoder) of a base in float32, the text encoder grown to the recipe's sizes.

    Raises:
        ValueError: there is no UNet or text encoder, the UNet's sizes are not the recipe's, or the text encoder would
            have to shrink.
    """
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel

    check_whole(base)
    network = UNet2DConditionModel.from_pretrained(base / "unet", dtype=torch.float32)
    words = CLIPTextModel.from_pretrained(base / "text_encoder", dtype=torch.float32)
    _check_unet(network.config, unet)
    return grow(network, words, text, seed)


def _check_unet(config: Any, recipe: UNet) -> None:
    """A continued UNet keeps its sizes; a recipe that says others is refused."""
    attention = tuple(kind.startswith("CrossAttn") for kind in config.down_block_types)
    found = (tuple(config.block_out_channels), attention, config.layers_per_block, config.attention_head_dim)
    wanted = (recipe.channels, recipe.attention, recipe.layers, recipe.heads)
    if found != wanted or config.norm_num_groups != recipe.groups:
        raise RecipeError(
            f"The base's UNet has {found} with {config.norm_num_groups} groups and the recipe asks for {wanted} with "
            f'{recipe.groups}; a continued UNet keeps its sizes; write the base\'s, or start = "new".'
        )


def new_models(base: Path, unet: UNet, text: TextEncoder, latent: tuple[int, int], seed: int) -> tuple[Any, Any]:
    """New (UNet, text encoder). latent: channels and side of the latents; the vocabulary is the base's tokenizer's."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=text.width,
        intermediate_size=text.feed_forward,
        num_hidden_layers=text.layers,
        num_attention_heads=text.heads,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=text.width,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        hidden_act="quick_gelu",
    )
    down = tuple("CrossAttnDownBlock2D" if words else "DownBlock2D" for words in unet.attention)
    up = tuple("CrossAttnUpBlock2D" if words else "UpBlock2D" for words in reversed(unet.attention))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words = CLIPTextModel(config)
        network = UNet2DConditionModel(
            sample_size=latent[1],
            in_channels=latent[0],
            out_channels=latent[0],
            layers_per_block=unet.layers,
            block_out_channels=unet.channels,
            down_block_types=down,
            up_block_types=up,
            cross_attention_dim=text.width,
            attention_head_dim=unet.heads,
            norm_num_groups=unet.groups,
        )
    return network, words


def grow(unet: Any, words: Any, recipe: TextEncoder, seed: int) -> tuple[Any, Any]:
    """The same two where the sizes are the recipe's, otherwise larger ones that know what these know.

    Raises:
        RecipeError: fewer layers or columns than there are, or other heads at the same width.
    """
    from transformers import CLIPTextConfig, CLIPTextModel

    have = words.config
    found = (have.num_hidden_layers, have.intermediate_size)
    same_width = recipe.width == have.hidden_size
    if same_width and found == (recipe.layers, recipe.feed_forward) and recipe.heads == have.num_attention_heads:
        return unet, words
    shrinks = recipe.layers < found[0] or recipe.feed_forward < found[1]
    if same_width and (shrinks or recipe.heads != have.num_attention_heads):
        raise RecipeError(
            f"The base's text encoder has {found[0]} layers, {found[1]} columns and {have.num_attention_heads} heads, "
            f"the recipe {recipe.layers}, {recipe.feed_forward} and {recipe.heads}; it may grow, with as many heads; "
            "write larger sizes."
        )
    table = {**have.to_dict(), "hidden_size": recipe.width, "projection_dim": recipe.width}
    table |= {"num_hidden_layers": recipe.layers, "intermediate_size": recipe.feed_forward}
    table |= {"num_attention_heads": recipe.heads, "dtype": "float32"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        larger = CLIPTextModel(CLIPTextConfig(**table))
        if not same_width:
            return _with_width(unet, recipe.width), larger
    _copy_into(larger, words, found[0])
    return unet, larger


@torch.no_grad()
def _copy_into(larger: Any, words: Any, layers: int) -> None:
    """Copies a text encoder into a larger one of the same width, so that it says the same."""
    old, new = words.state_dict(), larger.state_dict()
    for name, value in new.items():
        parts = name.split(".")
        added = "layers" in parts and int(parts[parts.index("layers") + 1]) >= layers
        if added and ("out_proj" in parts or "fc2" in parts):
            value.zero_()
        elif not added:
            if name.endswith("fc2.weight"):
                value.zero_()
            value[tuple(slice(0, size) for size in old[name].shape)] = old[name]


def _with_width(unet: Any, width: int) -> Any:
    """The UNet for words of another width: the projections of words are new, all else is kept."""
    from diffusers import UNet2DConditionModel

    larger = UNet2DConditionModel.from_config({**unet.config, "cross_attention_dim": width})
    old = unet.state_dict()
    fitting = {name: value for name, value in old.items() if value.shape == larger.state_dict()[name].shape}
    larger.load_state_dict(fitting, strict=False)
    return larger
