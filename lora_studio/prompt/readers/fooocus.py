"""Fooocus' own JSON (scheme "fooocus", chunk `parameters`), and its log with labels as keys.

Keys as in Fooocus' `modules/meta_parser.py`: `prompt`, `negative_prompt`, `resolution` as "(width, height)", `loras` as
[name, weight, sha256 (10 digits)], or `lora_combined_1`: "name : weight". Texts of its scheme "a1111" are read as
A1111's are, and hold the words of its styles; in this one the styles add words that are not in `prompt`. It weighs
words as ComfyUI does, with A1111's mean restored, and knows `<lora:...>`.
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
    stem,
    valid,
    weight,
)
from lora_studio.prompt.readers.samplers import take_sampler

_WITHOUT = ("sharpness", "adm_guidance", "refiner_model", "freeu", "adaptive_cfg", "inpaint_mode")


def is_fooocus(data: Any) -> bool:
    """True for a table with Fooocus' keys (or their labels, as its log has them)."""
    return isinstance(data, dict) and any(key in data for key in ("base_model", "Base Model", "full_prompt"))


def read_fooocus(data: Any) -> Reading:
    """What Fooocus' JSON asks for. Never raises."""
    given = data if isinstance(data, dict) else {}
    found = {str(key).casefold().replace(" ", "_"): value for key, value in given.items()}
    draft = Draft()
    for name, key in (("seed", "seed"), ("num_inference_steps", "steps"), ("guidance_scale", "guidance_scale")):
        draft.take(name, found.get(key))
    size = re.fullmatch(r"\(\s*'?(\d{1,6})'?\s*,\s*'?(\d{1,6})'?\s*\)", str(found.get("resolution", "")))
    if size:
        draft.take("width", size[1])
        draft.take("height", size[2])
    skip = found.get("clip_skip")
    draft.take("clip_skip", skip)
    take_sampler(draft, found.get("sampler"), found.get("scheduler"))
    styles = re.findall(r"'([^']{1,100})'|\"([^\"]{1,100})\"", str(found.get("styles", "")))
    if styles:
        draft.remark("styles", names=names(one or other for one, other in styles))
    without = [key for key in _WITHOUT if found.get(key) not in (None, "", "None")]
    if without:
        draft.remark("not_acting", names=names(without))
    draft.remark("noise", given="GPU")
    prompt, base = _words(found.get("prompt")), found.get("base_model")
    texts = (prompt or "", _words(found.get("negative_prompt")) or "")
    acts = [acts_here(text, negative=bool(no), reading="comfy", tags=False) for no, text in enumerate(texts)]
    if any(acts) or any("[" in text for text in texts):
        draft.remark("prompt_acts", program="Fooocus")
    draft.close(bool(prompt))
    return Reading(
        program="fooocus",
        prompt=prompt,
        negative=_words(found.get("negative_prompt")),
        settings=draft.settings,
        adapters=tuple(_loras(found)),
        model=NamedFile(stem(base), clean_hash(found.get("base_model_hash"))) if isinstance(base, str) else None,
        fields=given,
        remarks=tuple(draft.remarks),
    )


def _words(value: Any) -> str | None:
    return valid(value) if isinstance(value, str) else None


def _loras(found: dict[str, Any]) -> list[NamedFile]:
    """The list with hashes, else the single entries; `True : name : weight` says that it was switched on."""
    listed = found.get("loras")
    if isinstance(listed, list) and listed:
        whole = [entry for entry in listed if isinstance(entry, list) and len(entry) >= 2]
        return [
            NamedFile(stem(e[0]), clean_hash(e[2]) if len(e) > 2 else "", weight(e[1])) for e in whole if stem(e[0])
        ]
    adapters = []
    for key, value in found.items():
        if re.fullmatch(r"lora(_combined)?_\d{1,3}", key) and isinstance(value, str):
            parts = value.split(" : ")
            if len(parts) >= 2 and parts[0] != "False" and parts[-2] != "None":
                adapters.append(NamedFile(stem(parts[-2]), "", weight(parts[-1])))
    return adapters
