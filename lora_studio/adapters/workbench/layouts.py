"""One adapter in the layouts that other programs read: kohya's, diffusers' and peft's.

    kohya       one file: lora_unet_..., lora_te_... (SDXL: lora_te1_, lora_te2_, and the original names of the UNet's
                blocks, which sd-scripts demands); A1111, Forge, ComfyUI, SwarmUI, InvokeAI and diffusers read it. What
                factors cannot hold is written as LyCORIS writes it (.diff, .diff_b, .w_norm, .dora_scale): A1111 and
                ComfyUI read that, diffusers does not
                FLUX and Wan: their makers' names, fused matrices put together again
    diffusers   one file: unet.<path>.lora_A.weight and text_encoder...; `load_lora_weights` reads it
    peft        for each part of the model a file and its `adapter_config.json`, as `save_pretrained` leaves them, with
                the module names that this base has; `PeftModel.from_pretrained(unet, folder)` reads it

diffusers' and peft's readers take differences of biases (`lora_B.bias`), and magnitudes of rows
(`lora_magnitude_vector`) where all layers of a component have them: of one that has none they would take the base's,
which is another change. Alpha is always written as the rank, so that no reader can take it differently. It does not
know bases or jobs.

Sources: kohya-ss/sd-scripts networks/lora.py; KohakuBlueleaf/LyCORIS lycoris/modules/full.py and norms.py; huggingface/
diffusers loaders/lora_base.py; huggingface/peft utils/save_and_load.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lora_studio.adapters.canonical import Decomposed, Dense, Kronecker, LayerChange, LowRank
from lora_studio.adapters.formats import families, originals
from lora_studio.adapters.formats.dialects import TEXT, TEXT_2, TRANSFORMER, UNET, kohya_name, sdxl_name
from lora_studio.adapters.formats.ldm import LdmNames
from lora_studio.adapters.workbench.plain import kind_code, kind_of
from lora_studio.errors import InvalidInput
from lora_studio.headers.adapter import TITLES

LAYOUTS = ("kohya", "diffusers", "peft")
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
_SDXL_SHAPE = (
    "down_blocks.0.resnets.1.conv1",
    "up_blocks.0.resnets.2.conv1",
    "up_blocks.0.attentions.0.proj_in",
    "up_blocks.1.attentions.0.proj_in",
)
"""Enough of SDXL's module paths to number its blocks (two residual blocks a level, attention in the two deepest)."""


@dataclass(frozen=True, eq=False)
class FilePart:
    """One file to be written.

    Attributes:
        name: where it goes in a folder; "" of a layout that is one file.
        tensors: on the CPU, contiguous.
        config: text of the `adapter_config.json` beside it, "" for none.
    """

    name: str
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    config: str = ""


def write(
    layers: Mapping[str, LayerChange], layout: str, dtype: torch.dtype, sdxl: bool, family: str = ""
) -> tuple[FilePart, ...]:
    """The files of an adapter in a layout.

    Args:
        layers: layer key to change.
        layout: one of `LAYOUTS`.
        dtype: of factors and differences; alpha is always float32.
        sdxl: the base has two text encoders, so that kohya's names are SDXL's.
        family: that the adapter was made for, "" where it is not known.

    Raises:
        InvalidInput: the layout cannot hold a layer's change, or has no name for it.
    """
    layers = named_for(layers, layout, family)
    sdxl = sdxl or originals.known(family)
    _finite(layers, dtype)
    if layout == "kohya":
        return (FilePart("", _kohya(layers, dtype, sdxl)),)
    if layout == "diffusers":
        tensors: dict[str, Tensor] = {}
        for part in sorted({layer.partition(".")[0] for layer in layers}):
            own = {layer: change for layer, change in layers.items() if layer.startswith(f"{part}.")}
            tensors |= _factors(own, layout, dtype, _diffusers_name)
        return (FilePart("", tensors),)
    parts = sorted({layer.partition(".")[0] for layer in layers})
    found = []
    for part in parts:
        own = {layer: change for layer, change in layers.items() if layer.startswith(f"{part}.")}
        tensors = _factors(own, layout, dtype, lambda layer: "base_model.model." + layer.partition(".")[2])
        folder = "" if len(parts) == 1 else f"{part}/"
        found.append(FilePart(f"{folder}adapter_model.safetensors", tensors, peft_config(own)))
    return tuple(found)


