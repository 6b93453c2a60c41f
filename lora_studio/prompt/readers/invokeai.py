"""InvokeAI's metadata: the chunks `invokeai_metadata` (from 3.0 on) and `sd-metadata` (before).

Fields as in InvokeAI's `CoreMetadataInvocation` (`invokeai/app/invocations/metadata.py`) and in its 2.x
`metadata.py`. Its prompts are in compel's language, and its `clip_skip` counts the layers that are left out. Hashes of
its models are blake3, so its LoRAs are found by name.
"""

from __future__ import annotations

import re
from typing import Any

from lora_studio.prompt.readers.reading import (
    Draft,
    NamedFile,
    Reading,
    acts_here,
    clean_hash,
    names,
    number,
    valid,
    weight,
)
from lora_studio.prompt.readers.samplers import take_sampler

_WITHOUT = (
    "controlnets",
    "ipAdapters",
    "t2iAdapters",
    "hrf_enabled",
    "refiner_model",
    "seamless_x",
    "seamless_y",
    "vae",
    "regions",
)
"""Fields that change the picture and have no counterpart here."""

_MARKS = re.compile(r"\)(?:[-+]|\.?\d)|\w[-+]+(?=[\s,.)]|$)|\)?\.(?:and|blend|swap)\(")
"""compel's own signs (its doc/syntax.md): `word+`, `word--`, `(words)++`, `(words)1.1`, `("a", "b").and()`."""

_STYLES = ("positive_style_prompt", "negative_style_prompt")
"""The text for the second text encoder of Stable Diffusion XL, where it is another one."""

_SETTINGS = (
    ("seed", "seed"),
    ("num_inference_steps", "steps"),
    ("guidance_scale", "cfg_scale"),
    ("width", "width"),
    ("height", "height"),
)
"""Our names and theirs, in both of its notations."""


def read_invokeai(data: Any) -> Reading:
    """What `invokeai_metadata` asks for. Never raises."""
    found = data if isinstance(data, dict) else {}
    draft = Draft()
    for name, key in _SETTINGS:
        draft.take(name, found.get(key))
    draft.take("guidance_rescale", found.get("cfg_rescale_multiplier"))
    skipped = number(found.get("clip_skip"))
    draft.take("clip_skip", None if skipped is None else skipped + 1)
    take_sampler(draft, found.get("scheduler"))
    prompt, negative = (_words(found.get(key)) for key in ("positive_prompt", "negative_prompt"))
    _dialect(draft, prompt or "", negative or "")
    if found.get("rand_device", "cpu") != "cpu":
        draft.remark("noise", given=str(found["rand_device"]))
    if found.get("init_image") or not str(found.get("generation_mode") or "txt2img").endswith("txt2img"):
        draft.remark("first_picture")
    without = [key for key in _WITHOUT if found.get(key)]
    texts = zip(_STYLES, (prompt, negative), strict=True)
    without += [key for key, text in texts if found.get(key) not in (None, "", text)]
    if without:
        draft.remark("not_acting", names=names(without))
    loras = found.get("loras")
    adapters = [_lora(entry) for entry in loras if isinstance(entry, dict)] if isinstance(loras, list) else []
    draft.close(bool(prompt or adapters), "compel")
    return Reading(
        program="invokeai",
        prompt=prompt,
        negative=negative,
        settings=draft.settings,
        adapters=tuple(one for one in adapters if one.name),
        model=_model(found.get("model")),
        fields=found,
        remarks=tuple(draft.remarks),
    )


def read_old_invokeai(data: Any) -> Reading:
    """What `sd-metadata` asks for: the negative prompt stands in square brackets inside the prompt. Never raises."""
    found = data if isinstance(data, dict) else {}
    image = found.get("image")
    image = image if isinstance(image, dict) else {}
    given = image.get("prompt")
    first = given[0] if isinstance(given, list) and given else given
    text = _words(first.get("prompt") if isinstance(first, dict) else first) or ""
    positive, negative = _brackets(text)
    draft = Draft()
    for name, key in _SETTINGS:
        draft.take(name, image.get(key))
    take_sampler(draft, image.get("sampler"))
    if image.get("type", "txt2img") != "txt2img":
        draft.remark("first_picture")
    _dialect(draft, positive, negative)
    draft.close(bool(positive), "compel")
    model = _words(found.get("model_weights"))
    return Reading(
        program="invokeai",
        prompt=positive,
        negative=negative,
        settings=draft.settings,
        model=NamedFile(model, clean_hash(found.get("model_hash"))) if model else None,
        fields=found,
        remarks=tuple(draft.remarks),
    )


def _dialect(draft: Draft, prompt: str, negative: str) -> None:
    """Say that compel's signs are words here, or else that words of it are signs here."""
    if _MARKS.search(prompt) or _MARKS.search(negative):
        draft.remark("prompt_dialect", program="InvokeAI")
    elif acts_here(prompt) or acts_here(negative, negative=True):
        draft.remark("prompt_acts", program="InvokeAI")


def _brackets(text: str) -> tuple[str, str]:
    """The text outside of square brackets, and what stands inside of them."""
    outside: list[str] = []
    inside: list[str] = []
    place = 0
    while (opened := text.find("[", place)) >= 0 and (closed := text.find("]", opened)) >= 0:
        outside.append(text[place:opened])
        inside.append(text[opened + 1 : closed].strip())
        place = closed + 1
    outside.append(text[place:])
    return "".join(outside).strip(), ", ".join(part for part in inside if part)


def _words(value: Any) -> str | None:
    return valid(value) if isinstance(value, str) else None


def _lora(entry: dict[str, Any]) -> NamedFile:
    """3.x writes {"lora": {"model_name"}}, later versions {"model": {"name", "hash"}}."""
    model = _model(entry.get("model") or entry.get("lora"))
    named = model or NamedFile("")
    return NamedFile(named.name, named.hash, weight(entry.get("weight"), 0.75))


def _model(value: Any) -> NamedFile | None:
    if isinstance(value, str):
        return NamedFile(valid(value))
    if not isinstance(value, dict):
        return None
    name = _words(value.get("name") or value.get("model_name"))
    return NamedFile(name, clean_hash(value.get("hash"))) if name else None
