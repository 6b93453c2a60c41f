"""The texts that travel inside a PNG: A1111's `parameters` and our own exact request.

`parameters` follows the writer of AUTOMATIC1111 stable-diffusion-webui v1.10.1 (`modules/processing.py`,
`create_infotext`; quoting from `modules/infotext_utils.py`, `quote`): the prompt, a line `Negative prompt: ...`,
one line of `Key: value` pairs with the version last. That format cannot carry everything (names lose characters,
a prompt may look like the last line), so the request itself stands beside it as JSON under `CHUNK`.

It does not know files or hashes' origins: model and adapter hashes are handed in. It only writes A1111's text; it
does not read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from lora_studio import __version__
from lora_studio.errors import InvalidInput
from lora_studio.types import GenerateRequest, from_json, to_json
from lora_studio.types.generate import a1111_sampler

PARAMETERS = "parameters"
"""Keyword of the PNG text chunk that A1111, Forge and Civitai read."""

CHUNK = "lora_studio"
"""Keyword of the PNG text chunk that holds the exact request."""

CHUNK_FORMAT = 1


@dataclass(frozen=True)
class ModelFacts:
    """What the text says of base and adapters.

    `model_hash` is the first 10 hex digits of the UNet file's sha256; `adapter_hashes` maps an adapter's sha256 (as
    in the request) to the 12 hex digits by which other programs know the file.
    """

    model_name: str
    model_hash: str
    adapter_hashes: Mapping[str, str] = field(default_factory=dict)


def infotext(request: GenerateRequest, facts: ModelFacts, *, index: int = 0) -> str:
    """A1111's `parameters` text of picture `index` (0-based; its seed is `request.seed + index`)."""
    names = _tag_names(request)
    tags = [f"<lora:{name}:{number(a.weight)}>" for name, a in zip(names, request.adapters, strict=True)]
    lines = [" ".join([request.prompt, *tags])]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    pairs = _pairs(request, facts, names, request.seed + index)
    lines.append(", ".join(f"{key}: {quote(value)}" for key, value in pairs))
    return "\n".join(lines)


def _pairs(request: GenerateRequest, facts: ModelFacts, names: list[str], seed: int) -> list[tuple[str, str]]:
    """Key and value of the last line, in A1111's order."""
    sampler, schedule = a1111_sampler(request.sampler)
    pairs = [("Steps", str(request.num_inference_steps)), ("Sampler", sampler)]
    if schedule is not None:
        pairs.append(("Schedule type", schedule))
    pairs += [
        ("CFG scale", number(request.guidance_scale)),
        ("Seed", str(seed)),
        ("Size", f"{request.width}x{request.height}"),
        ("Model hash", facts.model_hash),
        ("Model", facts.model_name),
    ]
    if request.init_image is not None:
        pairs.append(("Denoising strength", number(request.strength)))
    pairs.append(("RNG", "CPU"))
    known = [
        f"{name}: {facts.adapter_hashes[a.sha256]}"
        for name, a in zip(names, request.adapters, strict=True)
        if a.sha256 in facts.adapter_hashes
    ]
    if known:
        pairs.append(("Lora hashes", ", ".join(known)))
    return [*pairs, ("Version", f"lora-studio {__version__}")]


def _tag_names(request: GenerateRequest) -> list[str]:
    """The adapters' names as `<lora:...>` and `Lora hashes` can hold them: without `: , < >`, each one once."""
    names: list[str] = []
    for adapter in request.adapters:
        plain = "".join(c for c in adapter.name if c not in ':,<>\r\n"').strip() or adapter.sha256[:12]
        name, count = plain, 1
        while name in names:
            count += 1
            name = f"{plain}_{count}"
        names.append(name)
    return names


def number(value: float) -> str:
    """The shortest digits that mean `value`, never in exponent form: 7.0 is `7`, 1e-05 is `0.00001`."""
    text = format(Decimal(repr(float(value))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def quote(value: str) -> str:
    """`value` as it stands, or as a JSON string where it holds a comma, a colon or a line break."""
    return json.dumps(value, ensure_ascii=False) if any(c in value for c in ",:\n") else value


def request_chunk(request: GenerateRequest, index: int = 0) -> str:
    """The exact request, and which of its pictures this is (0-based), as the text of the chunk `CHUNK`."""
    data = {"format": CHUNK_FORMAT, "version": __version__, "index": index, "request": to_json(request)}
    return json.dumps(data, ensure_ascii=False, sort_keys=True)


def read_request_chunk(text: str) -> tuple[GenerateRequest, int]:
    """What `request_chunk` wrote: the request and the picture's index in it.

    Raises:
        InvalidInput: the text is no such chunk, or one of a newer format.
    """
    try:
        data: Any = json.loads(text)
    except ValueError:
        data = None
    if not isinstance(data, dict) or "request" not in data:
        raise InvalidInput(
            f"The picture's text {text[:60]!r} is no request of LoRA Studio; drop a picture that was saved here.",
            code="chunk_unreadable",
            given=text[:60],
        )
    if data.get("format") != CHUNK_FORMAT:
        raise InvalidInput(
            f"The picture's request has format {data.get('format')!r}; this version reads {CHUNK_FORMAT}; "
            "update LoRA Studio to read it.",
            code="chunk_format",
            given=str(data.get("format")),
            allowed=str(CHUNK_FORMAT),
        )
    return from_json(GenerateRequest, data["request"]), int(data.get("index", 0))
