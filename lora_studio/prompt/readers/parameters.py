"""From A1111's text to our settings: what its keys mean here, and what has no counterpart.

The same layout is written by A1111, Forge, SD.Next, Fooocus (as its scheme "a1111"), Civitai and ourselves, each with
keys of its own. Adapters stand as `<lora:...>` tags in the prompt and are taken out of it; their hashes stand in
`Lora hashes` (A1111), `Hashes: {...}` and `Civitai resources: [...]` (Civitai), `AddNet ...` (an extension of 2023);
Fooocus writes weights in `Lora weights`, its version 2.2 in the hashes (`name: hash: weight`). Where a prompt would not
survive A1111's reader we add it as `Raw prompt` and `Raw negative prompt`; Fooocus writes there what was typed, without
the words of its styles, which drew the picture too and stand in the text.

It does not know which adapters exist.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from lora_studio.prompt.language import parse
from lora_studio.prompt.readers.a1111 import Infotext, a1111_fields, find_pairs, version_of
from lora_studio.prompt.readers.reading import Draft, NamedFile, Reading, clean_hash, names, stem, weight
from lora_studio.prompt.readers.samplers import take_sampler
from lora_studio.prompt.schedules import Counting
from lora_studio.prompt.source import SourceText
from lora_studio.prompt.tags import LORA_KINDS, LoraTag, find_tags, read_loras, shares
from lora_studio.types import EMPHASES
from lora_studio.types.mix import MOST_WEIGHT

OURS = "lora-studio"
"""How the value of `Version` begins in our own texts."""

RAW = ("Raw prompt", "Raw negative prompt")

_LISTS = (("Hashes: ", "{"), ("Civitai resources: ", "["))
"""Keys of Civitai whose values are JSON, and what that begins with."""

_TAKEN = (
    "Steps Sampler Schedule-type CFG-scale CFG-Rescale Seed Size Model Model-hash Clip-skip RNG Emphasis Pad-conds "
    "Denoising-strength Old-prompt-editing-timelines Lora-hashes TI-hashes Raw-prompt Raw-negative-prompt Lora-weights "
    "Hashes Civitai-resources CFG-rescale LoRA-networks LoRA-hashes Embeddings"
)
_HARMLESS = (
    "Version User App Time-taken Civitai-metadata Created-Date VAE-hash Batch-index Batch-size Batch-pos Parser "
    "Pipeline Backend Operations Template Negative-Template Metadata-Scheme Scheduler Downcast-alphas_cumprod "
    "Script-Info Index"
)
_SILENT = {key.replace("-", " ") for key in (*_TAKEN.split(), *_HARMLESS.split())}


def read_parameters(text: str) -> Reading:
    """What a text in A1111's layout asks for. Never raises; without a line of settings only the words are taken."""
    info = Infotext(text)
    if not info.pairs:
        draft = Draft()
        draft.remark("no_settings")
        words, named = take_loras(info.prompt, draft, None)
        return Reading(
            prompt=words, negative=info.negative or None, adapters=named, fields=a1111_fields(info),
            remarks=tuple(draft.remarks),
        )  # fmt: skip
    fields = a1111_fields(info)
    draft = Draft()
    program = program_of(info)
    _settings(draft, info, fields)
    steps = draft.settings.get("num_inference_steps")
    prompt, tagged = take_loras(info.prompt, draft, int(steps) if steps else None)
    negative = info.negative
    if program == "lora_studio":
        prompt, negative = info.first(RAW[0], prompt), info.first(RAW[1], negative)
    _dialect(draft, info, program, (prompt, negative))
    hashes = _hashes(info)
    adapters = [replace(one, hash=_hash_of(hashes, "lora", one.name)) for one in tagged]
    adapters += _other_adapters(info, hashes, {one.name for one in adapters})
    embeddings = [NamedFile(name, found) for (kind, name), found in hashes.items() if kind == "embed"]
    embeddings += [NamedFile(name) for part in info.first("Embeddings").split(",") if (name := part.strip())]
    model = NamedFile(info.first("Model"), clean_hash(info.first("Model hash")))
    _rest(draft, info)
    return Reading(
        program=program,
        prompt=prompt,
        negative=negative,
        settings=draft.settings,
        adapters=tuple(adapters),
        embeddings=tuple(embeddings),
        model=model if model.name or model.hash else None,
        fields=fields,
        remarks=tuple(draft.remarks),
    )


