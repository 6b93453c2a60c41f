"""What a picture's text asks for, in our own words: the one result of all readers.

A reader takes what it understands and says of the rest, by code, what it could not take. It never raises, and it does
not know which adapters exist: an adapter is named here as the file names it, by a label and the beginning of a hash.
Remarks are codes with values; `REMARKS` has the sentence of each.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from lora_studio.prompt.language import parse
from lora_studio.prompt.schedules import Counting
from lora_studio.types import GenerateRequest, describe
from lora_studio.types.mix import held

MAX_TEXT = 4_000_000
"""Characters of one text; workflows of ComfyUI with hundreds of nodes have some hundred thousand."""

REMARKS: Mapping[str, str] = {
    "damaged": "The text {what} inside is damaged or of another version and was not read.",
    "too_long": "A text inside has {given} characters; at most {allowed} are read; it was left out.",
    "value": "{field} is {given} there; allowed here is {allowed}; it was left out.",
    "sampler_other": "The sampler {given} is not here; yours stays.",
    "schedule_other": "The spacing of steps {given} is not here: the picture will differ.",
    "noise": "Its noise was drawn another way ({given}): the same seed gives another picture here.",
    "first_picture": "It began from another picture, which is not inside: from noise it will look different.",
    "not_acting": "These settings have no counterpart here: {names}.",
    "lora_weight": "The LoRA {name} has the weight {given} there; at most {allowed}, up or down, acts here.",
    "lora_places": "The LoRA {name} is named several times with different steps or blocks: those of the last one hold.",
    "schedule_later": "In {program} the first text of [a:b:5] or [a|b] holds one step longer: the picture will differ.",
    "prompt_dialect": "Its prompt weighs words in {program}'s own way; such marks are read as words here.",
    "prompt_acts": "Some signs in its prompt are plain words in {program} and act here: the picture will differ.",
    "texts_joined": "Its graph keeps several texts apart that are one text here: the picture will differ.",
    "styles": "Styles added words that are not inside: {names}.",
    "several_samplers": "It was made in {count} passes; only the first one was taken over.",
    "graph": "These steps of its graph are not known and were left out: {names}.",
    "no_settings": "There are words alone, without settings.",
}
"""What was not taken over: code and English sentence of each remark, with the values that it needs in braces."""

_SHOWN = 80
_HASH = re.compile(r"(?:0x|sha256:)?([0-9a-f]{8,64})")
_RANGES = {spec.name: spec for spec in describe(GenerateRequest)}
_KINDS: Mapping[str, type] = {
    "seed": int,
    "num_inference_steps": int,
    "width": int,
    "height": int,
    "clip_skip": int,
    "guidance_scale": float,
    "guidance_rescale": float,
    "strength": float,
}
_UNSAID: Mapping[str, int | float | bool] = {
    "clip_skip": 1,
    "guidance_rescale": 0.0,
    "pad_prompts": False,
    "old_scheduling": False,
    "dynamic": False,
}
"""What holds where a text of settings says nothing; emphasis is each program's own."""


@dataclass(frozen=True)
class Remark:
    """One thing that was not taken over; see `REMARKS`."""

    code: str
    values: Mapping[str, str | int | float] = field(default_factory=dict)

    def sentence(self, sentences: Mapping[str, str] = REMARKS) -> str:
        """In English words."""
        return sentences[self.code].format(**self.values)


