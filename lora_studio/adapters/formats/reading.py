"""From a file to its modules, and from modules to a canonical adapter: the order of the steps.

It knows neither the names nor the arithmetic of any format; those stand in `parts`, `dialects` and `algebra`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from lora_studio.adapters.canonical import CanonicalAdapter, LayerChange, LayerShape
from lora_studio.adapters.formats import algebra, families, newer, originals, peft_config
from lora_studio.adapters.formats.dialects import TEXT, TEXT_2, LayerIndex, component_of
from lora_studio.adapters.formats.parsed import Ignored, ModuleParts, ParsedFile
from lora_studio.adapters.formats.source import Source, damaged, no_layout, opening
from lora_studio.adapters.turns import finished
from lora_studio.headers.bundled import NAMES
from lora_studio.headers.parts import split_names
from lora_studio.headers.transformers import may_be

_KOHYA = ("lora_unet_", "lora_te", "lora_transformer_", "lycoris_", "lora_prior_", "oft_unet_", "oft_te_")
_NAMED_TEXT = ("lora_te", "text_encoder", "base_model.model.text_encoder", "oft_te")
"""Beginnings of names that say which text encoder is meant."""


def parse(path: Path, label: str = "", config: str = "") -> ParsedFile:
    """`parsing` in one go: reads the file and waits for the other process where there is one."""
    return finished(parsing(path, label, config))


def parsing(path: Path, label: str = "", config: str = "") -> Generator[None, None, ParsedFile]:
    """What stands in the LoRA file at `path`; yields while another process opens a pickle, and while
    a large file is read.

    Args:
        path: the file (safetensors, or a pickle that another process turns into one). `adapter_config.json` in its
            folder is read with it where the file is peft's.
        label: how sentences name the file; its own name when empty.
        config: text of an `adapter_config.json` that does not stand there.

    Raises:
        AdapterRefused: one sentence that says what is wrong with the file.
    """
    given = label or path.name
    source = yield from opening(path, given)
    return understand(source, given, path, config)


def understand(source: Source, given: str, path: Path | None = None, config: str = "") -> ParsedFile:
    """Layout, family and modules of tensors that were read; see `parsing`. Raises `AdapterRefused`."""
    tensors = dict(source.tensors)
    bundled = {name: tensors.pop(name) for name in list(tensors) if NAMES.match(name)}
    layout = _layout(tensors, source.metadata)
    split, unknown, twice = split_names(tensors)
    newer_family = families.by_modules(split, tensors)
    folded: tuple[float, ...] = ()
    if newer_family:
        given_tensors = tensors
        tensors, newer_family, layout = _newer(tensors, newer_family, layout, source.metadata)
        if tensors is not given_tensors:
            folded = tuple(float(t) for n, t in given_tensors.items() if n.endswith(".alpha") and t.numel() == 1)
        split, unknown, twice = split_names(tensors)
    modules: dict[str, ModuleParts] = {}
    ignored = [Ignored(name, "unknown") for name in unknown] + [Ignored(name, "duplicate") for name in twice]
    for name, parts in split.items():
        kind = algebra.kind_of(parts)
        if not kind:
            ignored += [Ignored(tensor, "unknown") for tensor in parts.values()]
            continue
        component, path_within = component_of(name)
        own = {part: tensors[tensor] for part, tensor in parts.items()}
        if kind == "oft" and "oft_blocks" in own and own["oft_blocks"].dim() == 4:
            kind = "boft"  # the names are the same
        modules[name] = ModuleParts(name, component, path_within, kind, own)
    if not modules:
        raise no_layout(given, min(tensors or bundled))
    configs, beside = _configs(modules, source, given, (path, config))
    modules = {name: _with_config(module, configs) for name, module in modules.items()}
    modules = originals.under_diffusers_names(newer_family, modules)
    said = families.said(source.metadata)
    return ParsedFile(
        layout=layout,
        family=newer_family or families.by_widths(modules) or said,
        said_family=said,
        modules=modules,
        metadata=source.metadata,
        ignored=tuple(ignored),
        embeddings=_embeddings(bundled),
        config=hashlib.sha256(beside.encode()).hexdigest() if beside else "",
        converted=_self_contained(source, beside) if beside else source.converted,
        dtypes=source.dtypes,
        folded=folded,
    )


def canonical(parsed: ParsedFile, layers: Mapping[str, LayerShape] | None = None, key: str = "") -> CanonicalAdapter:
    """The adapter of a file for a base with these `layers`; what the base has not is left out.

    Args:
        layers: of the base. None: of the file's family where it is known (`families.USABLE`), else the file's own names
            and shapes.
        key: identity of the adapter, the file's sha256.

    Raises:
        PartsError: the parts of a module do not come to a change of its layer.
    """
    if layers is None:
        layers = families.known_layers(parsed.family) if parsed.family in families.USABLE else own_layers(parsed)
    changes: dict[str, LayerChange] = {}
    for name, layer in sorted(resolve(parsed, layers).items(), key=lambda pair: pair[1]):
        changes[layer] = algebra.read(parsed.modules[name].tensors, layers[layer].shape)
    return CanonicalAdapter(key=key, layers=changes, metadata=parsed.metadata)


def resolve(parsed: ParsedFile, layers: Mapping[str, LayerShape]) -> dict[str, str]:
    """Module names to the layer keys of a base, for those that it has; of two names for one layer the first."""
    index = LayerIndex(layers)
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name, module in parsed.modules.items():
        layer = index.find(module.component, module.path)
        if layer is None and not module.component:
            layer = next((key for c in sorted(index.components) if (key := index.find(c, module.path))), None)
        elif layer is not None and module.component == TEXT and not module.name.startswith(_NAMED_TEXT):
            layer = _by_width(module, layer, index.find(TEXT_2, module.path), layers)
        if layer is not None and layer not in taken:
            found[name] = layer
            taken.add(layer)
    return found


def _by_width(module: ModuleParts, first: str, second: str | None, layers: Mapping[str, LayerShape]) -> str:
    """Of two text encoders that have a layer of this name the one whose width it has; names alone do not tell."""
    shape = algebra.shape_of(module.tensors)
    if second is None or not shape or layers[first].shape == shape:
        return first
    return second if layers[second].shape == shape else first


def own_layers(parsed: ParsedFile) -> dict[str, LayerShape]:
    """Layers as the file itself names and measures them, for files of families that no base here has."""
    found = {}
    for module in parsed.modules.values():
        shape = algebra.shape_of(module.tensors)
        if shape:
            found[f"{module.component or 'unet'}.{module.path}"] = LayerShape(shape)
    return found


def _layout(names: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Who writes names so."""
    joined = list(names)
    if any(name.startswith("base_model.model.") for name in joined):
        return "peft"
    if metadata.get("ot_branch") or metadata.get("ot_revision") or any(n.startswith("lora_unet.") for n in joined):
        return "OneTrainer"
    if any(name.startswith(_KOHYA) for name in joined):
        return "kohya"
    if any(".processor." in name or "lora_linear_layer" in name for name in joined):
        return "diffusers (old)"
    if any(name.startswith(("diffusion_model.", "model.diffusion_model.")) for name in joined):
        return "ai-toolkit" if "ai-toolkit" in metadata.get("software", "") else "ComfyUI"
    if "ai-toolkit" in metadata.get("software", ""):
        return "ai-toolkit"
    if any(name.startswith(("double_blocks.", "single_blocks.", "img_in", "time_in")) for name in joined):
        return "BFL"
    return "diffusers"


