"""Kinds that differ in their key layout: the same factors under every trainer's names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from tests.adapters.corpus import Kind, Made
from tests.support.tiny_models import TinyModels

SD = (
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k",
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0",
    "unet.down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_v",
    "unet.up_blocks.1.attentions.1.transformer_blocks.0.attn1.to_v",
)
SD_TEXT = ("text_encoder.encoder.layers.0.self_attn.q_proj", "text_encoder.encoder.layers.1.mlp.fc1")
CONVOLUTIONS = (
    "unet.conv_in",
    "unet.down_blocks.0.resnets.0.conv1",
    "unet.down_blocks.0.downsamplers.0.conv",
    "unet.up_blocks.0.resnets.1.conv_shortcut",
    "unet.up_blocks.0.upsamplers.0.conv",
    "unet.mid_block.attentions.0.proj_in",
)
XL = (
    "unet.down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q",
    "unet.down_blocks.1.attentions.0.proj_in",
    "unet.up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_k",
    "unet.mid_block.attentions.0.transformer_blocks.1.ff.net.2",
    "unet.down_blocks.0.resnets.0.conv1",
    "unet.down_blocks.0.downsamplers.0.conv",
    "unet.up_blocks.0.upsamplers.0.conv",
    "unet.add_embedding.linear_1",
    "unet.time_embedding.linear_2",
)
XL_TEXT = ("text_encoder.encoder.layers.0.self_attn.k_proj", "text_encoder_2.encoder.layers.1.self_attn.out_proj")

Namer = Callable[[str], tuple[str, str, str]]
"""Layer key to the names of down, up and alpha."""


def text_path(models: TinyModels, key: str) -> str:
    """A text layer as this transformers calls it: the second encoder says `text_model.`, the first no longer does."""
    component, _, path = key.partition(".")
    return key if key in models.layers else f"{component}.text_model.{path}"


def factors(models: TinyModels, key: str, number: int, rank: int = 3) -> tuple[Tensor, Tensor]:
    """Random down (rank, in, ...) and up (out, rank, ...)."""
    draw = torch.Generator().manual_seed(number)
    shape = models.layers[key].shape
    ones = (1, 1) if len(shape) == 4 else ()
    return (
        torch.randn(rank, *shape[1:], generator=draw) * 0.2,
        torch.randn(shape[0], rank, *ones, generator=draw) * 0.2,
    )


def product(down: Tensor, up: Tensor, scale: float) -> Tensor:
    """scale · up · down, by an einsum over the rank alone."""
    return scale * torch.einsum("or,r...->o...", up.flatten(1).double(), down.double()).float()


def written(
    models: TinyModels,
    keys: Iterable[str],
    namer: Namer,
    alpha: float | None = 1.5,
    dtype: torch.dtype = torch.float32,
) -> Made:
    """A file of plain LoRA on these layers, and its ΔW."""
    made = Made()
    for number, wanted in enumerate(keys):
        key = text_path(models, wanted)
        down, up = (t.to(dtype) for t in factors(models, key, number))
        names = namer(wanted)
        made.tensors |= {names[0]: down, names[1]: up}
        if alpha is not None:
            made.tensors[names[2]] = torch.tensor(alpha)
        made.deltas[key] = (product(down.float(), up.float(), 1.0 if alpha is None else alpha / 3), None)
    return made


def parted(name: str, words: tuple[str, str, str]) -> tuple[str, str, str]:
    return f"{name}{words[0]}", f"{name}{words[1]}", f"{name}{words[2]}"


KOHYA = (".lora_down.weight", ".lora_up.weight", ".alpha")
PEFT = (".lora_A.weight", ".lora_B.weight", ".alpha")
DOWN_UP = (".lora.down.weight", ".lora.up.weight", ".alpha")


def kohya(key: str, te: str = "lora_te_", text_model: bool = True, dotted: bool = False) -> tuple[str, str, str]:
    component, _, path = key.partition(".")
    prefix = {"unet": "lora_unet_", "text_encoder": te, "text_encoder_2": "lora_te2_"}[component]
    if component != "unet" and text_model:
        path = "text_model." + path
    if dotted:
        return parted(prefix.removesuffix("_") + "." + path, KOHYA)
    return parted(prefix + path.replace(".", "_"), KOHYA)


def in_ldm(path: str, layers: int = 1) -> str:
    """The original names, by the rules of diffusers' conversion script written out for these models."""
    path = path.replace("time_embedding.linear_1", "time_embed.0").replace("time_embedding.linear_2", "time_embed.2")
    path = path.replace("add_embedding.linear_1", "label_emb.0.0").replace("add_embedding.linear_2", "label_emb.0.2")
    if path == "conv_in":
        return "input_blocks.0.0"
    path = re.sub(r"down_blocks\.0\.resnets\.0", "input_blocks.1.0", path)
    path = re.sub(r"down_blocks\.0\.attentions\.0", "input_blocks.1.1", path)
    path = path.replace("down_blocks.0.downsamplers.0.conv", "input_blocks.2.0.op")
    path = re.sub(r"down_blocks\.1\.attentions\.0", "input_blocks.3.1", path)
    path = re.sub(r"mid_block\.attentions\.0", "middle_block.1", path)
    path = re.sub(r"up_blocks\.0\.resnets\.(\d)", r"output_blocks.\1.0", path)
    path = re.sub(r"up_blocks\.0\.attentions\.(\d)", r"output_blocks.\1.1", path)
    path = re.sub(r"up_blocks\.1\.attentions\.(\d)", lambda m: f"output_blocks.{2 + int(m[1])}.1", path)
    return path.replace("conv_shortcut", "skip_connection").replace("conv1", "in_layers.2")


