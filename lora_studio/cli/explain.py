"""`generate --explain`: what is understood of the prompts, as lines or as JSON; no picture is made.

The answer is the engine's (`lora_studio.engine.explain`), each remark with its English sentence beside its code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lora_studio.sentences import sentence
from lora_studio.types import AdapterWeight, from_json

EXCERPT = 100
"""Characters of a text of a schedule that are shown."""


def print_explained(told: list[dict[str, Any]], *, as_json: bool) -> None:
    """Print what was told of each prompt."""
    for one in told:
        for name in ("prompt", "negative"):
            for warn in one[name]["warnings"]:
                warn["message"] = sentence(warn["code"], warn["values"])
    print(json.dumps({"explained": told}) if as_json else "\n\n".join("\n".join(_lines(one)) for one in told))


def _lines(told: dict[str, Any]) -> Iterator[str]:
    """One prompt and its negative prompt."""
    for name in ("prompt", "negative"):
        reading = told[name]
        if reading["text"].strip() or reading["warnings"]:
            yield f"{name}:"
            for line in _reading(reading):
                yield f"  {line}"
    for adapter in told["adapters"]:
        yield f"LoRA: {adapter['name']} {adapter['weight']:g}{_where(adapter, told['steps'])}"
    for embedding in told["embeddings"]:
        yield f"embedding: {embedding['name']}"


def _where(adapter: dict[str, Any], steps: int) -> str:
    """Where an adapter acts, if that is not everywhere with one weight."""
    used = from_json(AdapterWeight, adapter)
    parts = [] if used.text_encoder_weight is None else [f"text encoder {used.text_encoder_weight:g}"]
    if not used.always:
        span = used.span(steps)
        parts.append(f"steps {span[0]}-{span[1]}" if span else "in no step")
    parts += [f"blocks {', '.join(f'{factor:g}' for factor in used.blocks)}"] if used.blocks else []
    return f" ({'; '.join(parts)})" if parts else ""


def _reading(reading: dict[str, Any]) -> Iterator[str]:
    """Parts, texts over the steps, weights, counters and remarks of one text."""
    for number, part in enumerate(reading["parts"], 1):
        if len(reading["parts"]) > 1:
            yield f"part {number}, weight {part['weight']:g}"
        for index, text in enumerate(part["texts"]):
            if len(part["timeline"]) > 1:
                spans = [f"{t['first']}-{t['last']}" for t in part["timeline"] if t["text"] == index]
                yield f"steps {', '.join(spans)}: {text['text'].strip()[:EXCERPT]}"
            if text["chunks"] is not None:
                counts = ", ".join(f"{chunk['count']}/{chunk['size']}" for chunk in text["chunks"])
                yield f"{text['token_count']} tokens in chunks of {counts}"
            for span in text["spans"]:
                if span["weight"] != 1.0:
                    yield f"{span['weight']:.4g}  {span['text'].strip()}"
        if part["more_texts"]:
            yield f"{part['more_texts']} more texts are not shown"
    for warn in reading["warnings"]:
        yield f"note: {warn['message']}"
