"""Extra-network tags: `<lora:name:0.8>` and its kind, taken out of the text.

As AUTOMATIC1111 stable-diffusion-webui v1.10.1 reads them
(https://github.com/AUTOMATIC1111/stable-diffusion-webui/blob/v1.10.1/modules/extra_networks.py, `parse_prompt` and
`ExtraNetworkParams`; extensions-builtin/Lora/extra_networks_lora.py, `activate`): `<word:` up to the next `>`, split
at `:`, items with exactly one `=` are named. A LoRA is `name:te:unet:dyn` or `te=`, `unet=`, `dyn=`; unet is te where
it is not given, te is 1; names are not trimmed. The blanks around a tag stay.

Different on purpose: a LoRA tag that cannot be read is left out alone, with a warning (in A1111 one such tag turns
off all LoRAs); numbers that are not finite are refused and weights are held within 1e4.

`start=`, `stop=` (or `end=`), `step=a-b` and `lbw=` are those of hako-mikan/sd-webui-lora-block-weight
(scripts/lora_block_weight.py, `loradealer`, `denoiser_callback`): from step a on, and before step b. A number with a
decimal point, up to 1, is a share of all steps, as in a schedule: `stop=0.5` is the first half. (The extension's newer
versions make the number of a step of it: of 20 steps nine instead of ten.) What `lbw=` says is read by
`lora_studio.prompt.block_weights`. `lbwe=` and `x=` are read and do not act.

It does not know which adapters exist. The search is linear: a `<` looks for its `>` only while there is one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lora_studio.prompt.attention import clamp
from lora_studio.prompt.notices import PromptWarning, quote, warning
from lora_studio.prompt.source import Place, SourceText

_HEAD = re.compile(r"<(\w++):")

LORA_KINDS = ("lora", "lyco")
"""Kinds that name an adapter; `lyco` is A1111's second word for `lora` since LyCORIS is a part of it."""

UNSUPPORTED = ("hypernet",)
"""Kinds that A1111 knows and this program does not load."""

INACTIVE = ("lbwe", "x")
"""Options of A1111's extensions that are read and do not act."""

_LIMITS = {"start": "start", "stop": "stop", "end": "stop"}


@dataclass(frozen=True)
class Limit:
    """A place among the steps: the number of a step (1 is the first), or a share of all."""

    value: float
    is_share: bool

    def share(self, steps: int) -> float:
        """The share of `steps` that lies before it, 0 to 1."""
        return max(0.0, min(1.0, self.value if self.is_share else (self.value - 1) / steps))


@dataclass(frozen=True)
class Tag:
    """One tag: `<kind:item:item...>`; `named` holds the items with exactly one `=`, the last of a name."""

    kind: str
    items: tuple[str, ...]
    positional: tuple[str, ...]
    named: Mapping[str, str]
    text: str
    place: Place | None


@dataclass(frozen=True)
class LoraTag:
    """What a `<lora:...>` or `<lyco:...>` tag comes to.

    Attributes:
        name: the adapter's name as typed, blanks included.
        te, unet: weights of the text encoder's and the UNet's part, within ±1e4.
        dyn: the rank to cut to, or None.
        start, stop: where it begins to act on the picture and where it ends, or None.
        lbw: block weights as typed, or None.
        place: of the whole tag in what was typed; None in a style.
        text: the whole tag as written.
    """

    name: str
    te: float
    unet: float
    dyn: int | None = None
    start: Limit | None = None
    stop: Limit | None = None
    lbw: str | None = None
    place: Place | None = None
    text: str = ""


def take_tags(text: SourceText) -> tuple[SourceText, tuple[Tag, ...]]:
    """The text without its tags, and the tags in order."""
    found = _find(text)
    if not found:
        return text, ()
    edges = [0, *(edge for _, span in found for edge in span), len(text.text)]
    kept = text.take(zip(edges[::2], edges[1::2], strict=True))
    return kept, tuple(tag for tag, _ in found)


def find_tags(text: SourceText) -> tuple[Tag, ...]:
    """The tags in order, the text left as it is."""
    return tuple(tag for tag, _ in _find(text))


def _find(text: SourceText) -> list[tuple[Tag, tuple[int, int]]]:
    """The tags and their spans in the text."""
    found: list[tuple[Tag, tuple[int, int]]] = []
    position = 0
    while head := _HEAD.search(text.text, position):
        close = text.text.find(">", head.end())
        if close < 0:
            break
        position = head.end()
        if close == head.end():
            continue
        position = close + 1
        span = (head.start(), position)
        items = text.text[head.end() : close].split(":")
        place = text.place(*span)
        found.append((_tag(head.group(1), items, text.text[slice(*span)], place), span))
    return found


