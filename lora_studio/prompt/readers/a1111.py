"""A1111's `parameters` text, read as A1111 and Forge read it.

The reader is that of AUTOMATIC1111 stable-diffusion-webui v1.10.1 and of Forge (`modules/infotext_utils.py`,
`parse_generation_parameters`, and `modules/infotext_versions.py`): the last line counts as settings when it holds at
least three `Key: value`; each line is trimmed; the first line that begins with `Negative prompt:` begins the negative
prompt; keys that are missing get A1111's defaults; texts of versions before 1.6 with a `[` count schedules in the old
way. Their regular expression takes quadratic time on hostile lines; here the same pairs are found in linear time.

It does not know our own fields (`a1111_settings` does).
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from lora_studio.prompt.attention import parse_attention
from lora_studio.prompt.readers.reading import number, valid
from lora_studio.prompt.source import SourceText

_RUN = re.compile(r"[\w \-/]++")
_FIRST = re.compile(r"\w")
_BLANKS = re.compile(r"\s*+")
_QUOTED = re.compile(r'"(?:\\.|[^\\"])++"')
_SIZE = re.compile(r"(\d+)x(\d+)")
_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)(-?rc-?\d*)?(?:-(\d+))?", re.IGNORECASE)

_NEGATIVE = "Negative prompt:"

_DEFAULTS: tuple[tuple[str, Any], ...] = (
    ("Hires sampler", "Use same sampler"),
    ("Hires schedule type", "Use same scheduler"),
    ("Hires checkpoint", "Use same checkpoint"),
    ("Hires prompt", ""),
    ("Hires negative prompt", ""),
    ("Mask mode", "Inpaint masked"),
    ("Masked content", "original"),
    ("Inpaint area", "Whole picture"),
    ("Masked area padding", 32),
    ("RNG", "GPU"),
    ("Schedule type", "Automatic"),
    ("Schedule max sigma", 0),
    ("Schedule min sigma", 0),
    ("Schedule rho", 0),
    ("VAE Encoder", "Full"),
    ("VAE Decoder", "Full"),
    ("FP8 weight", "Disable"),
    ("Refiner switch by sampling steps", False),
)


class Infotext:
    """A text taken apart: `prompt`, `negative`, and `pairs`, the last line's keys and values with quotes taken off."""

    def __init__(self, text: str) -> None:
        *lines, last = valid(text).strip().split("\n")
        found = find_pairs(last)
        if len(found) < 3:
            lines.append(last)
            last, found = "", []
        self.last_line = last
        self.pairs: list[tuple[str, str]] = [(key, unquote(value)) for key, value in found if value]
        self._values = dict(self.pairs)
        parts: tuple[list[str], list[str]] = ([], [])
        negative = False
        for line in lines:
            line = line.strip()
            if line.startswith(_NEGATIVE):
                negative = True
                line = line[len(_NEGATIVE) :].strip()
            parts[negative].append(line)
        self.prompt, self.negative = (_joined(part) for part in parts)

    def first(self, key: str, default: str = "") -> str:
        """The value of `key`, the last where it stands twice, as A1111's dictionary has it."""
        return self._values.get(key, default)


def _joined(lines: list[str]) -> str:
    """Lines in a row; A1111 drops empty ones before the first that holds something."""
    start = next((index for index, line in enumerate(lines) if line), len(lines))
    return "\n".join(lines[start:])


def find_pairs(line: str) -> list[tuple[str, str]]:
    r"""Every `Key: value` of a line, values with their quotes.

    The same as findall of A1111's `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`.
    """
    found: list[tuple[str, str]] = []
    position = 0
    while run := _RUN.search(line, position):
        position = run.end()
        if not line.startswith(":", position):
            continue
        first = _FIRST.search(line, run.start(), position)
        if first is None or first.start() + 1 >= position:
            continue
        blanks = _BLANKS.match(line, position + 1)
        begin = blanks.end() if blanks else position + 1
        quoted = _QUOTED.match(line, begin)
        if quoted and (quoted.end() == len(line) or line[quoted.end()] == ","):
            end = quoted.end()
        else:
            comma = line.find(",", begin)
            end = len(line) if comma < 0 else comma
        found.append((line[first.start() : position], line[begin:end]))
        position = end + 1
    return found


