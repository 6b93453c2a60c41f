"""What a person should know of a file that was let in. It does not know how the file was read.

Every notice is a code with values, whose sentence stands in the pages' strings (`error.<code>`) in both languages.
"""

from __future__ import annotations

from typing import Any

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.adapters.formats.parsed import ParsedFile
from lora_studio.adapters.report import AdapterReport
from lora_studio.headers.adapter import TITLES

FEW = 0.05
"""A file that changes a smaller share of the base's layers than this is told of."""
STRONG = 1.0
"""|ΔW|/|W| from which on a file is told of: trained ones stay below about 0.3."""


def warnings_of(
    parsed: ParsedFile, adapter: CanonicalAdapter, report: AdapterReport, base_sha256: str
) -> list[dict[str, Any]]:
    """The notices, gravest first."""
    found = _of_coverage(parsed, report)
    if adapter.norm() == 0:
        found.append(
            {"code": "adapter_zero", "message": "All its differences are zero: it does nothing.", "values": {}}
        )
    elif report.alphas and report.alphas[0] == 0:
        message = "Layers of it have an alpha of 0 and do nothing."
        found.append({"code": "adapter_alpha_zero", "message": message, "values": {}})
    found += _of_numbers(parsed, report)
    found += _of_origin(parsed, report, base_sha256)
    return found


def _of_coverage(parsed: ParsedFile, report: AdapterReport) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    own = [one for one in report.ignored if one.name in parsed.modules]
    shapeless = len([one for one in own if one.why == "no_shape"])
    layers = len(own) - shapeless
    if shapeless:
        found.append(
            {
                "code": "layers_shapeless",
                "message": f"{shapeless} of {report.layers_in_file} layers do not tell how large they are and are left "
                "out; load the base that it was made for.",
                "values": {"ignored": shapeless, "layers": report.layers_in_file},
            }
        )
    if layers:
        found.append(
            {
                "code": "layers_ignored",
                "message": f"{layers} of {report.layers_in_file} layers are not in this base and do nothing.",
                "values": {"ignored": layers, "layers": report.layers_in_file},
            }
        )
    parts = len(report.ignored) - len(own)
    if parts:
        first = next(one.name for one in report.ignored if one.name not in parsed.modules)[:80]
        found.append(
            {
                "code": "adapter_parts_ignored",
                "message": f"{parts} of its tensors are of no kind that is read here and do nothing (the first is "
                f"{first}).",
                "values": {"parts": parts, "first": first},
            }
        )
    if report.layers_in_base and report.layers_matched < FEW * report.layers_in_base:
        found.append(
            {
                "code": "adapter_few_layers",
                "message": f"It changes only {report.layers_matched} of the base's {report.layers_in_base} layers.",
                "values": {"matched": report.layers_matched, "layers": report.layers_in_base},
            }
        )
    return found


def _of_numbers(parsed: ParsedFile, report: AdapterReport) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    factors = [m for m in parsed.modules.values() if m.kind in ("lora", "dora", "loha")]
    bare = [] if parsed.folded else [m for m in factors if "alpha" not in m.tensors]
    if bare and report.format.startswith(("kohya", "OneTrainer")):
        found.append(
            {
                "code": "adapter_no_alpha",
                "message": f"{len(bare)} of its layers hold no alpha: it is taken as the rank.",
                "values": {"layers": len(bare)},
            }
        )
    elif bare and parsed.layout == "peft":
        found.append(
            {
                "code": "adapter_no_config",
                "message": "No adapter_config.json stands beside it: its alpha is taken as the rank, so that its "
                "strength may be another one.",
                "values": {},
            }
        )
    if report.strength is not None and report.strength > STRONG:
        shown = f"{report.strength:.3g}"
        found.append(
            {
                "code": "adapter_strong",
                "message": f"Its differences are {shown} times as large as the base's own weights: use a small weight.",
                "values": {"strength": shown},
            }
        )
    return found


def _of_origin(parsed: ParsedFile, report: AdapterReport, base_sha256: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    made_for = parsed.metadata.get("lora_studio_base_sha256", "")
    if made_for and base_sha256 and made_for != base_sha256:
        found.append(
            {
                "code": "adapter_other_base",
                "message": f"It was trained on another base ({made_for[:10]}) than the loaded one "
                f"({base_sha256[:10]}): its effect may be weak or wrong.",
                "values": {"made_for": made_for[:10], "loaded": base_sha256[:10]},
            }
        )
    if parsed.said_family and parsed.family and parsed.said_family != parsed.family:
        values = {
            "said": TITLES.get(parsed.said_family, parsed.said_family),
            "found": TITLES.get(parsed.family, parsed.family),
        }
        found.append(
            {
                "code": "adapter_says_other_family",
                "message": f"Its header says {values['said']}, its layers are {values['found']}'s.",
                "values": values,
            }
        )
    if parsed.converted is not None and not parsed.config:
        found.append(
            {
                "code": "adapter_converted",
                "message": "It was a pickle (.pt, .ckpt or .bin); only its tensors were taken over, as safetensors.",
                "values": {},
            }
        )
    return found
