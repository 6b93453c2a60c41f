"""What `adapter ...` prints: one JSON object, or lines for people. It does not know how results come about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

SHOWN = 200
"""Characters of a metadata value that lines show."""

PREDICTIONS = {
    "same": "they are nearly the same change; one of them at a higher weight does what both do",
    "adding": "they push the same way: together they are stronger than apart; lower their weights",
    "cancelling": "they push against each other: together they are weaker than apart",
    "shared_input": "they react to the same things and answer differently; watch for one covering the other",
    "apart": "they hardly meet in the weights; conflicts are not to be expected there",
}
"""What the overlap predicts of the weights; it says nothing about the looks of a picture."""


def print_inspected(result: dict[str, Any], *, as_json: bool) -> None:
    """The report, with what --details and --with add."""
    report = dict(result["report"])
    if result["details"] is not None:
        report["details"] = result["details"]
    if result["overlap"] is not None:
        report["overlap"] = result["overlap"]
    print(json.dumps(report, ensure_ascii=False) if as_json else "\n".join(_report_lines(report)))


def print_made(result: dict[str, Any], written: list[dict[str, Any]], *, as_json: bool) -> None:
    """What was written, and how much of the change it holds."""
    said = {
        **written[0],
        "files": written,
        "format": result["format"],
        "family": result["family"] or None,
        "rank": _rank(result["rank"]),
        "layers": result["layers"],
        "retained_energy": {"mean": result["retained"]["mean"], "min": result["retained"]["min"]},
        "layer_energy": result["retained"]["layers"],
        "warnings": result["warnings"],
    }
    if "adapter" in result:
        said["name"] = result["name"]
    if as_json:
        print(json.dumps(said, ensure_ascii=False))
        return
    for file in written:
        print(f"{file['file']}  sha256 {file['sha256']}")
    shares = said["retained_energy"]
    print(f"{said['format']}, rank {_said(said['rank'])}, {said['layers']} layers")
    print(f"energy kept: {shares['mean']:.2%} on average, at least {shares['min']:.2%} in each layer")
    for warning in said["warnings"]:
        print(f"note: {warning['message']}")


def print_meta(result: dict[str, Any], written: list[dict[str, Any]], *, as_json: bool) -> None:
    """The metadata as it is or will be, and what is different."""
    said = {key: result[key] for key in ("metadata", "changes", "private")} | (written[0] if written else {})
    said["written"] = bool(written)
    if as_json:
        print(json.dumps(said, ensure_ascii=False))
        return
    if not result["changes"]:
        for key, value in sorted(result["metadata"].items()):
            print(f"{key}: {_short(value)}")
    for change in result["changes"]:
        before, after = (None if change[side] is None else _short(change[side]) for side in ("before", "after"))
        sign = "-" if after is None else "+" if before is None else "~"
        print(f"{sign} {change['key']}: {' -> '.join(text for text in (before, after) if text is not None)}")
    if result["private"]:
        print(f"private: {', '.join(result['private'])} (--strip removes them)")
    for file in written:
        print(f"{file['file']}  sha256 {file['sha256']}")
    if result["changes"] and not written:
        print("nothing was written; --out writes it")


def _report_lines(report: dict[str, Any]) -> Iterator[str]:
    """The report for people."""
    if report["refused"]:
        yield report["refused"]
    layers = report["layers"]
    yield f"format: {report['format'] or 'unknown'}, family: {report['family'] or 'unknown'}"
    yield f"rank: {_said(report['rank'])}, alpha: {_said(report['alpha'])}"
    yield f"layers: {layers['matched']} of {layers['in_file']} fit, the base has {layers['in_base']}"
    yield f"text encoder: {'yes' if report['text_encoder'] else 'no'}"
    if report["strength"] is not None:
        yield f"strength: {report['strength']:.4f} of the base's weights"
    if report["trigger_words"]:
        yield f"trigger words: {', '.join(report['trigger_words'])}"
    yield f"sha256: {report['sha256']}"
    if report["ignored"]:
        yield f"ignored: {len(report['ignored'])} (the first: {report['ignored'][0]['name']})"
    for warning in report["warnings"]:
        yield f"note: {warning['message']}"
    details = report.get("details") or {}
    if "blocks" in details:
        for share, ranks in (("90 %", details["rank_90"]), ("99 %", details["rank_99"])):
            yield f"{share} of the energy: rank {ranks['median']} ({ranks['min']} to {ranks['max']} by layer)"
        for block in details["blocks"]:
            strength = "" if block["strength"] is None else f", {block['strength']:.4f} of its weights"
            yield f"  {block['block']:<24}{'#' * round(block['share'] * 40):<41}{block['share']:.1%}{strength}"
    if "overlap" in report:
        yield from _overlap_lines(report["overlap"])


def _overlap_lines(overlap: dict[str, Any]) -> Iterator[str]:
    yield f"overlap: cosine {overlap['cosine']:.3f}, energy {overlap['cross_energy']:+.1%} when both act"
    yield (
        f"  shared inputs {overlap['inputs'][0]:.1%} and {overlap['inputs'][1]:.1%} of their energy, shared outputs "
        f"{overlap['outputs'][0]:.1%} and {overlap['outputs'][1]:.1%}, in {overlap['layers_shared']} common layers"
    )
    yield f"  {PREDICTIONS[overlap['predicts']]}"


def _rank(found: dict[str, int] | None) -> Any:
    """A number where both ends are equal."""
    return found["min"] if found and found["min"] == found["max"] else found


def _said(found: Any) -> str:
    if found is None:
        return "none"
    return f"{found['min']} to {found['max']}" if isinstance(found, dict) else f"{found:g}"


def _short(value: str) -> str:
    plain = " ".join(value.split())
    return plain if len(plain) <= SHOWN else f"{plain[:SHOWN]}... ({len(value)} characters)"
