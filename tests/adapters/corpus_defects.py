"""Kinds that differ in their defect: refused in one sentence, or acting with a warning that names it."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable

import torch
from safetensors.torch import save
from torch import Tensor

from tests.adapters.corpus import Kind, Made
from tests.adapters.corpus_layouts import CONVOLUTIONS, PEFT, SD, SD_TEXT, factors, kohya, parted, product, written
from tests.support.tiny_models import TinyModels

Tensors = dict[str, Tensor]
BOTH = (*SD, *SD_TEXT)


def good(models: TinyModels) -> Made:
    return written(models, BOTH, kohya)


def first(tensors: Tensors, ending: str) -> str:
    return next(name for name in sorted(tensors) if name.endswith(ending))


def spoiled(ending: str, change: Callable[[Tensor], Tensor]) -> Callable[[TinyModels], Made]:
    """A good file with one tensor changed."""

    def make(models: TinyModels) -> Made:
        made = good(models)
        name = first(made.tensors, ending)
        made.tensors[name] = change(made.tensors[name].clone())
        return made

    return make


def without(*endings: str, all_of_them: bool = False) -> Callable[[TinyModels], Made]:
    def make(models: TinyModels) -> Made:
        made = good(models)
        names = [name for name in sorted(made.tensors) if name.endswith(endings)]
        for name in names if all_of_them else names[:1]:
            del made.tensors[name]
        return made

    return make


def filled(value: float) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        tensor.view(-1)[0] = value
        return tensor

    return change


def all_zero(models: TinyModels) -> Made:
    made = good(models)
    for name, tensor in made.tensors.items():
        if "up" in name:
            made.tensors[name] = torch.zeros_like(tensor) if tensor.dim() else tensor
    made.deltas = {key: (torch.zeros(models.layers[key].shape), None) for key in made.deltas}
    made.warns = ("adapter_zero",)
    return made


def alpha_zero(models: TinyModels) -> Made:
    made = good(models)
    key = SD[0]
    made.tensors[kohya(key)[2]] = torch.tensor(0.0)
    made.deltas[key] = (torch.zeros(models.layers[key].shape), None)
    made.warns = ("adapter_alpha_zero",)
    return made


def one_layer(models: TinyModels) -> Made:
    made = written(models, SD[:1], kohya)
    made.warns = ("adapter_few_layers",)
    return made


def with_second_encoder(models: TinyModels) -> Made:
    """Keys of SDXL's second text encoder beside good ones on SD 1.x: they are told of."""
    made = good(models)
    down, up = factors(models, SD_TEXT_KEY, 7)
    name = "lora_te2_text_model_encoder_layers_0_self_attn_q_proj"
    made.tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
    made.warns = ("layers_ignored",)
    return made


SD_TEXT_KEY = SD_TEXT[0]


def with_unknown_modules(models: TinyModels) -> Made:
    made = good(models)
    name = "lora_unet_down_blocks_9_attentions_0_proj_in"
    made.tensors |= {f"{name}.lora_down.weight": torch.ones(2, 4), f"{name}.lora_up.weight": torch.ones(4, 2)}
    made.tensors["something.else"] = torch.ones(3)
    made.warns = ("layers_ignored", "adapter_parts_ignored")
    return made


def bundled(models: TinyModels) -> Made:
    """A textual-inversion embedding in the file, which diffusers calls an invalid checkpoint."""
    made = good(models)
    made.tensors["bundle_emb.my cat.string_to_param.*"] = torch.ones(2, 24) * 0.1
    return made


def second_encoder_alone(models: TinyModels) -> Made:
    name = "lora_te2_text_model_encoder_layers_0_self_attn_q_proj"
    tensors = {f"{name}.lora_down.weight": torch.ones(2, 1280), f"{name}.lora_up.weight": torch.ones(1280, 2)}
    return Made(tensors, says=("SDXL",))


def flux(models: TinyModels) -> Made:
    name = "lora_unet_double_blocks_0_img_attn_proj"
    tensors = {f"{name}.lora_down.weight": torch.ones(2, 3072), f"{name}.lora_up.weight": torch.ones(3072, 2)}
    return Made(tensors, says=("FLUX.1",))


def flux_diffusers(models: TinyModels) -> Made:
    name = "transformer.single_transformer_blocks.0.attn.to_q"
    tensors = {f"{name}.lora_A.weight": torch.ones(2, 3072), f"{name}.lora_B.weight": torch.ones(3072, 2)}
    return Made(tensors, says=("FLUX.1",))


