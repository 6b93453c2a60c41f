"""Kinds that differ in what the numbers of a module come to, by plain code or by lycoris-lora as another writer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tests.adapters.corpus import Kind, Made
from tests.adapters.corpus_layouts import CONVOLUTIONS, SD, SD_TEXT, factors, kohya, product
from tests.support import lycoris_files
from tests.support.tiny_models import TinyModels

ATTENTION = (SD[0], SD[3], SD_TEXT[0])
MIXED = (*ATTENTION, CONVOLUTIONS[1], CONVOLUTIONS[2], CONVOLUTIONS[5])
WIDE = "unet.mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj"
NORMS = (
    "unet.down_blocks.0.resnets.0.norm1",
    "unet.mid_block.attentions.0.norm",
    "unet.mid_block.attentions.0.transformer_blocks.0.norm2",
    "unet.conv_norm_out",
    "text_encoder.encoder.layers.0.layer_norm1",
    "text_encoder.final_layer_norm",
)


def module_name(key: str) -> str:
    return kohya(key)[0].removesuffix(".lora_down.weight")


def by_lycoris(algo: str, keys: tuple[str, ...], **options: Any) -> Callable[[TinyModels], Made]:
    """Modules of LyCORIS over the models' own layers; its forward pass says what the weights become."""

    def make(models: TinyModels) -> Made:
        made = Made()
        for number, key in enumerate(keys):
            layer = lycoris_files.unstrided(models.module(key))
            module = lycoris_files.module_of(algo, layer, number, **options)
            for part, tensor in lycoris_files.state_of(module).items():
                made.tensors[f"{module_name(key)}.{part}"] = tensor
            weight: Tensor = layer.weight  # type: ignore[assignment]
            made.deltas[key] = ((lycoris_files.weights_of(module, layer) - weight).detach(), None)
        return made

    return make


def drawn(number: int, *shape: int, size: float = 0.1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(number)) * size


def full(models: TinyModels) -> Made:
    made = Made()
    for number, key in enumerate((SD[0], SD[3], CONVOLUTIONS[1], SD_TEXT[1])):
        shape = models.layers[key].shape
        delta, bias = drawn(number, *shape), drawn(90 + number, shape[0])
        made.tensors[f"{module_name(key)}.diff"] = delta
        has = models.module(key).bias is not None
        if has:
            made.tensors[f"{module_name(key)}.diff_b"] = bias
        made.deltas[key] = (delta, bias if has else None)
    return made


def bias_alone(models: TinyModels) -> Made:
    made = Made()
    for number, key in enumerate((SD[3], CONVOLUTIONS[1], SD_TEXT[1])):
        bias = drawn(number, models.layers[key].shape[0], size=0.5)
        made.tensors[f"{module_name(key)}.diff_b"] = bias
        made.deltas[key] = (None, bias)
    return made


def lora_with_bias(models: TinyModels) -> Made:
    """Factors beside a difference of the bias, on layers with a bias and without one."""
    made = Made()
    for number, key in enumerate((SD[0], SD[3], CONVOLUTIONS[1])):
        down, up = factors(models, key, number)
        names = kohya(key)
        bias = drawn(50 + number, up.shape[0], size=0.5)
        made.tensors |= {names[0]: down, names[1]: up, names[2]: torch.tensor(3.0)}
        made.tensors[f"{module_name(key)}.diff_b"] = bias
        made.deltas[key] = (product(down, up, 1.0), bias)
    return made


def norms(models: TinyModels) -> Made:
    made = Made()
    for number, key in enumerate(NORMS):
        count = models.layers[key].shape[0]
        weight, bias = drawn(number, count, size=0.5), drawn(90 + number, count, size=0.5)
        made.tensors |= {f"{module_name(key)}.w_norm": weight, f"{module_name(key)}.b_norm": bias}
        made.deltas[key] = (weight, bias)
    return made