def ldm(
    key: str, resampler: int, prefix: str = "lora_unet_", words: tuple[str, str, str] = KOHYA
) -> tuple[str, str, str]:
    """`resampler`: place of the upsampler in its block, 1 without attention before it and 2 with."""
    path = in_ldm(key.removeprefix("unet."))
    path = path.replace("up_blocks.0.upsamplers.0.conv", f"output_blocks.1.{resampler}.conv")
    return parted(prefix + (path.replace(".", "_") if prefix.endswith("_") else path), words)


def diffusers_old(key: str) -> tuple[str, str, str]:
    component, _, path = key.partition(".")
    if component == "text_encoder":
        return parted(
            f"text_encoder.text_model.{path}",
            (".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight", ".alpha"),
        )
    head, _, last = path.rpartition(".")
    if last == "0":
        head, last = head.rpartition(".")[0], "to_out"
    return parted(f"unet.{head}.processor.{last}_lora", (".down.weight", ".up.weight", ".alpha"))


def linear_as_convolution(models: TinyModels) -> Made:
    """Linear layers written as 1 x 1 convolutions, 1 x 1 convolutions as matrices."""
    keys = (*SD[:2], "unet.mid_block.attentions.0.proj_in")
    made = written(models, keys, kohya)
    for name, tensor in made.tensors.items():
        if tensor.dim() == 2:
            made.tensors[name] = tensor[:, :, None, None]
        elif tensor.dim() == 4:
            made.tensors[name] = tensor[:, :, 0, 0]
    return made


def mixed_ranks(models: TinyModels) -> Made:
    made = Made()
    for number, key in enumerate(SD):
        rank, alpha = 1 + number, 0.5 + number
        down, up = factors(models, key, number, rank)
        names = kohya(key)
        made.tensors |= {names[0]: down, names[1]: up, names[2]: torch.tensor(alpha)}
        made.deltas[key] = (product(down, up, alpha / rank), None)
    return made


def with_header_alpha(models: TinyModels) -> Made:
    """What diffusers' training scripts write: rank and alpha as JSON in the header, patterns too."""
    made = written(models, SD[:3], lambda key: parted(key, PEFT), alpha=None)
    special = SD[1].removeprefix("unet.")
    config = {"unet.r": 3, "unet.lora_alpha": 6, "unet.alpha_pattern": {special: 12}}
    made.metadata["lora_adapter_metadata"] = json.dumps(config)
    for key in SD[:3]:
        delta = made.deltas[key][0]
        assert delta is not None
        made.deltas[key] = (delta * (4 if key == SD[1] else 2), None)
    return made


def twice(models: TinyModels) -> Made:
    """A file that holds a layer under both names: adding both would double it."""
    made = written(models, SD[:2], kohya)
    again = written(models, SD[:1], lambda key: ldm(key, 1))
    made.tensors |= again.tensors
    made.warns = ("layers_ignored",)
    return made


def bare(models: TinyModels) -> Made:
    return written(models, SD, lambda key: parted(key.removeprefix("unet."), PEFT), alpha=None)