def peft_config(layers: Mapping[str, LayerChange]) -> str:
    """`adapter_config.json` of one part of a model: the ranks of its layers, alpha equal to the rank."""
    factors = [(layer.partition(".")[2], getattr(change, "rank", 0)) for layer, change in layers.items()]
    ranks = {path: max(rank, 1) for path, rank in factors}
    common = max(set(ranks.values()), key=lambda rank: (list(ranks.values()).count(rank), rank))
    others = {path for path, rank in ranks.items() if rank != common}
    # peft takes a pattern for the end of a name too, the first that fits: FLUX has a `proj_out` and others that end so.
    listed = [path for path in ranks if path in others or any(ending in others for ending in _endings(path))]
    patterns = {path: ranks[path] for path in sorted(listed, key=lambda path: (-len(path), path))}
    config = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": common,
        "lora_alpha": common,
        "lora_dropout": 0.0,
        "bias": "none",
        "use_dora": any(isinstance(change, Decomposed) for change in layers.values()),
        "lora_bias": any(change.delta_bias is not None for change in layers.values()),
        "use_rslora": False,
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "target_modules": sorted(ranks),
        "rank_pattern": patterns,
        "alpha_pattern": patterns,
    }
    return json.dumps(config, indent=2) + "\n"


def _endings(path: str) -> Iterator[str]:
    """What of a module's path stands behind each of its full stops."""
    return (path[place + 1 :] for place, sign in enumerate(path) if sign == ".")


def _kohya(layers: Mapping[str, LayerChange], dtype: torch.dtype, sdxl: bool) -> dict[str, Tensor]:
    names = _kohya_names(layers, sdxl)
    tensors: dict[str, Tensor] = {}
    for layer, change in sorted(layers.items()):
        name = names[layer]
        if isinstance(change, Decomposed) and isinstance(change.direction, LowRank):
            tensors |= _pair(change.direction, f"{name}.lora_down.weight", f"{name}.lora_up.weight", dtype)
            tensors[f"{name}.alpha"] = torch.tensor(float(change.direction.rank))
            tensors[f"{name}.dora_scale"] = _stored(_magnitude(change), torch.float32)
        elif isinstance(change, LowRank) and change.rank:
            tensors |= _pair(change, f"{name}.lora_down.weight", f"{name}.lora_up.weight", dtype)
            tensors[f"{name}.alpha"] = torch.tensor(float(change.rank))
        elif isinstance(change, Dense):
            norm = len(change.shape) == 1
            tensors[f"{name}.w_norm" if norm else f"{name}.diff"] = _stored(change.delta_weight, dtype)
        elif not isinstance(change, LowRank):
            raise _cannot("kohya", layer, change)
        if change.delta_bias is not None:
            norm = isinstance(change, Dense) and len(change.shape) == 1
            tensors[f"{name}.b_norm" if norm else f"{name}.diff_b"] = _stored(change.delta_bias, dtype)
    return tensors


def _magnitude(change: Decomposed) -> Tensor:
    """m in LyCORIS' shape: (out, 1, ...) of rows, (1, in, 1, ...) of columns."""
    spare = len(change.direction.shape) - 2
    m = change.magnitude.detach()
    return m.reshape(-1, 1, *[1] * spare) if change.axis == "out" else m.reshape(1, -1, *[1] * spare)


def _kohya_names(layers: Iterable[str], sdxl: bool) -> dict[str, str]:
    """kohya's module name of each layer; SDXL's UNet by its original names."""
    ldm = LdmNames(_SDXL_SHAPE)
    names = {}
    for layer in layers:
        # `text_model_`: as a file spelled it whose base is not known
        known = layer.replace(".text_model_", ".text_model.", 1)
        names[layer] = sdxl_name(known, ldm) if sdxl else kohya_name(known)
    return names


def _diffusers_name(layer: str) -> str:
    """The module of a layer as files call it: CLIP's `text_model.` is said whether the base still says it or not."""
    component, _, path = layer.partition(".")
    if component in (TEXT, TEXT_2) and not path.startswith(("text_model.", "text_projection")):
        path = f"text_model.{path}"
    return f"{component}.{path}"


def _factors(
    layers: Mapping[str, LayerChange], layout: str, dtype: torch.dtype, named: Callable[[str], str]
) -> dict[str, Tensor]:
    """lora_A and lora_B of every layer of one component, with what peft reads beside them.

    Raises:
        InvalidInput: a change is no pair of factors, or of another kind than its neighbours'.
    """
    tensors: dict[str, Tensor] = {}
    dora = any(isinstance(change, Decomposed) for change in layers.values())
    biased = any(change.delta_bias is not None for change in layers.values())
    for layer, change in sorted(layers.items()):
        factors = change.direction if isinstance(change, Decomposed) else change
        if not isinstance(factors, LowRank):
            raise _cannot(layout, layer, change)
        if isinstance(change, Decomposed) != dora:
            raise _cannot(layout, layer, change, f"{kind_of(change)} beside DoRA of other layers")
        if isinstance(change, Decomposed):
            if change.axis == "in" or biased:
                raise _cannot(layout, layer, change, "DoRA beside a bias" if biased else "DoRA of columns")
            m = change.magnitude.detach()
            lying = m.reshape(1, -1, 1, 1) if factors.down.ndim == 4 else m
            # transformers' reader adds no `.weight`, peft's takes both.
            ending = ".weight" if layout == "diffusers" and layer.startswith((f"{TEXT}.", f"{TEXT_2}.")) else ""
            tensors[f"{named(layer)}.lora_magnitude_vector{ending}"] = _stored(lying, torch.float32)
        if factors.rank == 0:  # a difference of the bias alone, which peft's reader takes beside factors only
            rows = factors.up.new_zeros(factors.up.shape[0], 1, *factors.up.shape[2:])
            factors = LowRank(factors.down.new_zeros(1, *factors.down.shape[1:]), rows)
        tensors |= _pair(factors, f"{named(layer)}.lora_A.weight", f"{named(layer)}.lora_B.weight", dtype)
        if biased:
            bias = factors.up.new_zeros(factors.up.shape[0]) if change.delta_bias is None else change.delta_bias
            tensors[f"{named(layer)}.lora_B.bias"] = _stored(bias, dtype)
    return tensors


