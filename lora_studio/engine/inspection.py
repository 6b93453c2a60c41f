"""The workbench's report on a file, and on what two have in common, as plain JSON.

`report` has exactly the keys of the command line's contract; everything else stands under `details` and `overlap`. A
file that the loaded base refuses has a report too, and is described and compared by its own family's layers. Every
layer is a turn. It does not know how a file is read.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

from lora_studio.adapters import AdapterReport
from lora_studio.adapters.workbench.overlap import Overlap, overlap
from lora_studio.adapters.workbench.spectrum import Spectrum, spectrum
from lora_studio.engine.bench import Bench, Source, read, told, unlike
from lora_studio.errors import AdapterRefused, InvalidInput
from lora_studio.pipeline import SharedBase
from lora_studio.types import to_json
from lora_studio.types.workbench import InspectRequest

ANGLES = 8
"""Principal angles of a layer that are told."""


def inspected(request: InspectRequest, bench: Bench) -> Generator[Any, Any, dict[str, Any]]:
    """{"report", "refusal": the error as JSON or None, "details": {...} or None, "overlap": {...} or None}.

    Why a file cannot be taken apart or compared is one of the report's warnings, beside what was found out.

    Raises:
        AdapterRefused: the file to compare with is damaged.
    """
    source, report = yield from read(bench, request.file)
    view = report_view(report, bench.base)
    result: dict[str, Any] = {
        "report": view,
        "refusal": None if report.refused is None else report.refused.as_json(),
        "details": {"metadata": dict(report.metadata)} if request.details else None,
        "overlap": None,
    }
    if source is not None:
        try:
            if request.details:
                result["details"] = yield from _detailed(source)
            if request.other:
                result["overlap"] = yield from _compared(bench, request, source)
        except AdapterRefused:
            raise
        except InvalidInput as problem:
            view["warnings"].append({key: problem.as_json()[key] for key in ("code", "message", "values")})
    return result


def _compared(bench: Bench, request: InspectRequest, source: Source) -> Generator[Any, Any, dict[str, Any]]:
    """What a file has in common with another one.

    Raises:
        AdapterRefused: the other one is damaged.
        InvalidInput: they are of different models, or their changes depend on a base that is not loaded.
    """
    other, report = yield from read(bench, request.other)
    if other is None:
        assert report.refused is not None
        raise report.refused
    if unlike(source, other) is not None:
        given, second = bench.label(request.file), bench.label(request.other)
        raise InvalidInput(
            f"{given} and {second} were made for different models; only LoRAs of one model can be compared.",
            code="workbench_unlike",
            given=given,
            other=second,
        )
    found = yield from told(overlap(source.adapter, other.adapter, source.weight_of))
    return overlap_view(found)


def _detailed(source: Source) -> Generator[Any, Any, dict[str, Any]]:
    """What `details` asks for."""
    report = source.report
    found = yield from told(spectrum(source.adapter, source.weight_of))
    return details_view(found) | {
        "license": report.license,
        "blocks_strength": dict(report.blocks),
        "dtypes": list(report.dtypes),
        "embeddings": dict(report.embeddings),
        "dense_layers": report.dense_layers,
        "metadata": dict(report.metadata),
    }


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
        "warnings": list(to_json(report.warnings)),
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