def kinds() -> list[Kind]:
    """The rows."""

    def kind(name: str, says: str, make: Callable[[TinyModels], Made], base: str = "sd") -> Kind:
        return Kind(name, "layout", says, lambda models, folder: make(models), base)

    def lora(name: str, says: str, keys: Iterable[str], namer: Namer, base: str = "sd", **options: object) -> Kind:
        return kind(name, says, lambda models: written(models, keys, namer, **options), base)  # type: ignore[arg-type]

    both, xl = (*SD, *SD_TEXT), (*XL, *XL_TEXT)

    def numbered(key: str) -> tuple[str, str, str]:
        return kohya(key, te="lora_te1_")

    def sgm(key: str) -> tuple[str, str, str]:
        return ldm(key, 2) if key.startswith("unet.") else numbered(key)

    return [
        lora("kohya", "`lora_unet_…`, `lora_te_text_model_…`, `.alpha`", both, kohya),
        lora("kohya, text encoder only", "no UNet part", SD_TEXT, kohya),
        lora("kohya LoCon", "3 x 3 convolutions, strides and shortcuts too", (*SD[:2], *CONVOLUTIONS), kohya),
        lora("kohya without alpha", "alpha is taken as the rank", both, kohya, alpha=None),
        lora("kohya, float16", "factors of 16 bits", both, kohya, dtype=torch.float16),
        lora("kohya, bfloat16", "factors of 16 bits with a short mantissa", both, kohya, dtype=torch.bfloat16),
        kind("kohya, mixed ranks", "every layer has its own rank and alpha", mixed_ranks),
        kind("kohya, 1 x 1", "linear layers as 1 x 1 convolutions and the other way round", linear_as_convolution),
        lora(
            "kohya without text_model",
            "`lora_te_encoder_layers_…`, as transformers 5.6 names the modules",
            both,
            lambda key: kohya(key, text_model=False),
        ),
        lora(
            "OneTrainer, dotted",
            "`lora_unet.down_blocks.0….lora_down.weight`",
            both,
            lambda key: kohya(key, te="lora_te_", dotted=True),
        ),
        lora(
            "kohya with LDM names",
            "`lora_unet_input_blocks_1_1_…` on SD 1.x",
            (*SD, *CONVOLUTIONS[:3], CONVOLUTIONS[4]),
            lambda key: ldm(key, 1),
        ),
        lora(
            "ComfyUI",
            "`diffusion_model.input_blocks.1.1….lora_up.weight`",
            SD,
            lambda key: ldm(key, 1, "diffusion_model."),
        ),
        lora("diffusers", "`unet.….lora_A.weight`", both, lambda key: parted(key, PEFT), alpha=None),
        lora(
            "diffusers, text_model",
            "`text_encoder.text_model.….lora_A.weight` beside `unet.`",
            both,
            lambda key: parted(key.replace("text_encoder.", "text_encoder.text_model."), PEFT),
            alpha=None,
        ),
        lora("diffusers, lora.down", "`unet.….lora.down.weight` with alphas", SD, lambda key: parted(key, DOWN_UP)),
        lora("diffusers before 0.20", "`….processor.to_q_lora.down.weight`", (*SD[:3], *SD_TEXT), diffusers_old),
        kind("diffusers, alpha in the header", "`lora_adapter_metadata` with alpha_pattern", with_header_alpha),
        kind("bare", "`down_blocks.0….lora_A.weight` without a component", bare),
        lora(
            "peft of a whole pipeline",
            "`base_model.model.unet.…` and `base_model.model.text_encoder.…`",
            both,
            lambda key: parted(f"base_model.model.{key}", PEFT),
            alpha=None,
        ),
        lora(
            "LyCORIS over a UNet alone",
            "`lycoris_down_blocks_0_…`",
            SD,
            lambda key: parted("lycoris_" + key.removeprefix("unet.").replace(".", "_"), KOHYA),
        ),
        lora(
            "LyCORIS over a pipeline",
            "`lycoris_unet_down_blocks_0_…`, `lycoris_text_encoder_…`",
            both,
            lambda key: parted("lycoris_" + key.replace(".", "_"), KOHYA),
        ),
        lora(
            "peft with the adapter's name",
            "`….lora_A.my-cat.v2.weight`, as a model's own state holds it",
            SD,
            lambda key: parted(
                key.replace("unet.", "base_model.model."),
                (".lora_A.my-cat.v2.weight", ".lora_B.my-cat.v2.weight", ".alpha"),
            ),
            alpha=None,
        ),
        lora(
            "peft within a component",
            "`unet.base_model.model.…`",
            SD,
            lambda key: parted(key.replace("unet.", "unet.base_model.model."), PEFT),
            alpha=None,
        ),
        kind("two names for one layer", "original and diffusers' names of one layer: the first counts", twice),
        lora("kohya SDXL, SGM", "`lora_unet_input_blocks_4_1_…`, `lora_te1_`, `lora_te2_`", xl, sgm, "sdxl"),
        lora("kohya SDXL, diffusers", "`lora_unet_down_blocks_1_…`, `lora_te1_`, `lora_te2_`", xl, numbered, "sdxl"),
        lora(
            "diffusers SDXL",
            "`unet.`, `text_encoder.`, `text_encoder_2.`",
            xl,
            lambda key: parted(key, PEFT),
            "sdxl",
            alpha=None,
        ),
        lora(
            "OneTrainer SDXL",
            "`lora_te1.text_model.…`, `lora_te2.text_model.…`",
            xl,
            lambda key: kohya(key, te="lora_te1_", dotted=True),
            "sdxl",
        ),
    ]
