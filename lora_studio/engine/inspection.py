"""The workbench's report on a file, and on what two have in common, as plain JSON.

`report` has exactly the keys of the command line's contract; everything else stands under `details` and `overlap`. A
refused file has a report too. It does not know turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from lora_studio.adapters import AdapterReport, CanonicalAdapter
from lora_studio.adapters.door import FileOptions, inspect
from lora_studio.adapters.workbench.overlap import Overlap, overlap
from lora_studio.adapters.workbench.plain import WeightOf, no_weights
from lora_studio.adapters.workbench.progress import Done
from lora_studio.adapters.workbench.spectrum import Spectrum, spectrum
from lora_studio.pipeline import SharedBase
from lora_studio.types import to_json
from lora_studio.types.workbench import InspectRequest

ANGLES = 8
"""Principal angles of a layer that are told."""


def inspected(
    request: InspectRequest,
    path_of: Callable[[str], Path],
    options_of: Callable[[str], FileOptions],
    base: SharedBase | None,
) -> Generator[Done, None, dict[str, Any]]:
    """{"report", "refusal": the error as JSON or None, "details": {...} or None, "overlap": {...} or None}.

    Raises:
        AdapterRefused: the file to compare with is refused.
        InvalidInput: the two depend on a base that is not loaded.
    """
    adapter, report, weight_of = _read(request.file, path_of, options_of, base)
    refusal = None if report.refused is None else report.refused.as_json()
    result: dict[str, Any] = {
        "report": report_view(report, base),
        "refusal": refusal,
        "details": None,
        "overlap": None,
    }
    if request.details and adapter is not None:
        found = yield from spectrum(adapter, weight_of)
        result["details"] = details_view(found) | {
            "license": report.license,
            "blocks_strength": dict(report.blocks),
            "dtypes": list(report.dtypes),
            "embeddings": dict(report.embeddings),
            "dense_layers": report.dense_layers,
            "metadata": dict(report.metadata),
        }
    elif request.details:
        result["details"] = {"metadata": dict(report.metadata)}
    if request.other and adapter is not None:
        second, other_report, _ = _read(request.other, path_of, options_of, base)
        if second is None:
            assert other_report.refused is not None
            raise other_report.refused
        result["overlap"] = overlap_view((yield from overlap(adapter, second, weight_of)))
    return result


def _read(
    sha256: str, path_of: Callable[[str], Path], options_of: Callable[[str], FileOptions], base: SharedBase | None
) -> tuple[CanonicalAdapter | None, AdapterReport, WeightOf]:
    """A file for the loaded base; without one for its family."""
    path, options = path_of(sha256), options_of(sha256)
    if base is None:
        adapter, report = inspect(path, sha256, options=options)
        return adapter, report, no_weights
    adapter, report = inspect(path, sha256, base.layers, base.info.sha256, options)
    return adapter, report, base.slots.weight


def report_view(report: AdapterReport, base: SharedBase | None) -> dict[str, Any]:
    """The report in the words of the command line."""
    family = report.family or (base.info.family if base is not None and report.refused is None else "")
    return {
        "format": report.format or None,
        "family": family or None,
        "rank": _range(report.ranks),
        "alpha": _range(report.alphas),
        "layers": {
            "matched": report.layers_matched,
            "in_file": report.layers_in_file,
            "in_base": report.layers_in_base,
        },
        "text_encoder": report.text_encoder,
        "ignored": to_json(report.ignored),
        "finite": report.finite,
        "strength": report.strength,
        "trigger_words": list(report.trigger_words),
        "sha256": report.sha256,
        "warnings": to_json(report.warnings),
        "refused": None if report.refused is None else report.refused.message,
    }


def _range(found: tuple[float, float] | None) -> Any:
    """A number where both ends are equal, else {"min", "max"}; None for None."""
    if found is None or not all(math.isfinite(value) for value in found):
        return None
    low, high = (int(value) if float(value).is_integer() else value for value in found)
    return low if low == high else {"min": low, "max": high}


def details_view(found: Spectrum) -> dict[str, Any]:
    """Singular values, needed ranks and the heat strip."""
    return {
        "norm": found.norm,
        "rank_90": found.needed(90),
        "rank_99": found.needed(99),
        "curve": list(found.curve),
        "blocks": to_json(found.blocks),
        "spectrum": to_json(found.layers),
    }


def overlap_view(found: Overlap) -> dict[str, Any]:
    """What two adapters have in common; `predicts` names it: same, adding, cancelling, shared_input, apart."""
    inputs = [found.share("inputs", which) for which in (0, 1)]
    return {
        "cosine": found.cosine,
        "cross_energy": found.cross_energy,
        "inputs": inputs,
        "outputs": [found.share("outputs", which) for which in (0, 1)],
        "layers_shared": len(found.layers),
        "layers_alone": list(found.alone),
        "predicts": prediction(found.cosine, max(inputs)),
        "layers": [
            {
                "layer": one.layer,
                "cosine": one.cosine,
                "inputs": [one.inputs.first, one.inputs.second],
                "outputs": [one.outputs.first, one.outputs.second],
                "input_angles": list(one.inputs.angles[:ANGLES]),
                "output_angles": list(one.outputs.angles[:ANGLES]),
            }
            for one in found.layers
        ],
    }


def prediction(cosine: float, inputs: float) -> str:
    """One word for two numbers: the cosine of all ΔW, and the larger share of energy with common inputs.

    The bounds are ours: independent adapters of a few ranks have cosines below 0.05 and shares of rank/width.
    """
    if cosine > 0.9:
        return "same"
    if abs(cosine) >= 0.1:
        return "adding" if cosine > 0 else "cancelling"
    return "shared_input" if inputs >= 0.3 else "apart"