def program_of(info: Infotext) -> str:
    """Which program wrote the text."""
    version, app = info.first("Version"), info.first("App").casefold().replace(".", "")
    if version.startswith(OURS):
        return "lora_studio"
    if version.startswith("Fooocus"):
        return "fooocus"
    if "sdnext" in app:
        return "sdnext"
    return "forge" if re.match(r"f\d|neo", version) else "a1111"


def take_loras(prompt: str, draft: Draft, steps: int | None) -> tuple[str, tuple[NamedFile, ...]]:
    """The prompt without its LoRA tags, trimmed where there were some, and what they ask for.

    What a tag asks for and is not done here (`lbwe=`, a rank to cut to ...) is lost with it, and remarked on.

    Args:
        steps: of the picture; None where they are not known: then the number of a step means nothing.
    """
    source = SourceText.typed(prompt)
    tags = [tag for tag in find_tags(source) if tag.kind in LORA_KINDS]
    found, edges = [], [0]
    for tag in tags:
        loras, warnings = read_loras((tag,))
        lost = [str(one.values["option"]) for one in warnings if one.code.startswith("tag_option_")]
        for lora in loras:
            found.append(_named(lora, draft, steps, lost))
            if tag.place is not None:
                edges += [tag.place.start, tag.place.end]
    if not found:
        return prompt, ()
    edges.append(len(prompt))
    kept = "".join(prompt[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))
    return kept.strip(), tuple(found)


def _named(lora: LoraTag, draft: Draft, steps: int | None, lost: list[str]) -> NamedFile:
    """What a tag asks for; `lost` are its options that do nothing here."""
    lost += [] if lora.dyn is None else [f"dyn={lora.dyn}"]
    if steps is None:
        limits = {"start": lora.start, "stop": lora.stop}
        lost += [f"{key}={one.value:g}" for key, one in limits.items() if one is not None and not one.is_share]
        start, stop = (one if one is not None and one.is_share else None for one in limits.values())
        lora = replace(lora, start=start, stop=stop)
    if lost:
        draft.remark("not_acting", names=f"{lora.name}: {names(lost)}")
    for given in dict.fromkeys((lora.unet, lora.te)):
        if weight(given) != given:
            draft.remark("lora_weight", name=lora.name, given=given, allowed=MOST_WEIGHT)
    te = None if lora.te == lora.unet else weight(lora.te)
    return NamedFile(lora.name, "", weight(lora.unet), te, *shares(lora, steps or 1), lora.lbw or "")


def _settings(draft: Draft, info: Infotext, fields: dict[str, Any]) -> None:
    """The fields of a request."""
    for name, key in (
        ("num_inference_steps", "Steps"),
        ("guidance_scale", "CFG scale"),
        ("seed", "Seed"),
        ("width", "Size-1"),
        ("height", "Size-2"),
    ):
        draft.take(name, fields.get(key))
    draft.take("clip_skip", "1" if fields["Clip skip"] == "0" else fields["Clip skip"])
    version = version_of(str(fields.get("Version", "")))
    old = version is not None and version < ((1, 9, 0, 0), 1, 0)
    spacing = info.first("Schedule type") or info.first("Scheduler")
    take_sampler(draft, fields.get("Sampler"), spacing, automatic_is_karras=not old)
    draft.take("guidance_rescale", fields.get("CFG Rescale", fields.get("CFG rescale")))  # Forge's spelling, SD.Next's
    emphasis = str(fields.get("Emphasis", "Original")).casefold()
    if emphasis in EMPHASES:
        draft.settings["emphasis"] = emphasis
    else:
        draft.remark("not_acting", names=f"Emphasis: {emphasis}")
    draft.settings["pad_prompts"] = str(fields.get("Pad conds")) == "True"
    draft.settings["old_scheduling"] = str(fields.get("Old prompt editing timelines")) == "True"
    if str(fields["RNG"]).upper() != "CPU":
        draft.remark("noise", given=str(fields["RNG"]))
    hires = any(key.startswith(("Hires", "First pass")) for key, _ in info.pairs)
    if "Denoising strength" in fields and not hires:
        draft.remark("first_picture")
    draft.close()


