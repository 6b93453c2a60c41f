"""The door: what a LoRA file must pass before anything touches the base.

Order: size, header (read by ourselves, because a hostile header makes safetensors work for many seconds), numbers,
layout, family, coverage of the base's layers, shapes. Nothing of a refused file reaches a pipeline. What is let in
comes with a report; `inspect` gives the report of a refused file too. It does not know the pipeline; it is handed the
layers that the base has, and its weights where the strength is wanted.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lora_studio.adapters.bundled import embeddings_of
from lora_studio.adapters.canonical import CanonicalAdapter, Dense, Kronecker, LayerChange, LayerShape
from lora_studio.adapters.checks import check_change, check_modules
from lora_studio.adapters.formats import LayerIndex, algebra, families, resolve
from lora_studio.adapters.formats.parsed import Ignored, ParsedFile
from lora_studio.adapters.formats.reading import own_layers, parsing
from lora_studio.adapters.formats.source import damaged, header_of
from lora_studio.adapters.notices import warnings_of
from lora_studio.adapters.report import AdapterReport, said_of
from lora_studio.adapters.strength import BaseWeights, strengths
from lora_studio.adapters.turns import finished
from lora_studio.errors import AdapterRefused
from lora_studio.headers.adapter import TITLES

Admitted = tuple[CanonicalAdapter, AdapterReport]
Inspected = tuple[CanonicalAdapter | None, AdapterReport]
_NOT_THERE = ("not_in_base", "other_component")
_FACTORS = ("lora", "dora", "loha", "lokr", "glora")
"""Kinds whose parts tell how large their layer is."""


@dataclass(frozen=True)
class FileOptions:
    """What may be given beside a file.

    Attributes:
        label: how sentences name it; its own name when empty.
        config: text of peft's adapter_config.json, where it does not stand in the file's folder.
        weights: of the base, where the report shall tell the strength.
    """

    label: str = ""
    config: str = ""
    weights: BaseWeights | None = None


def admit(
    path: Path,
    sha256: str,
    layers: Mapping[str, LayerShape],
    base_sha256: str = "",
    label: str = "",
    options: FileOptions | None = None,
) -> Admitted:
    """`admitting` in one go: reads the file and waits for the other process where there is one."""
    return finished(admitting(path, sha256, layers, base_sha256, options or FileOptions(label)))


def admitting(
    path: Path,
    sha256: str,
    layers: Mapping[str, LayerShape],
    base_sha256: str = "",
    options: FileOptions | None = None,
) -> Generator[None, None, Admitted]:
    """Read the LoRA file at `path` for a base with these `layers`; yields while another process opens a
    pickle, and between two layers.

    Args:
        path: the file; it must not change while it is read.
        sha256: of the file, the adapter's identity.
        layers: layer key to shape, of the base it shall fit.
        base_sha256: of the base, compared with the one that the file names.

    Raises:
        AdapterRefused: one sentence that says what is wrong with the file.
    """
    options = options or FileOptions()
    given = options.label or path.name
    parsed = yield from parsing(path, given, options.config)
    return (yield from fitting(parsed, sha256, layers, base_sha256, given, options.weights))


def fitting(
    parsed: ParsedFile,
    sha256: str,
    layers: Mapping[str, LayerShape],
    base_sha256: str = "",
    given: str = "",
    weights: BaseWeights | None = None,
    own: bool = False,
) -> Generator[None, None, Admitted]:
    """A parsed file for a base; see `admitting`. `own`: the layers are the file's own. Raises `AdapterRefused`."""
    check_modules(given, parsed)
    bundled = embeddings_of(given, parsed.embeddings)
    found = resolve(parsed, layers)
    if own and not found:
        raise _shapeless(given, parsed)
    if not own:
        _check_family(given, parsed, layers, found)
    changes: dict[str, LayerChange] = {}
    for name, layer in sorted(found.items(), key=lambda pair: pair[1]):
        try:
            changes[layer] = algebra.read(parsed.modules[name].tensors, layers[layer].shape)
        except algebra.PartsError as error:
            raise damaged(given, error.of(name)) from None
        except algebra.MisfitError as error:
            raise _misfit(given, name, str(error), parsed, layers) from None
        check_change(given, name, changes[layer])
        yield
    key = f"{sha256}+{parsed.config}" if parsed.config else sha256
    adapter = CanonicalAdapter(key=key, layers=changes, metadata=parsed.metadata)
    report = _report(parsed, adapter, sha256, layers, found)
    if own:
        left = (replace(one, why="no_shape") if one.why in _NOT_THERE else one for one in report.ignored)
        report = replace(report, ignored=tuple(left))
    report = replace(report, bundled=bundled)
    if weights is not None:
        strength, blocks = yield from strengths(adapter, weights)
        report = replace(report, strength=strength, blocks=blocks)
    return adapter, replace(report, warnings=tuple(warnings_of(parsed, adapter, report, base_sha256)))


def inspect(
    path: Path,
    sha256: str = "",
    layers: Mapping[str, LayerShape] | None = None,
    base_sha256: str = "",
    options: FileOptions | None = None,
) -> Inspected:
    """`inspecting` in one go: reads the file and waits for the other process where there is one."""
    return finished(inspecting(path, sha256, layers, base_sha256, options))


