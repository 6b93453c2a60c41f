"""The text that travels inside a PNG for other programs: A1111's `parameters`.

It follows the writer of AUTOMATIC1111 stable-diffusion-webui v1.10.1 (`modules/processing.py`, `create_infotext`;
quoting from `modules/infotext_utils.py`, `quote`): the prompt with its `<lora:...>` tags, a line
`Negative prompt: ...`, one line of `Key: value` pairs with the version last. Names of adapters are written as Civitai's
reader finds them (letters, digits, `_ . -`; https://github.com/civitai/civitai,
`src/utils/metadata/automatic.metadata.ts`), and hashes as A1111 knows the files, so that it finds them under any name.

A prompt that A1111's reader would not give back as it is (it trims lines, and takes a line `Negative prompt:` for the
beginning of the other one) stands a second time in `Raw prompt`, as Fooocus does it. The exact request stands beside
the text in a chunk of its own (`lora_studio.prompt.request_chunk`).

It does not know files or hashes' origins: they are handed in. Reading is the part of `lora_studio.prompt.readers`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from lora_studio import __version__
from lora_studio.prompt.comments import strip_comments
from lora_studio.prompt.readers.parameters import OURS, RAW, read_parameters
from lora_studio.prompt.request_chunk import CHUNK, PARAMETERS, read_request_chunk, request_chunk
from lora_studio.prompt.source import SourceText
from lora_studio.prompt.tags import without_loras
from lora_studio.types import AdapterWeight, GenerateRequest
from lora_studio.types.generate import a1111_sampler

__all__ = [
    "CHUNK",
    "PARAMETERS",
    "ModelFacts",
    "infotext",
    "number",
    "quote",
    "read_request_chunk",
    "request_chunk",
    "safe_name",
]

_EMPHASES = {"original": "Original", "no norm": "No norm"}
"""A1111's names; ComfyUI's and compel's ways have none there and are written under ours."""


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
    names = tag_names(request.adapters)
    steps = request.num_inference_steps
    tags = [_tag(name, adapter, steps) for name, adapter in zip(names, request.adapters, strict=True)]
    pairs = _pairs(request, facts, names, request.seed + index)
    words = without_loras(request.prompt)
    for tagged in (_behind(words, tags), " ".join([*tags, words])):
        text = _lines(tagged, request.negative_prompt, pairs)
        found = read_parameters(text)
        if [one.name for one in found.adapters] == names:
            break  # else a `<` of the prompt swallows the tags behind it
    raw = [
        (key, given)
        for key, given, read in (
            (RAW[0], request.prompt, found.prompt),
            (RAW[1], request.negative_prompt, found.negative),
        )
        if given != read
    ]
    return _lines(tagged, request.negative_prompt, pairs, raw) if raw else text


def _lines(prompt: str, negative: str, pairs: Sequence[tuple[str, str]], raw: Sequence[tuple[str, str]] = ()) -> str:
    """The whole text; `raw` prompts are quoted whatever they hold, and stand before the version."""
    written = [f"{key}: {quote(value)}" for key, value in pairs]
    written[-1:-1] = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in raw]
    lines = [prompt, f"Negative prompt: {negative}"] if negative else [prompt]
    return "\n".join([*lines, ", ".join(written)])


def _pairs(request: GenerateRequest, facts: ModelFacts, names: list[str], seed: int) -> list[tuple[str, str]]:
    """Key and value of the last line, in A1111's order."""
    sampler, schedule = a1111_sampler(request.sampler)
    if schedule is None and sampler.startswith("DPM++"):
        schedule = "Uniform"  # left out it would be Automatic, which is Karras for these in A1111
    pairs = [("Steps", str(request.num_inference_steps)), ("Sampler", sampler)]
    if schedule is not None:
        pairs.append(("Schedule type", schedule))
    pairs += [
        ("CFG scale", number(request.guidance_scale)),
        ("Seed", str(seed)),
        ("Size", f"{request.width}x{request.height}"),
        ("Model hash", facts.model_hash),
        ("Model", _plain(facts.model_name)),
    ]
    if request.init_image is not None:
        pairs.append(("Denoising strength", number(request.strength)))
    if request.clip_skip > 1:
        pairs.append(("Clip skip", str(request.clip_skip)))
    pairs.append(("RNG", "CPU"))
    known = [
        f"{name}: {facts.adapter_hashes[a.sha256]}"
        for name, a in zip(names, request.adapters, strict=True)
        if a.sha256 in facts.adapter_hashes
    ]
    embeddings = [f"{_plain(one.name)}: {one.sha256[:12]}" for one in request.embeddings]
    for key, listed in (("Lora hashes", known), ("TI hashes", embeddings)):
        if listed:
            pairs.append((key, ", ".join(listed)))
    if request.guidance_rescale > 0:
        pairs.append(("CFG Rescale", number(request.guidance_rescale)))
    if request.emphasis != "original":
        pairs.append(("Emphasis", _EMPHASES.get(request.emphasis, request.emphasis)))
    if request.pad_prompts:
        pairs.append(("Pad conds", "True"))
    if request.old_scheduling:
        pairs.append(("Old prompt editing timelines", "True"))
    return [*pairs, ("Version", f"{OURS} {__version__}")]


# ------------------------------------------------------------ tags and names
def _tag(name: str, adapter: AdapterWeight, steps: int) -> str:
    """`<lora:name:unet>`, or `<lora:name:te:unet>` where the text encoder's part has a weight of its own.

    Steps and blocks follow as sd-webui-lora-block-weight reads them: the first step in which it acts, the first one
    without it, BASE and all blocks.
    """
    te = adapter.text_encoder_weight
    parts = [number(part) for part in ([] if te is None or te == adapter.weight else [te])]
    parts.append(number(adapter.weight))
    first, last = adapter.span(steps) or (steps + 1, steps)
    parts += [f"start={first}"] if first > 1 else []
    parts += [f"stop={last + 1}"] if last < steps else []
    if adapter.blocks:
        parts.append("lbw=" + ",".join(number(factor) for factor in (1.0, *adapter.blocks)))
    return f"<lora:{name}:{':'.join(parts)}>"


def _behind(words: str, tags: list[str]) -> str:
    """The tags after the words, on a line of their own where a comment would hide them."""
    if not tags:
        return words
    _, comments = strip_comments(SourceText.typed(words))
    hidden = bool(comments) and comments[-1].end >= len(words.rstrip("\n"))
    return words + ("\n" if hidden else " ") + " ".join(tags)


def safe_name(name: str, otherwise: str) -> str:
    """A name in Civitai's letters; `otherwise` where nothing is left of it."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-") or otherwise


def tag_names(adapters: Sequence[AdapterWeight]) -> list[str]:
    """The adapters' names as tags and lists of hashes hold them, each one once."""
    names: list[str] = []
    for adapter in adapters:
        plain = safe_name(adapter.name, adapter.sha256[:12])
        name, count = plain, 1
        while name in names:
            count += 1
            name = f"{plain}_{count}"
        names.append(name)
    return names


def _plain(name: str) -> str:
    """A name that needs no quotes, which Civitai's reader would take for a list."""
    return re.sub(r'[,:"\r\n]+', "", name).strip()


def number(value: float) -> str:
    """The shortest digits that mean `value`, never in exponent form: 7.0 is `7`, 1e-05 is `0.00001`."""
    text = format(Decimal(repr(float(value))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def quote(value: str) -> str:
    """`value` as it stands, or as a JSON string where it holds a comma, a colon or a line break."""
    return json.dumps(value, ensure_ascii=False) if any(c in value for c in ",:\n") else value