def _dialect(draft: Draft, info: Infotext, program: str, texts: tuple[str, str]) -> None:
    """Say where the words acted another way there than they do here."""
    if program == "sdnext" and re.search("compel|xhinker|fixed", info.first("Parser").casefold()):
        draft.remark("prompt_dialect", program="SD.Next")
    read = [parse(text, Counting(20), negative=bool(number)) for number, text in enumerate(texts)]
    if program in ("a1111", "forge") and any(part.changes for one in read for part in one.parts):
        draft.remark("schedule_later", program="Forge" if program == "forge" else "A1111")


def _rest(draft: Draft, info: Infotext) -> None:
    """Name the keys that mean nothing here."""
    line = info.last_line
    for key, opening in _LISTS:
        line = line.replace(json_after(line, key, opening)[1], "")
    unknown = [
        key
        for key, value in find_pairs(line)
        if value and key not in _SILENT and not key.startswith(("AddNet", "Hires prompt", "Hires negative prompt"))
    ]
    if unknown:
        draft.remark("not_acting", names=names(unknown))


# ------------------------------------------------------------ hashes
def _hashes(info: Infotext) -> dict[tuple[str, str], str]:
    """Hashes of LoRAs and embeddings by ("lora" or "embed", name)."""
    found: dict[tuple[str, str], str] = {}
    civitai, _ = json_after(info.last_line, *_LISTS[0])
    if isinstance(civitai, dict):
        for key, value in civitai.items():
            kind, colon, name = str(key).partition(":")
            if colon and kind.casefold() in (*LORA_KINDS, "embed"):
                found["embed" if kind.casefold() == "embed" else "lora", name] = clean_hash(value)
    for kind, key in (("lora", "Lora hashes"), ("embed", "TI hashes")):
        for part in info.first(key).split(","):
            name, colon, rest = part.strip().partition(":")
            if colon and (value := clean_hash(rest.strip().partition(":")[0])):
                found[kind, name.strip()] = value
    return found


def _hash_of(hashes: dict[tuple[str, str], str], kind: str, name: str) -> str:
    """The hash that stands for a name; lists of hashes hold names without commas."""
    for form in (name, name.replace(",", "").strip(), stem(name)):
        if (kind, form) in hashes:
            return hashes[kind, form]
    return ""


def json_after(text: str, key: str, opening: str) -> tuple[Any, str]:
    """The JSON value that begins with `opening` right behind `key`, and key and value as written; else None and ""."""
    at = text.find(key + opening)
    if at < 0:
        return None, ""
    try:
        value, end = json.JSONDecoder().raw_decode(text, at + len(key))
    except (ValueError, RecursionError):
        return None, ""
    return value, text[at:end]


def _other_adapters(info: Infotext, hashes: dict[tuple[str, str], str], named: set[str]) -> list[NamedFile]:
    """Adapters that stand in no tag: Fooocus' weights, the Additional Networks extension, Civitai's own generator."""
    found: list[NamedFile] = []
    for part in info.first("Lora weights").split(", "):
        name, colon, value = part.rpartition(": ")
        if colon:
            found.append(NamedFile(name, _hash_of(hashes, "lora", name), weight(value)))
    if not found:
        for part in info.first("Lora hashes").split(", "):
            entry = part.split(": ")
            if len(entry) == 3:
                found.append(NamedFile(entry[0], clean_hash(entry[1]), weight(entry[2])))
    for key, value in info.pairs:
        head = re.fullmatch(r"AddNet Model (\d{1,4})", key)
        if head and info.first(f"AddNet Module {head[1]}", "LoRA") == "LoRA" and value != "None":
            name, bracket, rest = value.rpartition("(")
            unet = weight(info.first(f"AddNet Weight A {head[1]}"))
            te = weight(info.first(f"AddNet Weight B {head[1]}"), unet)
            plain = name if bracket else value
            found.append(NamedFile(plain, clean_hash(rest.rstrip(")")), unet, None if te == unet else te))
    resources, _ = json_after(info.last_line, *_LISTS[1])
    for entry in resources if isinstance(resources, list) else ():
        if isinstance(entry, dict) and entry.get("type") in ("lora", "lycoris", "locon", "dora"):
            name = str(entry.get("modelName") or entry.get("air") or entry.get("modelVersionId") or "?")
            found.append(NamedFile(name[:200], "", weight(entry.get("weight"))))
    if len(named) >= len(found) and resources is not None and not info.first("Lora weights"):
        return []  # Civitai names again what stands in the tags
    return [one for one in found if one.name not in named]