@dataclass(frozen=True)
class NamedFile:
    """A LoRA or an embedding as a text names it.

    Attributes:
        name: as written, often the file's name without its ending.
        hash: the beginning of one of the file's hashes, 8 to 64 hex digits; empty where none is written.
        weight: of the UNet's part (of an embedding: 1).
        text_encoder_weight: of the text encoder's part; None is the same weight.
        start, stop: the part of the steps in which it acts on the picture, as shares of 0 to 1.
        lbw: block weights as written, "" where there are none (`lora_studio.prompt.block_weights`).
        blocks: block weights of the base that the text names (`AdapterWeight.blocks`), where they are known already.
    """

    name: str
    hash: str = ""
    weight: float = 1.0
    text_encoder_weight: float | None = None
    start: float = 0.0
    stop: float = 1.0
    lbw: str = ""
    blocks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What was understood.

    Attributes:
        program: which program's way of writing it is: lora_studio, a1111, forge, comfyui, invokeai, fooocus, sdnext,
            or empty where nothing was found.
        request: the exact request, where our own text holds one.
        prompt, negative: the words; None where the text has none.
        settings: fields of `GenerateRequest` by name, each within its range.
        adapters: the LoRAs, in order.
        embeddings: the embeddings that are named beside the words, with hashes as far as they are written.
        model: the base that it was made with.
        fields: the pairs as the program's own reader names them.
        remarks: what was not taken over.
    """

    program: str = ""
    request: GenerateRequest | None = None
    prompt: str | None = None
    negative: str | None = None
    settings: Mapping[str, int | float | str | bool] = field(default_factory=dict)
    adapters: tuple[NamedFile, ...] = ()
    embeddings: tuple[NamedFile, ...] = ()
    model: NamedFile | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()


class Draft:
    """A reading while it is made: settings that are checked as they come in, and remarks, each once."""

    def __init__(self) -> None:
        self.settings: dict[str, int | float | str | bool] = {}
        self.remarks: list[Remark] = []

    def remark(self, code: str, **values: str | int | float) -> None:
        """Note what was not taken over."""
        shown = {key: shorten(value) if isinstance(value, str) else value for key, value in values.items()}
        found = Remark(code, shown)
        if found not in self.remarks:
            self.remarks.append(found)

    def take(self, name: str, given: Any) -> None:
        """Take a number for the field `name`; None is no value, one that is not allowed is remarked on."""
        if given is None or given == "":
            return
        spec = _RANGES[name]
        value = number(given)
        if value is not None and _KINDS[name] is int:
            value = int(value) if float(value).is_integer() else None
        low = value is not None and (spec.minimum is None or value >= spec.minimum)
        high = value is not None and (spec.maximum is None or value <= spec.maximum)
        if value is None or not (low and high):
            self.remark("value", field=name, given=str(given), allowed=spec.allowed)
        else:
            self.settings[name] = value if _KINDS[name] is int else float(value)

    def close(self, found: bool = False, emphasis: str = "original") -> None:
        """What a text of settings does not say was off when its picture was made, whatever stands in a form here.

        Args:
            found: the text asks for something beside settings too; where it asks for nothing at all nothing is set.
            emphasis: the program's way where none is written.
        """
        if self.settings or found:
            for name, value in (*_UNSAID.items(), ("emphasis", emphasis)):
                self.settings.setdefault(name, value)


def acts_here(text: str, *, negative: bool = False, reading: str = "a1111", tags: bool = True) -> bool:
    """Whether signs act here that are plain words elsewhere: comments, AND, a weight at the end, schedules, brackets.

    Args:
        text: a prompt of another program.
        negative: it is the negative prompt.
        reading: how it will be read here; with comfy, brackets mean what they mean there.
        tags: `<lora:...>` is plain there.
    """
    read = parse(text, Counting(20), negative=negative, reading=reading)
    parted = len(read.parts) > 1 or any(part.changes or part.weight != 1 for part in read.parts)
    spans = [span for part in read.parts for segment in part.segments for span in segment.spans]
    weighed = reading != "comfy" and any(span.weight != 1 for span in spans)
    return bool(read.comments or (tags and read.tags) or parted or weighed)


def number(given: Any) -> int | float | None:
    """The finite number that `given` is or says, else None; whole numbers lose no digits."""
    if isinstance(given, bool):
        return None
    if isinstance(given, str):
        text = given.strip()[:64]
        if re.fullmatch(r"[+-]?[0-9]+", text):
            given = int(text)
        else:
            try:
                given = float(text)
            except ValueError:
                return None
    if isinstance(given, int):
        return given if abs(given) < 2**63 else None
    return given if isinstance(given, float) and math.isfinite(given) else None


def weight(given: Any, otherwise: float = 1.0) -> float:
    """A LoRA's weight within what a mix may have; `otherwise` where it is no number."""
    value = number(given)
    return otherwise if value is None else held(float(value))


def clean_hash(given: Any) -> str:
    """The hex digits of a hash in small letters; empty for anything that is none."""
    found = _HASH.fullmatch(given.strip().casefold()) if isinstance(given, str) else None
    return found[1] if found else ""


def stem(path: Any) -> str:
    """The name of a model file without folders and ending, whichever system wrote the path."""
    if not isinstance(path, str):
        return ""
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    return re.sub(r"\.(safetensors|ckpt|pt|pth|bin|gguf)\Z", "", name, flags=re.IGNORECASE).strip()


def shorten(text: str) -> str:
    """`text`, its end left out where it is long."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def valid(text: str) -> str:
    """`text` with halves of characters, which no UTF-8 can hold, made question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def parse_json(text: str) -> Any:
    """The JSON value, None where it is none (or nested beyond all sense)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def names(found: Iterable[str]) -> str:
    """Some names for a remark: at most eight, each once."""
    unique = list(dict.fromkeys(shorten(name) for name in found))
    return ", ".join(unique[:8]) + (" …" if len(unique) > 8 else "")