def check_named(layers: Iterable[str], layout: str, family: str) -> None:
    """Raise `InvalidInput` where a layout has no name for a layer: it can be asked before any change is reckoned."""
    if layout == "kohya":
        new = next((layer for layer in layers if layer.startswith(f"{TRANSFORMER}.")), None)
        if new is not None and not originals.known(family):
            raise _nameless(new, layout, family, "diffusers, peft")
        return
    # A newer family has no UNet: what stands there is a layer whose name diffusers does not know.
    lost = next((layer for layer in layers if layer.startswith(f"{UNET}.")), None)
    usable = not family or family in families.USABLE or family.startswith("lora-studio")
    if lost is not None and not usable:
        raise _nameless(lost, layout, family, "kohya")


def named_for(layers: Mapping[str, LayerChange], layout: str, family: str) -> Mapping[str, LayerChange]:
    """The layers under names that the layout has: kohya's for transformers are their makers'.

    Raises:
        InvalidInput: the layout has no name for a layer that is known here, or cannot hold its change.
    """
    check_named(layers, layout, family)
    if layout != "kohya" or not any(layer.startswith(f"{TRANSFORMER}.") for layer in layers):
        return layers
    try:
        return originals.under_original_names(family, layers)
    except originals.NotWritableError as error:
        if not isinstance(error.change, LowRank | Dense):
            raise _cannot(layout, error.layer, error.change) from None
        raise _nameless(error.layer, layout, family, "diffusers, peft") from None


def _nameless(layer: str, layout: str, family: str, allowed: str) -> InvalidInput:
    made_for = TITLES.get(family, family) or "a family that is not known"
    return InvalidInput(
        f"The layer {layer[:80]} of {made_for} has no name that is known here in the layout of {layout}; convert to "
        f"one of {allowed}.",
        code="workbench_no_name",
        layer=layer[:80],
        family=made_for,
        layout=layout,
        allowed=allowed,
    )


def _pair(change: LowRank, down: str, up: str, dtype: torch.dtype) -> dict[str, Tensor]:
    return {down: _stored(change.down, dtype), up: _stored(change.up, dtype)}


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to("cpu", dtype).contiguous().clone()


def _cannot(layout: str, layer: str, change: LayerChange, what: str = "") -> InvalidInput:
    what = what or kind_of(change)
    if layout == "kohya":
        return InvalidInput(
            f"The layer {layer} holds {what}, which kohya's layout cannot hold; resize it to a rank first.",
            code="workbench_layout_kohya",
            layer=layer,
            what=what,
            kind=kind_code(change),
        )
    return InvalidInput(
        f"The layer {layer} holds {what}, which {layout}'s layout cannot hold; convert to kohya, or resize it to a "
        "rank first.",
        code="workbench_layout",
        layer=layer,
        what=what,
        kind=kind_code(change),
        layout=layout,
    )


def _finite(layers: Mapping[str, LayerChange], dtype: torch.dtype) -> None:
    """Refuse what would become infinite in the file. Raises `InvalidInput`."""
    most = torch.finfo(dtype).max
    for layer, change in layers.items():
        if max(_extents(change), default=0.0) > most:
            raise InvalidInput(
                f"The layer {layer} holds values beyond {most:g}, the most of this number format; choose float32.",
                code="workbench_overflow",
                layer=layer,
                allowed=f"{most:g}",
            )


def _extents(change: LayerChange) -> Iterator[float]:
    """The largest size of a number in each tensor that is written of a change."""
    if isinstance(change, Decomposed):
        yield from _extents(change.direction)
    if isinstance(change, Kronecker):
        yield _largest(change.first) * _largest(change.second)
    elif isinstance(change, LowRank | Dense):
        yield from map(_largest, (change.down, change.up) if isinstance(change, LowRank) else (change.delta_weight,))
    if change.delta_bias is not None:
        yield _largest(change.delta_bias)


def _largest(tensor: Tensor) -> float:
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0