def sd3(models: TinyModels) -> Made:
    name = "lora_unet_joint_blocks_0_context_block_attn_qkv"
    tensors = {f"{name}.lora_down.weight": torch.ones(2, 1536), f"{name}.lora_up.weight": torch.ones(4608, 2)}
    return Made(tensors, says=("SD 3",))


def sdxl(models: TinyModels) -> Made:
    """A file of real SDXL shapes."""
    name = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    tensors = {f"{name}.lora_down.weight": torch.ones(2, 2048), f"{name}.lora_up.weight": torch.ones(640, 2)}
    return Made(tensors, says=("SDXL",))


def sd2(models: TinyModels) -> Made:
    """Names that this base has, with the widths of SD 2.x."""
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {f"{name}.lora_down.weight": torch.ones(2, 1024), f"{name}.lora_up.weight": torch.ones(320, 2)}
    return Made(tensors, says=("SD 2.x",))


def good_unet_bad_text(models: TinyModels) -> Made:
    """What leaves 32 LoRA tensors in diffusers' shared pipeline."""
    made = good(models)
    name = first(made.tensors, "lora_down.weight")
    assert name.startswith("lora_te")
    made.tensors[name] = torch.ones(3, 77)
    return made


def header_alpha(text: str) -> Callable[[TinyModels], Made]:
    def make(models: TinyModels) -> Made:
        made = written(models, SD, lambda key: parted(key, PEFT), alpha=None)
        made.metadata["lora_adapter_metadata"] = text
        return made

    return make


def eight_bits(models: TinyModels) -> Made:
    made = good(models)
    name = first(made.tensors, "lora_up.weight")
    made.tensors[name] = made.tensors[name].to(torch.float8_e4m3fn)
    return made


def checkpoint(models: TinyModels) -> Made:
    """Weights of a whole model."""
    state = models.trees["unet"].state_dict()
    return Made({f"model.diffusion_model.{name}": tensor for name, tensor in list(state.items())[:40]})


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("touch /tmp/lora-studio-must-not-exist",)


def with_code() -> bytes:
    """What torch.save makes of something that runs a program when it is read."""
    buffer = io.BytesIO()
    torch.save({"lora_unet_conv_in.lora_down.weight": _Code()}, buffer)
    return buffer.getvalue()


def pickled(models: TinyModels) -> Made:
    buffer = io.BytesIO()
    made = good(models)
    torch.save(made.tensors, buffer)
    return Made(made.tensors, made.deltas, raw=buffer.getvalue(), suffix=".pt", warns=("adapter_converted",))


def checkpointed(models: TinyModels) -> Made:
    """As older trainers wrote `.ckpt`: the tensors within a `state_dict`."""
    buffer = io.BytesIO()
    made = good(models)
    torch.save({"state_dict": made.tensors, "epoch": 3}, buffer)
    return Made(made.tensors, made.deltas, raw=buffer.getvalue(), suffix=".ckpt", warns=("adapter_converted",))


def raw(content: Callable[[bytes], bytes], suffix: str = ".safetensors") -> Callable[[TinyModels], Made]:
    return lambda models: Made(raw=content(save(good(models).tensors)), suffix=suffix)


def header_of(change: Callable[[dict[str, dict[str, object]]], None]) -> Callable[[bytes], bytes]:
    """A file whose header was changed, its body left as it is."""

    def content(data: bytes) -> bytes:
        length = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + length])
        change(header)
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + length :]

    return content


def overlapping(header: dict[str, dict[str, object]]) -> None:
    """Two tensors of one size at one place."""
    by_size: dict[str, str] = {}
    for name, entry in header.items():
        shape = json.dumps([entry.get("dtype"), entry.get("shape")])
        if shape in by_size and name != "__metadata__":
            entry["data_offsets"] = header[by_size[shape]]["data_offsets"]
            return
        by_size[shape] = name


def outside(header: dict[str, dict[str, object]]) -> None:
    entry = header[sorted(header)[0]]
    first, last = entry["data_offsets"]  # type: ignore[misc]
    entry["data_offsets"] = [first + 10**9, last + 10**9]  # type: ignore[has-type]


def claims_more(header: dict[str, dict[str, object]]) -> None:
    entry = next(e for e in header.values() if len(e.get("shape", [])) == 2)  # type: ignore[arg-type]
    entry["shape"] = [2**40, 2]