def _newer(
    tensors: dict[str, Tensor], family: str, layout: str, metadata: Mapping[str, str]
) -> tuple[dict[str, Tensor], str, str]:
    """Tensors of a newer family under diffusers' names where its converters reach, its name and its layout."""
    said = families.said(metadata)
    if said and said not in families.USABLE and may_be(family, said):
        family = said
    if any("processor" in name and "double_blocks" in name for name in tensors):
        layout = "XLabs"
    if originals.covers(family, split_names(tensors)[0]):
        return tensors, family, layout
    converted = newer.to_diffusers(family, tensors)
    return (converted or tensors), family, layout


def _configs(
    modules: Mapping[str, ModuleParts], source: Source, given: str, beside: tuple[Path | None, str]
) -> tuple[Mapping[str, peft_config.PeftConfig], str]:
    """What peft's config says where the file itself holds no alphas, and the text of one that is not in the file.

    Args:
        beside: where a config may stand, and the text of one.
    """
    peft_like = any("lora_down" in m.tensors or m.kind in ("loha", "lokr", "oft") for m in modules.values())
    if not peft_like or all("alpha" in module.tensors for module in modules.values()):
        return {}, ""
    path, text = beside
    try:
        configs = peft_config.in_header(source.metadata)
        if configs or not any(name.startswith("base_model.model.") for name in source.tensors):
            return configs, ""
        text = text or ("" if path is None else peft_config.beside(path))
        return peft_config.in_text(text), text
    except peft_config.ConfigError as error:
        raise damaged(given, error.reason) from None


def _self_contained(source: Source, config: str) -> bytes:
    """The file with the config in its header, so that it can be kept without its folder."""
    kept = {name: tensor.contiguous() for name, tensor in source.tensors.items()}
    data: bytes = save(kept, metadata={**source.metadata, "lora_adapter_metadata": peft_config.compact(config)})
    return data


def _with_config(module: ModuleParts, configs: Mapping[str, peft_config.PeftConfig]) -> ModuleParts:
    config = configs.get(module.component) or configs.get("")
    if config is None or "alpha" in module.tensors:
        return module
    added: dict[str, Tensor] = {}
    down = next((module.tensors[part] for part in ("lora_down", "hada_w1_b") if part in module.tensors), None)
    if module.kind in ("lora", "dora", "loha") and down is not None and down.dim():
        added["alpha"] = torch.tensor(config.alpha_of(module.path, down.shape[0]))
    elif module.kind == "lokr":
        # peft scales two whole matrices too, which have no rank of their own: the config's is taken.
        rank = config.rank_of(module.path)
        added["scalar"] = torch.tensor(config.alpha_of(module.path, int(rank)) / max(rank, 1))
    elif module.kind == "oft" and "oft_r" in module.tensors:
        added["oft_terms"] = torch.tensor(config.neumann)
    return ModuleParts(module.name, module.component, module.path, module.kind, {**module.tensors, **added})


def _embeddings(bundled: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Bundled embeddings by name, vectors (n, width)."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in bundled.items():
        match = NAMES.match(name)
        if match is None:
            continue
        part = match["part"] if match["part"].startswith("clip_") else "clip_l"
        found.setdefault(match["name"], {})[part] = tensor.unsqueeze(0) if tensor.dim() == 1 else tensor
    return found