def oft_diag(models: TinyModels) -> Made:
    """Rotations themselves, as LyCORIS before 2.0 wrote them."""
    made = Made()
    for number, key in enumerate((SD[0], CONVOLUTIONS[1])):
        weight: Tensor = models.module(key).weight  # type: ignore[assignment]
        blocks = torch.stack([torch.linalg.qr(drawn(number * 9 + i, 4, 4))[0] for i in range(weight.shape[0] // 4)])
        turned = torch.einsum("knm,kn...->km...", blocks, weight.reshape(-1, 4, *weight.shape[1:]))
        made.tensors[f"{module_name(key)}.oft_diag"] = blocks
        made.deltas[key] = (turned.reshape(weight.shape) - weight, None)
    return made


def glora_exchanged(models: TinyModels) -> Made:
    """The names of each pair the other way round, as A1111 reads them: a2 the outer factor."""
    made = by_lycoris("glora", MIXED)(models)
    names = {name: name for name in made.tensors}
    for name in names:
        for one, other in ((".a1.", ".a2."), (".b1.", ".b2.")):
            if one in name:
                swapped = name.replace(one, other)
                made.tensors[name], made.tensors[swapped] = made.tensors[swapped], made.tensors[name]
    return made


def mixture(models: TinyModels) -> Made:
    """Every algebra in one file, on layers of its own; some layers of the same kind twice."""
    made = Made()
    parts = (
        by_lycoris("locon", (SD[0],)),
        by_lycoris("loha", (SD[1],)),
        by_lycoris("lokr", (SD[2],)),
        by_lycoris("glora", (SD[4],)),
        by_lycoris("oft", (CONVOLUTIONS[1],)),
        by_lycoris("ia3", (SD[5],)),
        by_lycoris("locon", (SD_TEXT[0],), weight_decompose=True),
        norms,
        bias_alone,
    )
    for part in parts:
        one = part(models)
        made.tensors |= one.tensors
        for key, (delta, bias) in one.deltas.items():
            there = made.deltas.get(key, (None, None))
            made.deltas[key] = (there[0] if delta is None else delta, there[1] if bias is None else bias)
    made.says = ("LoHa", "LoKr", "GLoRA", "OFT", "IA3", "norm", "DoRA")
    return made


def tucker_by_hand(models: TinyModels) -> Made:
    """`lora_mid` between factors of different ranks on both its sides is not written; equal ranks are."""
    made = Made()
    for number, key in enumerate((CONVOLUTIONS[1], CONVOLUTIONS[0])):
        out, inputs, *kernel = models.layers[key].shape
        rank = 2 + number
        down, up, mid = drawn(number, rank, inputs, 1, 1), drawn(7, out, rank, 1, 1), drawn(8, rank, rank, *kernel)
        name = module_name(key)
        made.tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.lora_mid.weight": mid}
        made.tensors[f"{name}.alpha"] = torch.tensor(4.0)
        delta = torch.zeros(out, inputs, *kernel)
        for m in range(rank):
            for n in range(rank):
                delta += torch.outer(up[:, m, 0, 0], down[n, :, 0, 0])[:, :, None, None] * mid[m, n]
        made.deltas[key] = (delta * 4.0 / rank, None)
    return made


def kinds() -> list[Kind]:
    """The rows."""

    def lycoris(name: str, says: str, algo: str, keys: tuple[str, ...], **options: Any) -> Kind:
        make = by_lycoris(algo, keys, **options)
        return Kind(name, "arithmetic", says, lambda models, folder: make(models), writer="lycoris-lora")

    def plain(name: str, says: str, make: Callable[[TinyModels], Made]) -> Kind:
        return Kind(name, "arithmetic", says, lambda models, folder: make(models))

    rows, columns = {"weight_decompose": True}, {"weight_decompose": True, "wd_on_out": False}
    convolutions = CONVOLUTIONS[1:3]
    return [
        plain("LoCon, Tucker", "`lora_mid` between 1 x 1 factors", tucker_by_hand),
        lycoris("LoCon, Tucker by LyCORIS", "the same by another writer", "locon", convolutions, use_tucker=True),
        lycoris("LoCon, scalar", "`use_scalar`, folded in when saved", "locon", MIXED, use_scalar=True),
        lycoris("LoCon, rsLoRA", "alpha/√rank, written as an alpha", "locon", MIXED, rs_lora=True),
        lycoris("DoRA, rows", "`dora_scale` (out, 1), of convolutions (out, 1, 1, 1)", "locon", MIXED, **rows),
        lycoris("DoRA, columns", "`dora_scale` (1, in), of convolutions (1, in, 1, 1)", "locon", MIXED, **columns),
        lycoris("LoHa", "products of two pairs, entry by entry", "loha", (*MIXED, WIDE), lora_dim=2),
        lycoris("LoHa, dense", "ranks whose square is dearer than the difference", "loha", MIXED, lora_dim=9),
        lycoris("LoHa, Tucker", "`hada_t1`, `hada_t2`", "loha", convolutions, use_tucker=True),
        lycoris("LoHa with DoRA", "magnitudes over a LoHa", "loha", MIXED, **rows),
        lycoris("LoHa, scalar", "`use_scalar`", "loha", ATTENTION, use_scalar=True),
        lycoris("LoKr, whole", "`lokr_w1`, `lokr_w2` as they are", "lokr", MIXED, full_matrix=True),
        lycoris("LoKr, alpha 1e10", "any alpha beside two whole matrices", "lokr", MIXED, full_matrix=True, alpha=1e10),
        lycoris("LoKr, one factored", "`lokr_w2_a`, `lokr_w2_b`", "lokr", MIXED, lora_dim=1, factor=2),
        lycoris(
            "LoKr, both factored",
            "`lokr_w1_a` … `lokr_w2_b`",
            "lokr",
            MIXED,
            lora_dim=1,
            factor=4,
            decompose_both=True,
        ),
        lycoris("LoKr, Tucker", "`lokr_t2`", "lokr", convolutions, use_tucker=True, lora_dim=1, factor=2),
        lycoris("LoKr with DoRA", "magnitudes over a LoKr", "lokr", MIXED, **rows),
        plain("full difference", "`diff`, `diff_b`", full),
        plain("bias alone", "`diff_b`", bias_alone),
        plain("LoRA with a bias", "factors and `diff_b`", lora_with_bias),
        plain("norms", "`w_norm`, `b_norm` of group and layer norms", norms),
        lycoris("IA3, outputs", "`weight` with `on_input` 0", "ia3", MIXED),
        lycoris("IA3, inputs", "`weight` with `on_input` 1", "ia3", MIXED, train_on_input=True),
        lycoris("GLoRA", "`a1` `a2` `b1` `b2`: W·A + B", "glora", MIXED),
        plain("GLoRA, exchanged", "each pair's names the other way round", glora_exchanged),
        lycoris("OFT", "`oft_blocks`, rotations of the outputs", "oft", MIXED, lora_dim=4),
        lycoris("OFT, constrained", "alpha bounds the rotation", "oft", MIXED, lora_dim=4, constraint=0.01),
        lycoris("OFT, rescaled", "`rescale` of each output", "oft", MIXED, lora_dim=4, rescaled=True),
        plain("OFT, rotations themselves", "`oft_diag`", oft_diag),
        lycoris("BOFT", "four-dimensional `oft_blocks`, butterflies", "boft", (SD[0], CONVOLUTIONS[1]), lora_dim=4),
        lycoris("BOFT, rescaled", "with `rescale`", "boft", (SD[0], CONVOLUTIONS[1]), lora_dim=4, rescaled=True),
        plain("every kind in one file", "each on layers of its own", mixture),
    ]
