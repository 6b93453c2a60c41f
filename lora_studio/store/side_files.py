"""What the files beside a LoRA say of it: A1111's `<stem>.json`, Civitai Helper's `<stem>.civitai.info`, a picture.

    cat.safetensors
    cat.json             "description", "sd version", "activation text", "preferred weight", "negative text", "notes"
    cat.civitai.info     "trainedWords", "baseModel", "description", "name" and "model": {"name", "description"}
    cat.preview.png      or .jpg, .jpeg, .webp; else cat.png ...

What is damaged is left out, with a warning that names the file; nothing here raises. HTML becomes plain text. It knows
no tables and no folders: it is handed texts.

Sources: AUTOMATIC1111/stable-diffusion-webui (extensions-builtin/Lora/ui_edit_user_metadata.py,
modules/ui_extra_networks.py: names of the side files); butaixianran/Stable-Diffusion-Webui-Civitai-Helper (the form of
.civitai.info, which is that of Civitai's API for a model version).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

from lora_studio.headers.adapter import family_named, split_words
from lora_studio.types.library import ADAPTER_SUFFIX

MAX_SIDE = 2_000_000
"""Bytes of a text beside a LoRA; longer ones are not read."""
MAX_PICTURE = 50_000_000
MOST_TEXT = 8_000
"""Characters of notes that are taken over."""

INFO = ".civitai.info"
PLAIN = ".json"
PICTURES = tuple(f"{middle}{end}" for middle in (".preview", "") for end in (".png", ".jpg", ".jpeg", ".webp"))
"""Endings of pictures, the preferred one first."""
ENDINGS = (INFO, PLAIN, *PICTURES)

_SAID = (
    ("side_damaged", "The file {file} beside it is damaged and was not read."),
    ("side_too_large", "The file {file} beside it is too large and was not read."),
    ("side_picture", "The picture {file} beside it cannot be shown."),
)
_HEAVIEST = 10.0
_BREAKS = ("br", "p", "div", "li", "tr", "h1", "h2", "h3", "h4", "ul", "ol")


@dataclass(frozen=True)
class SideFacts:
    """What texts beside a LoRA say; what they do not say is empty or None.

    `warnings` are {"code", "message", "values"} about texts that were left out.
    """

    words: tuple[str, ...] = ()
    weight: float | None = None
    notes: str = ""
    negative: str = ""
    title: str = ""
    family: str = ""
    warnings: tuple[dict[str, Any], ...] = ()

    def as_side(self) -> dict[str, Any]:
        """What an entry keeps of them under `side`."""
        told = {"title": self.title, "negative": self.negative, "warnings": list(self.warnings)}
        return {key: value for key, value in told.items() if value}


def side_names(stem: str, lower: Mapping[str, str]) -> dict[str, str]:
    """The files that lie beside `<stem>.safetensors`, by kind: plain, info, picture.

    Args:
        lower: names of a folder's files by the same in lower case (`str.casefold`).
    """
    found = {}
    for kind, endings in (("plain", (PLAIN,)), ("info", (INFO,)), ("picture", PICTURES)):
        for ending in endings:
            name = lower.get((stem + ending).casefold())
            if name is not None:
                found[kind] = name
                break
    return found


def side_of(name: str) -> tuple[str, str] | None:
    """Stem and kind of a file's name that may lie beside a LoRA, None for all others."""
    for ending in ENDINGS:
        if name.casefold().endswith(ending) and len(name) > len(ending):
            stem = name[: -len(ending)]
            stem = stem[: -len(ADAPTER_SUFFIX)] if stem.casefold().endswith(ADAPTER_SUFFIX) else stem
            return stem, {INFO: "info", PLAIN: "plain"}.get(ending, "picture")
    return None


def read_sides(plain: tuple[str, bytes | None] | None, info: tuple[str, bytes | None] | None) -> SideFacts:
    """Read the two texts, each given by its name and its bytes (None for one that could not be read).

    A1111's own text comes first: people write it by hand. Its weight 0 means that none was chosen.
    """
    warnings: list[dict[str, Any]] = []
    own, other = _table(plain, warnings), _table(info, warnings)
    model = other.get("model")
    model = model if isinstance(model, Mapping) else {}
    trained = other.get("trainedWords")
    trained = [word for word in trained if isinstance(word, str)] if isinstance(trained, list) else []
    weight = _weight(own.get("preferred weight"))
    notes = [
        _text(own.get("description")),
        _text(own.get("notes")),
        *(plain_text(_text(part)) for part in (other.get("description"), model.get("description"))),
    ]
    titles = [_text(model.get("name")), _text(other.get("name")) if model else ""]
    named = _text(own.get("sd version")) if _text(own.get("sd version")).casefold() != "unknown" else ""
    return SideFacts(
        words=split_words([_text(own.get("activation text"))]) or split_words(trained),
        weight=weight,
        notes=_cut("\n\n".join(dict.fromkeys(part for part in notes if part))),
        negative=_cut(_text(own.get("negative text"))),
        title=" · ".join(part for part in titles if part)[:200],
        family=family_named(named) or family_named(_text(other.get("baseModel"))),
        warnings=tuple(warnings),
    )


def remark(code: str, file: str) -> dict[str, Any]:
    """A remark about a file beside a LoRA: side_damaged, side_too_large or side_picture."""
    return {"code": code, "message": dict(_SAID)[code].replace("{file}", file), "values": {"file": file}}


def plain_text(html: str) -> str:
    """The words of an HTML text, a line for each block; scripts and styles left out."""
    reader = _Words()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Words(HTMLParser):
    """Collects what is to be read of a text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style"):
            self._silent += 1
        elif tag in _BREAKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._silent = max(0, self._silent - 1)
        elif tag in _BREAKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def _table(given: tuple[str, bytes | None] | None, warnings: list[dict[str, Any]]) -> Mapping[str, Any]:
    """The JSON object of a text; {} with a warning for what is none."""
    if given is None:
        return {}
    name, data = given
    if data is not None and len(data) > MAX_SIDE:
        warnings.append(remark("side_too_large", name))
        return {}
    try:
        found = json.loads((data or b"").decode("utf-8-sig"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        warnings.append(remark("side_damaged", name))
        return {}
    return found


def _text(value: Any) -> str:
    """A text that can be stored, "" for what is none."""
    return value.encode("utf-8", "replace").decode("utf-8").strip() if isinstance(value, str) else ""


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1].rstrip() + "…"


def _weight(value: Any) -> float | None:
    """A weight from -10 to 10 other than 0; texts are read as numbers."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else 0.0
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number and abs(number) <= _HEAVIEST else None