def deep(header: dict[str, dict[str, object]]) -> None:
    entry = next(e for e in header.values() if len(e.get("shape", [])) == 2)  # type: ignore[arg-type]
    entry["shape"] = [1, 1, 1, *entry["shape"]]  # type: ignore[misc]


def doubled(data: bytes) -> bytes:
    """One name twice in the header, which JSON readers answer with the last of both."""
    length = struct.unpack("<Q", data[:8])[0]
    text = data[8 : 8 + length].rstrip()
    name = next(iter(json.loads(text)))
    entry = json.dumps(json.loads(text)[name])
    text = text[:-1] + b"," + json.dumps(name).encode() + b":" + entry.encode() + b"}"
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def peft_oft(terms: float, value: float) -> Callable[[TinyModels], Made]:
    """peft's rotations in blocks of four, all their numbers `value`, with a config in the header."""

    def make(models: TinyModels) -> Made:
        inputs = models.layers[SD[0]].shape[1]
        name = SD[0].replace("unet.", "base_model.model.")
        config = json.dumps({"peft_type": "OFT", "num_cayley_neumann_terms": terms})
        tensors = {f"{name}.oft_R.weight": torch.full((inputs // 4, 6), value)}
        return Made(tensors, metadata={"lora_adapter_metadata": config})

    return make


def tucker_of_large_numbers(models: TinyModels) -> Made:
    """Each number passes, their product is no number any more."""
    key = CONVOLUTIONS[1]
    out, inputs, *kernel = models.layers[key].shape
    name = f"lora_unet_{key.removeprefix('unet.').replace('.', '_')}"
    shapes = {"w1_a": (64, out), "w1_b": (64, inputs), "w2_a": (64, out), "w2_b": (64, inputs)}
    shapes |= {"t1": (64, 64, *kernel), "t2": (64, 64, *kernel)}
    tensors = {f"{name}.hada_{part}": torch.full(shape, 1e4) for part, shape in shapes.items()}
    return Made(tensors | {f"{name}.alpha": torch.tensor(64e4), f"{name}.scalar": torch.tensor(1e4)})


def many_embeddings(models: TinyModels) -> Made:
    made = good(models)
    made.tensors |= {f"bundle_emb.word{n}.clip_l": torch.ones(1, 24) * 0.1 for n in range(65)}
    return made


def an_embedding_of_one_number(models: TinyModels) -> Made:
    made = good(models)
    made.tensors["bundle_emb.word.clip_l"] = torch.tensor(0.1)
    return made


def unkind(header: dict[str, dict[str, object]]) -> None:
    del header[sorted(header)[0]]["dtype"]


def strong(models: TinyModels) -> Made:
    """A large alpha that is still no damage."""
    made = written(models, SD[:1], kohya, alpha=30.0)
    down, up = factors(models, SD[0], 0)
    made.deltas = {SD[0]: (product(down, up, 10.0), None)}
    return made


def kinds() -> list[Kind]:
    """The rows."""

    def acts(name: str, says: str, make: Callable[[TinyModels], Made]) -> Kind:
        return Kind(name, "defect", says, lambda models, folder: make(models))

    def refused(name: str, code: str, says: str, make: Callable[[TinyModels], Made]) -> Kind:
        return Kind(name, "defect", says, lambda models, folder: make(models), refused=code)

    down, up = "lora_down.weight", "lora_up.weight"
    damaged = "adapter_damaged"
    code = with_code()
    return [
        acts("all zero", "does nothing, warned", all_zero),
        acts("alpha 0", "one layer does nothing, warned", alpha_zero),
        acts("one layer", "1 of many layers, warned", one_layer),
        acts("second text encoder on SD 1.x", "`lora_te2_` beside good keys, told", with_second_encoder),
        acts("layers of no base", "good keys and unknown ones, told", with_unknown_modules),
        acts("bundled embedding", "`bundle_emb.<name>.string_to_param.*` beside good keys", bundled),
        acts("large alpha", "ten times the usual strength", strong),
        acts("pickle", "`.pt`, opened by a process of its own", pickled),
        acts("pickle in a state_dict", "`.ckpt`", checkpointed),
        refused("NaN", damaged, "one number is none", spoiled(up, filled(float("nan")))),
        refused("infinite", damaged, "one number is infinite", spoiled(down, filled(float("-inf")))),
        refused("1e30", damaged, "a number that no training gives", spoiled(up, filled(1e30))),
        refused("alpha NaN", damaged, "", spoiled(".alpha", filled(float("nan")))),
        refused("alpha 1e9", damaged, "", spoiled(".alpha", filled(1e9))),
        refused("alpha negative", damaged, "", spoiled(".alpha", filled(-1.0))),
        refused("alpha of two numbers", damaged, "", spoiled(".alpha", lambda t: torch.ones(2))),
        refused("alpha 1e6 in the header", damaged, "", header_alpha('{"unet.r": 3, "unet.lora_alpha": 1e6}')),
        refused(
            "a pattern that never ends",
            damaged,
            "`alpha_pattern` that a regular expression takes for ever with",
            header_alpha('{"unet.r": 3, "unet.alpha_pattern": {"([\\\\w.]+)+!": 3}}'),
        ),
        refused("a config of half a character", damaged, "", header_alpha('{"unet.r": "\\ud800"}')),
        refused("OFT of 1e15 terms", damaged, "", peft_oft(1e15, 0.1)),
        refused("OFT that grows infinite", damaged, "powers of numbers that pass", peft_oft(40, 1e4)),
        refused("LoHa that grows infinite", damaged, "a product of numbers that pass", tucker_of_large_numbers),
        refused("65 embeddings", damaged, "in one LoRA", many_embeddings),
        refused("an embedding of one number", damaged, "", an_embedding_of_one_number),
        refused("a tensor of no kind of numbers", damaged, "`dtype` is missing", raw(header_of(unkind))),
        refused("header metadata is no JSON", damaged, "", header_alpha("{")),
        refused("header metadata of wrong kinds", damaged, "", header_alpha('{"unet.r": "x", "unet.lora_alpha": []}')),
        refused("one up missing", damaged, "", without(up)),
        refused("all ups missing", damaged, "", without(up, all_of_them=True)),
        refused("one down missing", damaged, "", without(down)),
        refused("rank mismatch", damaged, "up and down disagree", spoiled(up, lambda t: torch.ones(t.shape[0], 9))),
        refused("wrong width", "adapter_shape", "", spoiled(down, lambda t: torch.ones(3, 77))),
        refused("good UNet, bad text encoder", "adapter_shape", "poisons a diffusers pipeline", good_unet_bad_text),
        refused("integers", damaged, "int8 factors", spoiled(up, lambda t: t.to(torch.int8))),
        refused("8-bit floats", "adapter_dtype", "float8 factors", eight_bits),
        refused("a part of no kind", "adapter_kind", "", spoiled_name),
        refused("no tensors", "adapter_empty", "", lambda models: Made(raw=struct.pack("<Q", 2) + b"{}")),
        refused("whole checkpoint", "adapter_layout", "weights, no differences", checkpoint),
        refused("SDXL on another base", "adapter_family_other", "by widths and names", sdxl),
        refused("SDXL's second text encoder alone", "adapter_family_other", "", second_encoder_alone),
        refused("SD 2.x on another base", "adapter_family_other", "the same names, other widths", sd2),
        refused("FLUX.1 by kohya", "adapter_family_other", "", flux),
        refused("FLUX.1 by diffusers", "adapter_family_other", "", flux_diffusers),
        refused("SD 3", "adapter_family_other", "", sd3),
        refused("pickle with code", "adapter_code", "not run", lambda models: Made(raw=code, suffix=".pt")),
        refused("pickle called safetensors", "adapter_code", "told by its bytes", lambda models: Made(raw=code)),
        refused("truncated", damaged, "", raw(lambda data: data[:-100])),
        refused("empty file", damaged, "", raw(lambda data: b"")),
        refused("header twice", damaged, "one name stands twice", raw(doubled)),
        refused("tensors over each other", damaged, "", raw(header_of(overlapping))),
        refused("tensor outside the file", damaged, "", raw(header_of(outside))),
        refused("shape larger than its bytes", damaged, "", raw(header_of(claims_more))),
        refused("five dimensions", damaged, "", raw(header_of(deep))),
        refused("a picture", damaged, "", raw(lambda data: b"\x89PNG\r\n\x1a\n" + data)),
    ]


def spoiled_name(models: TinyModels) -> Made:
    """A part that no algebra reads beside good factors: leaving it out would change the arithmetic."""
    made = good(models)
    name = first(made.tensors, "lora_up.weight").removesuffix(".lora_up.weight")
    made.tensors[f"{name}.rescale"] = torch.ones(3)
    return made