def unquote(value: str) -> str:
    """A JSON string's text; anything else stays as it is."""
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    try:
        return valid(str(json.loads(value)))
    except ValueError:
        return value


def a1111_fields(info: Infotext) -> dict[str, Any]:
    """The pairs as A1111's reader names them, its defaults filled in."""
    fields: dict[str, Any] = {}
    for key, value in info.pairs:
        size = _SIZE.fullmatch(value)
        if size:
            fields[f"{key}-1"], fields[f"{key}-2"] = size.groups()
        else:
            fields[key] = value
    fields["Prompt"], fields["Negative prompt"] = info.prompt, info.negative
    fields.setdefault("Clip skip", "1")
    if "Hypernet" in fields:
        fields["Prompt"] += f"<hypernet:{fields['Hypernet']}:{fields.get('Hypernet strength', '1.0')}>"
    if "Hires resize-1" not in fields:
        fields["Hires resize-1"] = fields["Hires resize-2"] = 0
    _first_pass(fields)
    for key, default in _DEFAULTS:
        fields.setdefault(key, default)
    if fields["FP8 weight"] != "Disable":
        fields.setdefault("Cache FP16 weight for LoRA", False)
    if "Emphasis" not in fields and (_weighted(info.prompt) or _weighted(info.negative)):
        fields["Emphasis"] = "Original"
    _old_versions(fields)
    _modules(fields)
    return fields


def _weighted(text: str) -> bool:
    """True where some words have a weight other than 1."""
    spans, _ = parse_attention(SourceText.typed(text))
    return any(span.weight != 1.0 and span.text != "BREAK" for span in spans)


def _first_pass(fields: dict[str, Any]) -> None:
    """Texts of 2022 name the size of the first pass of hires fix apart; it is the size, the other is hires'."""
    first = [number(fields.get(f"First pass size-{side}")) for side in (1, 2)]
    size = [number(fields.get(f"Size-{side}", "512")) for side in (1, 2)]
    if None in first or None in size:
        return
    width, height = (int(side or 0) for side in size)
    small = [int(side or 0) for side in first]
    if 0 in small and width > 0 and height > 0:
        scale = math.sqrt(512 * 512 / (width * height))
        small = [math.ceil(scale * width / 64) * 64, math.ceil(scale * height / 64) * 64]
    fields["Size-1"], fields["Size-2"] = small
    fields["Hires resize-1"], fields["Hires resize-2"] = width, height


def version_of(text: str) -> tuple[tuple[int, ...], int, int] | None:
    """A1111's version as something to compare: numbers, 0 for a release candidate, commits since; None: no version."""
    long = re.match(r"([^-]+-[^-]+)-.*", text)
    found = _VERSION.fullmatch(long[1] if long else text)
    if found is None or len(found[1]) > 40:
        return None
    numbers = tuple(int(part) for part in found[1].split("."))
    return (*numbers, *(0,) * (4 - len(numbers))), 0 if found[2] else 1, int((found[3] or "0")[:9])


def _old_versions(fields: dict[str, Any]) -> None:
    """What A1111 switches on for texts of its older versions."""
    version = version_of(str(fields.get("Version", "")))
    if version is None:
        return
    if version < ((1, 6, 0, 0), 1, 0):
        if "[" in fields["Prompt"]:
            fields["Old prompt editing timelines"] = True
        if fields.get("Sampler") in ("DDIM", "PLMS"):
            fields["Pad conds v0"] = True
    if version < ((1, 7, 0, 0), 1, 225):
        fields["Downcast alphas_cumprod"] = True
    if version < ((1, 8, 0, 0), 1, 0) and fields.get("Refiner"):
        fields["Refiner switch by sampling steps"] = True


def _modules(fields: dict[str, Any]) -> None:
    """Forge gathers VAE and text encoders in lists."""
    vae = fields.pop("VAE", None)
    modules = [vae] if vae else [value for key, value in fields.items() if key.startswith("Module ")]
    if modules:
        fields["VAE/TE"] = modules
    same = fields.get("Hires Module 1", "Use same choices") == "Use same choices"
    fields["Hires VAE/TE"] = ["Use same choices"] if same else []
