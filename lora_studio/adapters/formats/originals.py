"""Layers of newer transformers under their makers' names and under diffusers', both ways.

Trainers such as kohya's write the makers' names, in which one matrix may be several of diffusers': queries, keys and
values (and in FLUX's single blocks the inputs of the feed-forward layer) one below the other. Cut into rows, a LoRA of
such a matrix is a LoRA of each, with its A; put together again, different A's stand one below the other and the B's on
a diagonal. Both are exact. One table serves both ways.

    lora_unet_double_blocks_0_img_attn_qkv      transformer.transformer_blocks.0.attn.to_q, to_k, to_v
    diffusion_model.single_blocks.0.linear1     transformer.single_transformer_blocks.0.attn.to_q, to_k, to_v, proj_mlp
    lora_unet_blocks_0_self_attn_q              transformer.blocks.0.attn1.to_q

Sources: kohya-ss/sd-scripts networks/convert_flux_lora.py; huggingface/diffusers scripts/convert_flux_to_diffusers.py,
scripts/convert_wan_to_diffusers.py, and loaders/lora_conversion_utils.py, which reads fewer kinds and drops the alphas
of FLUX's last layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lora_studio.adapters.canonical import Decomposed, Dense, LayerChange, LowRank
from lora_studio.adapters.formats.dialects import TRANSFORMER, UNET, component_of
from lora_studio.adapters.formats.parsed import ModuleParts

_QKV = ("to_q", "to_k", "to_v")
_FLUX = {
    "double_blocks.#.img_attn.qkv": [f"transformer_blocks.#.attn.{name}" for name in _QKV],
    "double_blocks.#.txt_attn.qkv": [f"transformer_blocks.#.attn.add_{name[3:]}_proj" for name in _QKV],
    "double_blocks.#.img_attn.proj": ["transformer_blocks.#.attn.to_out.0"],
    "double_blocks.#.txt_attn.proj": ["transformer_blocks.#.attn.to_add_out"],
    "double_blocks.#.img_mlp.0": ["transformer_blocks.#.ff.net.0.proj"],
    "double_blocks.#.img_mlp.2": ["transformer_blocks.#.ff.net.2"],
    "double_blocks.#.txt_mlp.0": ["transformer_blocks.#.ff_context.net.0.proj"],
    "double_blocks.#.txt_mlp.2": ["transformer_blocks.#.ff_context.net.2"],
    "double_blocks.#.img_mod.lin": ["transformer_blocks.#.norm1.linear"],
    "double_blocks.#.txt_mod.lin": ["transformer_blocks.#.norm1_context.linear"],
    "single_blocks.#.linear1": [
        *(f"single_transformer_blocks.#.attn.{name}" for name in _QKV),
        "single_transformer_blocks.#.proj_mlp",
    ],
    "single_blocks.#.linear2": ["single_transformer_blocks.#.proj_out"],
    "single_blocks.#.modulation.lin": ["single_transformer_blocks.#.norm.linear"],
    "img_in": ["x_embedder"],
    "txt_in": ["context_embedder"],
    **{
        f"{theirs}.{side}_layer": [f"time_text_embed.{ours}.linear_{number}"]
        for theirs, ours in (
            ("time_in", "timestep_embedder"),
            ("vector_in", "text_embedder"),
            ("guidance_in", "guidance_embedder"),
        )
        for side, number in (("in", 1), ("out", 2))
    },
    "final_layer.linear": ["proj_out"],
    "final_layer.adaLN_modulation.1": ["norm_out.linear"],
}
_DISTILLED = "distilled_guidance_layer"
_CHROMA = {
    **_FLUX,
    f"{_DISTILLED}.in_proj": [f"{_DISTILLED}.in_proj"],
    f"{_DISTILLED}.out_proj": [f"{_DISTILLED}.out_proj"],
    f"{_DISTILLED}.layers.#.in_layer": [f"{_DISTILLED}.layers.#.linear_1"],
    f"{_DISTILLED}.layers.#.out_layer": [f"{_DISTILLED}.layers.#.linear_2"],
}
_WAN = {
    **{
        f"blocks.#.{theirs}.{one}": [f"blocks.#.{ours}.{other}"]
        for theirs, ours in (("self_attn", "attn1"), ("cross_attn", "attn2"))
        for one, other in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("o", "to_out.0"))
    },
    "blocks.#.cross_attn.k_img": ["blocks.#.attn2.add_k_proj"],
    "blocks.#.cross_attn.v_img": ["blocks.#.attn2.add_v_proj"],
    "blocks.#.ffn.0": ["blocks.#.ffn.net.0.proj"],
    "blocks.#.ffn.2": ["blocks.#.ffn.net.2"],
}
_TABLES: Mapping[str, Mapping[str, Sequence[str]]] = {"flux": _FLUX, "chroma": _CHROMA, "wan": _WAN}
_SWAPPED = "norm_out.linear"
"""diffusers keeps scale before shift where the makers keep shift before scale."""
_ROWS = ("lora_up", "bias_up", "dora_scale", "diff", "diff_b", "hada_w1_a", "hada_w2_a")
"""Parts that have a row for each output."""
_WHOLE = ("lora_down", "alpha", "scalar", "hada_w1_b", "hada_w2_b")
"""Parts that all rows share."""


@dataclass(frozen=True)
class Original:
    """One layer of a maker's model: its name, and diffusers' layers, from the first row to the last."""

    name: str
    ours: tuple[str, ...]

    def sizes(self, out: int, inputs: int) -> list[int]:
        """Rows of each of diffusers' layers, of `out` rows in all; `inputs` is the width of what the layer reads."""
        if self.ours[-1].endswith("proj_mlp"):
            return [inputs] * 3 + [out - 3 * inputs]
        return [out // len(self.ours)] * len(self.ours)


class NotWritableError(ValueError):
    """Layers that a maker's names cannot hold: `layer` and what it holds instead."""

    def __init__(self, layer: str, change: LayerChange) -> None:
        super().__init__(layer)
        self.layer = layer
        self.change = change


def known(family: str) -> bool:
    """True where a family's layers have both names here."""
    return family in _TABLES


def covers(family: str, modules: Iterable[str]) -> bool:
    """True where every module of a file's transformer has both names here."""
    if not known(family):
        return False
    named = [component_of(module) for module in modules]
    plain = [path.replace(".", "_") for component, path in named if component in ("", UNET, TRANSFORMER)]
    return all(_ours(family, path) or _original(family, path) for path in plain)


# ---------------------------------------------------------------- reading
def under_diffusers_names(family: str, modules: Mapping[str, ModuleParts]) -> dict[str, ModuleParts]:
    """The modules of a file with those of a known transformer under diffusers' names, cut where one is several.

    What the table has not, and what cannot be cut exactly (LoKr, rotations, Tucker cores, magnitudes of columns), stays
    as the file has it.
    """
    found: dict[str, ModuleParts] = {}
    for name, module in modules.items():
        component, path = component_of(name)
        if component not in ("", UNET, TRANSFORMER):
            found[name] = module
            continue
        plain = path.replace(".", "_")
        own = _ours(family, plain)
        original = None if own else _original(family, plain)
        if own is not None:
            found.setdefault(f"{TRANSFORMER}.{own}", _named(module, own, module.tensors))
        elif original is None:
            found[name] = module
        else:
            for key, one in (_cut(module, original) or {name: module}).items():
                found.setdefault(key, one)
    return found


def _cut(module: ModuleParts, original: Original) -> dict[str, ModuleParts]:
    """A module's rows, each part under diffusers' name; empty where that is not exact."""
    whole = module.tensors
    if len(original.ours) == 1 and original.ours[0] != _SWAPPED:
        return {f"{TRANSFORMER}.{original.ours[0]}": _named(module, original.ours[0], whole)}
    shapes = {part: tuple(tensor.shape) for part, tensor in whole.items() if tensor.dim()}
    rows = next((shapes[part][0] for part in ("lora_up", "hada_w1_a", "diff", "diff_b") if part in shapes), 0)
    inputs = next((shapes[part][-1] for part in ("lora_down", "hada_w1_b", "diff") if part in shapes), 0)
    own = [tensor for part, tensor in whole.items() if part in _ROWS]
    if set(whole) - {*_ROWS, *_WHOLE} or any(not one.dim() or one.shape[0] != rows for one in own):
        return {}
    if original.ours[0] == _SWAPPED:
        swapped = {part: _swap(tensor) if part in _ROWS else tensor for part, tensor in whole.items()}
        return {f"{TRANSFORMER}.{_SWAPPED}": _named(module, _SWAPPED, swapped)} if rows % 2 == 0 else {}
    sizes = original.sizes(rows, inputs)
    if min(sizes) <= 0 or sum(sizes) != rows:
        return {}
    pieces = {part: torch.split(tensor, sizes) for part, tensor in whole.items() if part in _ROWS}
    cut = [
        {part: pieces[part][number].contiguous() if part in pieces else tensor for part, tensor in whole.items()}
        for number in range(len(sizes))
    ]
    if len(shapes.get("lora_up", ())) > 1 and "lora_down" in shapes and "dora_scale" not in whole:
        cut = _without_zeros(cut)
    return {
        f"{TRANSFORMER}.{path}": _named(module, path, tensors)
        for path, tensors in zip(original.ours, cut, strict=True)
        if tensors
    }


def _without_zeros(cut: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """Each piece without the directions that none of its outputs takes: those of a B that stood on a diagonal.

    A piece that has none at all is left out, unless that is true of all.
    """
    used = [piece["lora_up"].flatten(1).any(0) for piece in cut]
    rank = cut[0]["lora_down"].shape[0]
    if any(one.shape[0] != rank for one in used) or not any(bool(one.any()) for one in used):
        return cut
    for piece, directions in zip(cut, used, strict=True):
        count = int(directions.sum())
        if not count and not {"bias_up", "diff_b"} & set(piece):
            piece.clear()
        elif 0 < count < rank:
            alpha = piece["alpha"].double() if "alpha" in piece else torch.tensor(float(rank)).double()
            piece["alpha"] = alpha * count / rank  # alpha/rank stays what it was
            piece["lora_up"] = piece["lora_up"][:, directions].contiguous()
            piece["lora_down"] = piece["lora_down"][directions].contiguous()
    return cut


def _named(module: ModuleParts, path: str, tensors: Mapping[str, Tensor]) -> ModuleParts:
    return ModuleParts(f"{TRANSFORMER}.{path}", TRANSFORMER, path, module.kind, tensors)


def _swap(tensor: Tensor) -> Tensor:
    """Its two halves of rows exchanged."""
    return torch.cat(tuple(reversed(tensor.chunk(2))))


# ---------------------------------------------------------------- writing
def under_original_names(family: str, layers: Mapping[str, LayerChange]) -> dict[str, LayerChange]:
    """Changes of diffusers' layers as changes of a maker's, under `unet.<maker's name>`; other components as they are.

    Raises:
        NotWritableError: a layer has no maker's name, or its change cannot be joined with its neighbours'.
    """
    found = {key: change for key, change in layers.items() if not key.startswith(f"{TRANSFORMER}.")}
    together: dict[str, tuple[Original, dict[str, LayerChange]]] = {}
    for key, change in layers.items():
        if key in found:
            continue
        path = key.partition(".")[2]
        original = next((one for one in _all(family, path.replace(".", "_")) if path in one.ours), None)
        if original is None:
            raise NotWritableError(key, change)
        together.setdefault(original.name, (original, {}))[1][path] = change
    for name, (original, parts) in together.items():
        if len(original.ours) == 1:
            (change,) = parts.values()
            found[f"{UNET}.{name}"] = _swapped(original.ours[0], change) if original.ours[0] == _SWAPPED else change
        else:
            found[f"{UNET}.{name}"] = _joined(original, parts)
    return found


def _swapped(path: str, change: LayerChange) -> LayerChange:
    bias = None if change.delta_bias is None else _swap(change.delta_bias)
    if isinstance(change, LowRank):
        return LowRank(change.down, _swap(change.up), bias)
    if isinstance(change, Dense):
        return Dense(_swap(change.delta_weight), bias)
    raise NotWritableError(f"{TRANSFORMER}.{path}", change)


def _joined(original: Original, parts: Mapping[str, LayerChange]) -> LayerChange:
    """One change of a maker's layer; what is missing of it stays unchanged (zeros)."""
    parts = {path: parts[path] for path in original.ours if path in parts}
    present = list(parts.values())
    first = next(iter(parts))
    directions = [change.direction if isinstance(change, Decomposed) else change for change in present]
    decomposed = [change for change in present if isinstance(change, Decomposed) and change.axis == "out"]
    unlike = bool(decomposed) and (len(decomposed) != len(present) or len(present) != len(original.ours))
    if unlike or not all(isinstance(one, LowRank | Dense) for one in directions):
        path, change = next((p, c) for p, c in parts.items() if not isinstance(c, LowRank | Dense))
        raise NotWritableError(f"{TRANSFORMER}.{path}", change)
    plain = [one for one in directions if isinstance(one, LowRank | Dense)]
    by_path = dict(zip(parts, plain, strict=True))
    sizes = _sizes(original, by_path)
    biases = [None if path not in parts else parts[path].delta_bias for path in original.ours]
    bias = None
    if any(one is not None for one in biases):
        bias = torch.cat([torch.zeros(n) if one is None else one for n, one in zip(sizes, biases, strict=True)])
    low = {path: one for path, one in by_path.items() if isinstance(one, LowRank)}
    direction: LowRank | Dense
    if len(low) == len(plain):
        direction = _diagonal(original, low, sizes)
    else:
        width = by_path[first].delta().shape[1]
        rows = [
            by_path[path].delta() if path in by_path else torch.zeros(size, width)
            for path, size in zip(original.ours, sizes, strict=True)
        ]
        direction = Dense(torch.cat(rows))
    if decomposed:
        return Decomposed(direction, torch.cat([one.magnitude for one in decomposed]), "out", bias)
    if isinstance(direction, LowRank):
        return LowRank(direction.down, direction.up, bias)
    return Dense(direction.delta_weight, bias)


def _sizes(original: Original, parts: Mapping[str, LowRank | Dense]) -> list[int]:
    """Rows of each layer: of those that are there their own, of others what FLUX has."""
    shapes = {
        path: (one.up.shape[0], one.down.shape[1]) if isinstance(one, LowRank) else tuple(one.delta().shape)
        for path, one in parts.items()
    }
    inputs = next(iter(shapes.values()))[1]
    usual = [4 * inputs if path.endswith("proj_mlp") else inputs for path in original.ours]
    return [int(shapes[path][0]) if path in shapes else size for path, size in zip(original.ours, usual, strict=True)]


def _diagonal(original: Original, parts: Mapping[str, LowRank], sizes: Sequence[int]) -> LowRank:
    """Factors of all: one A where they share it, else their A's one below the other and their B's on a diagonal."""
    downs = [change.down for change in parts.values()]
    shared = all(down.shape == downs[0].shape and torch.equal(down, downs[0]) for down in downs)
    rank = downs[0].shape[0] if shared else sum(down.shape[0] for down in downs)
    rows, start = [], 0
    for path, size in zip(original.ours, sizes, strict=True):
        row = torch.zeros(size, rank, dtype=downs[0].dtype)
        if path in parts:
            own = parts[path].up
            at = 0 if shared else start
            row[:, at : at + own.shape[1]] = own
            start += own.shape[1]
        rows.append(row)
    down = downs[0] if shared else torch.cat([parts[path].down for path in original.ours if path in parts])
    return LowRank(down, torch.cat(rows))


# ---------------------------------------------------------------- names
def _ours(family: str, plain: str) -> str | None:
    """diffusers' path of a name with underscores for dots that is diffusers' already."""
    for original in _all(family, plain):
        for path in original.ours:
            if path.replace(".", "_") == plain:
                return path
    return None


def _original(family: str, plain: str) -> Original | None:
    """The maker's layer of a name with underscores for dots."""
    return next((one for one in _all(family, plain) if one.name.replace(".", "_") == plain), None)


def _all(family: str, plain: str) -> Iterator[Original]:
    """The rows of a family's table, with the number of the block that a name has."""
    number = re.search(r"(?:\A|_)(?:blocks|layers)_(\d{1,4})_", plain)
    for name, ours in _TABLES.get(family, {}).items():
        if ("#" in name) == (number is not None):
            block = number[1] if number else ""
            yield Original(name.replace("#", block), tuple(path.replace("#", block) for path in ours))