def inspecting(
    path: Path,
    sha256: str = "",
    layers: Mapping[str, LayerShape] | None = None,
    base_sha256: str = "",
    options: FileOptions | None = None,
) -> Generator[None, None, Inspected]:
    """The report of any file, refused ones too (`report.refused`); without `layers` no base is asked. It yields as
    `admitting` does.

    Returns:
        The adapter and its report. Where the file is refused the adapter is None, and the report says what could be
        found out before. Without a base the adapter has the layers of its family, or the file's own.
    """
    options = options or FileOptions()
    given = options.label or path.name
    parsed: ParsedFile | None = None
    try:
        parsed = yield from parsing(path, given, options.config)
        if layers is not None:
            return (yield from fitting(parsed, sha256, layers, base_sha256, given, options.weights))
        known = families.known_layers(parsed.family) if parsed.family in families.USABLE else {}
        fits = bool(resolve(parsed, known))
        chosen = known if fits else own_layers(parsed)
        adapter, report = yield from fitting(parsed, sha256, chosen, given=given, own=not fits)
        return adapter, replace(report, layers_in_base=0)
    except AdapterRefused as refusal:
        said: dict[str, Any] = {} if parsed is None else said_of(parsed)
        base = 0 if layers is None else len([s for s in layers.values() if not s.is_norm])
        finite = not any(word in refusal.message for word in (" holds nan", " holds inf", " holds -inf"))
        return None, AdapterReport(**said, sha256=sha256, layers_in_base=base, finite=finite, refused=refusal)


def read_header(path: Path, given: str) -> dict[str, Any]:
    """The JSON header of a safetensors file, checked for size, count, dimensions and repeated names.

    Raises:
        AdapterRefused: it is no safetensors file, or its header is damaged or beyond the limits.
    """
    with path.open("rb") as file:
        return header_of(file, path.stat().st_size, given)


# ---------------------------------------------------------------- the steps
def _check_family(given: str, parsed: ParsedFile, layers: Mapping[str, LayerShape], found: Mapping[str, str]) -> None:
    """Raise `AdapterRefused` where nothing of the file is in the base, or its family is known to be another.

    Some layers of SD 1.x and SDXL have one name and shape: where they are all that a file has, its header tells.
    """
    base = families.of_layers(layers)
    other = bool(parsed.family and base and parsed.family != base)
    if found and not other:
        return
    if parsed.family and parsed.family != base:
        raise _family(given, parsed.family, layers)
    first = min(parsed.modules)
    raise AdapterRefused(
        f"{given} holds {len(parsed.modules)} layers of which the loaded base has none (the first is "
        f"{first[:80]!r}); it was made for another family of models; load its base or choose "
        "another LoRA.",
        code="adapter_other_family",
        given=given,
        layers=len(parsed.modules),
    )


def _shapeless(given: str, parsed: ParsedFile) -> AdapterRefused:
    """Without a base, of a file of OFT, IA3 or differences of biases alone; or of factors that do not go together."""
    for name, module in sorted(parsed.modules.items()):
        if module.kind in _FACTORS:
            try:
                algebra.read(module.tensors, ())
            except algebra.PartsError as error:
                return damaged(given, error.of(name))
            except algebra.MisfitError:
                continue
    first = min(parsed.modules)[:80]
    return AdapterRefused(
        f"{given} cannot be read without its base: its {len(parsed.modules)} layers do not tell how large they are "
        f"(the first is {first!r}); load the base that it was made for and try again.",
        code="adapter_needs_base",
        given=given,
        layers=len(parsed.modules),
        first=first,
    )


def _family(given: str, family: str, layers: Mapping[str, LayerShape]) -> AdapterRefused:
    made_for = TITLES.get(family, family)
    base = TITLES.get(families.of_layers(layers), "")
    if not base:
        return AdapterRefused(
            f"{given} was made for {made_for}, and the loaded base is of another family; load a base of its family or "
            "choose another LoRA.",
            code="adapter_family_other",
            given=given,
            made_for=made_for,
        )
    return AdapterRefused(
        f"{given} was made for {made_for}, the base is {base}; load a base of its family or choose another LoRA.",
        code="adapter_family",
        given=given,
        made_for=made_for,
        base=base,
    )


def _misfit(given: str, name: str, why: str, parsed: ParsedFile, layers: Mapping[str, LayerShape]) -> AdapterRefused:
    """Parts that come to a change of another layer than the base's: another family's, or of another size."""
    base = families.of_layers(layers)
    if parsed.family and parsed.family != base and (base or parsed.family in families.USABLE):
        return _family(given, parsed.family, layers)
    return AdapterRefused(
        f"{given} does not fit the loaded base: its layer {name} {why}; load the base that it was made for or choose "
        "another LoRA.",
        code="adapter_shape",
        given=given,
        layer=name,
    )


def _report(
    parsed: ParsedFile,
    adapter: CanonicalAdapter,
    sha256: str,
    layers: Mapping[str, LayerShape],
    found: Mapping[str, str],
) -> AdapterReport:
    """The report without strength and warnings."""
    index = LayerIndex(layers)
    left = []
    for name, module in parsed.modules.items():
        if name not in found:
            other = module.component and module.component not in index.components
            there = index.find(module.component, module.path) is not None
            left.append(Ignored(name, "duplicate" if there else "other_component" if other else "not_in_base"))
    said = said_of(parsed)
    said["ignored"] = (*parsed.ignored, *left)
    said["text_encoder"] = any(key.startswith("text_encoder") for key in adapter.layers)
    return AdapterReport(
        **said,
        layers_matched=len(found),
        layers_in_base=len([shape for shape in layers.values() if not shape.is_norm]),
        dense_layers=sum(_is_dense(change) for change in adapter.layers.values()),
        sha256=sha256,
    )


def _is_dense(change: LayerChange) -> bool:
    direction = getattr(change, "direction", change)
    if not isinstance(direction, Dense) or isinstance(direction, Kronecker):
        return False
    return len(direction.shape) > 1