def _tag(kind: str, items: list[str], text: str, place: Place | None) -> Tag:
    """Sort the items into positional and named ones."""
    positional = tuple(item for item in items if item.count("=") != 1)
    named = dict(item.split("=") for item in items if item.count("=") == 1)
    return Tag(kind, tuple(items), positional, named, text, place)


def networks(tags: tuple[Tag, ...]) -> dict[str, list[dict[str, object]]]:
    """The tags by kind as plain data: items, positional and named of each."""
    found: dict[str, list[dict[str, object]]] = {}
    for tag in tags:
        found.setdefault(tag.kind, []).append(
            {"items": list(tag.items), "positional": list(tag.positional), "named": dict(tag.named)}
        )
    return found


def read_loras(tags: tuple[Tag, ...]) -> tuple[tuple[LoraTag, ...], tuple[PromptWarning, ...]]:
    """What the tags ask for, and warnings for those that ask for what is not there."""
    loras: list[LoraTag] = []
    warnings: list[PromptWarning] = []
    for tag in tags:
        if tag.kind in LORA_KINDS:
            lora = _lora(tag, warnings)
            loras += [lora] if lora else []
        else:
            code = "tag_unsupported" if tag.kind in UNSUPPORTED else "tag_unknown"
            warnings.append(warning(code, tag.place, tag=quote(tag.text), kind=quote(tag.kind)))
    return tuple(loras), tuple(warnings)


def _lora(tag: Tag, warnings: list[PromptWarning]) -> LoraTag | None:
    """One `<lora:...>`; None with a warning where A1111 would raise."""

    def warn(code: str, **values: str) -> None:
        warnings.append(warning(code, tag.place, tag=quote(tag.text), **values))

    at = dict(enumerate(tag.positional))
    te_text = [text for text in (at.get(1), tag.named.get("te")) if text is not None]
    unet_text = [text for text in (at.get(2), tag.named.get("unet")) if text is not None]
    dyn_text = [text for text in (at.get(3), tag.named.get("dyn")) if text is not None]
    parts: list[float] = []
    for text in (*te_text, *unet_text):
        value = finite(text)
        if value is None:
            warn("tag_not_applied", part=quote(text))
            return None
        parts.append(value)
    ranks = [_whole(text) for text in dyn_text]
    if None in ranks or not at:
        warn("tag_not_applied", part=quote(dyn_text[ranks.index(None)]) if at else "")
        return None
    te = parts[: len(te_text)][-1] if te_text else 1.0
    unet = parts[-1] if unet_text else te
    limits: dict[str, Limit] = {}
    for option, text in tag.named.items():
        given = text.split("-") if option == "step" else [text]
        kinds = ["start", "stop"] if option == "step" else [_LIMITS[option]] if option in _LIMITS else []
        found = [limit for one in given if (limit := _limit(one)) is not None]
        if kinds and len(found) == len(given) == len(kinds):
            limits |= zip(kinds, found, strict=True)
        elif kinds:
            warn("tag_option_unreadable", option=quote(f"{option}={text}"))
        elif option in INACTIVE:
            warn("tag_option_inactive", option=quote(f"{option}={text}"))
        elif option not in ("te", "unet", "dyn", "lbw"):
            warn("tag_option_unknown", option=quote(f"{option}={text}"))
    return LoraTag(
        at[0],
        clamp(te, tag.place, warnings),
        clamp(unet, tag.place, warnings),
        ranks[-1] if ranks else None,
        limits.get("start"),
        limits.get("stop"),
        tag.named.get("lbw"),
        tag.place,
        tag.text,
    )


def without_loras(prompt: str) -> str:
    """The prompt without LoRA tags that somebody typed: what acts is a request's list, written once."""
    places = [tag.place for tag in find_tags(SourceText.typed(prompt)) if tag.kind in LORA_KINDS]
    edges = [0, *(edge for place in places if place for edge in (place.start, place.end)), len(prompt)]
    return "".join(prompt[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True))


def shares(lora: LoraTag, steps: int) -> tuple[float, float]:
    """The part of `steps` in which a tag's adapter acts on the picture, as shares of 0 to 1; no step where the tag has
    its end before its beginning."""
    start = 0.0 if lora.start is None else lora.start.share(steps)
    stop = 1.0 if lora.stop is None else lora.stop.share(steps)
    return start, max(start, stop)


def _limit(text: str) -> Limit | None:
    """A number of a step or, with a decimal point, a share; None where it is neither."""
    value = finite(text)
    if value is None or value < 0:
        return None
    is_share = "." in text and value <= 1
    return Limit(value, is_share) if is_share or value.is_integer() else None


def finite(text: str) -> float | None:
    """The number, or None where it is none or not finite."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _whole(text: str) -> int | None:
    """The whole number, or None where it is none."""
    try:
        return int(text)
    except ValueError:
        return None
