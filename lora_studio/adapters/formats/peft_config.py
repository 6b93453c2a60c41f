"""What stands beside a peft file: `adapter_config.json` says rank, alpha, rsLoRA, and patterns for single layers.

diffusers writes the same facts as JSON into the file's own header (`lora_adapter_metadata`). A peft file without either
has no alpha: its layers are read with alpha = rank, and the report says so.

peft runs the patterns as regular expressions. A file's text is never run here, because one can be written that takes
longer than the universe: a pattern is names with full stops, `.*`, `|` between them, `^` before and `$` behind, which
is what peft and diffusers write; a full stop is one, not any sign. Other patterns are refused.

Source: huggingface/peft src/peft/tuners/lora/config.py; peft/utils/other.py (`get_pattern_key`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_studio.headers.reasons import ReasonError

NAME = "adapter_config.json"
LARGEST = 2**20
"""Bytes of a config that is read."""
MOST_TERMS = 64
"""Terms of OFT's series; peft's default is 5, and each is a product of matrices."""
MOST_WILD, MOST_PIECES = 16, 8
"""Patterns of one table that are held against every layer (others are looked up), and the pieces of one of these."""
_PATTERN = re.compile(r"\^?(?:[\w-]|\\?\.|\.\*)+\$?")
_NEEDED = (
    "peft_type",
    "r",
    "lora_alpha",
    "alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "use_cayley_neumann",
    "num_cayley_neumann_terms",
)


class ConfigError(ReasonError):
    """A config that cannot be read; its `reason` continues "it is no usable LoRA: "."""


class PeftConfig:
    """One component's settings."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        """Raises `ConfigError` for values of the wrong kind."""
        self.kind = str(data.get("peft_type", "LORA")).upper()
        self.rank = _number(data, "r", 8)
        self.alpha = _number(data, "lora_alpha", _number(data, "alpha", 8))
        self.rslora = bool(data.get("use_rslora", False))
        self.neumann = _terms(data) if data.get("use_cayley_neumann", True) else 0
        self._ranks = _Patterns(data, "rank_pattern")
        self._alphas = _Patterns(data, "alpha_pattern")

    def rank_of(self, path: str) -> float:
        """The rank that is said for a layer."""
        return self._ranks.of(path, self.rank)

    def alpha_of(self, path: str, rank: int) -> float:
        """The alpha that, divided by the rank, is the scale of a layer of `rank` directions.

        With rsLoRA the scale is alpha/√rank, so that the alpha of a plain LoRA would be alpha·√rank.
        """
        alpha = self._alphas.of(path, self.alpha)
        return alpha * math.sqrt(rank) if self.rslora else alpha


def beside(path: Path) -> str:
    """The text of the config in the file's folder, "" where there is none."""
    place = path.parent / NAME
    if not place.is_file():
        return ""
    if place.stat().st_size > LARGEST:
        raise ConfigError("config_large", name=NAME, count=place.stat().st_size)
    return place.read_text(encoding="utf-8", errors="replace")


def in_text(text: str) -> Mapping[str, PeftConfig]:
    """The config of a text, for every component (""); {} for an empty one."""
    return {"": PeftConfig(_table(text[:LARGEST], NAME))} if text else {}


def compact(text: str) -> str:
    """What of a config is needed for reading, for a header: no paths and no names of bases."""
    data = _table(text[:LARGEST], NAME)
    kept = {key: data[key] for key in sorted(_NEEDED) if data.get(key) is not None}
    return json.dumps(kept)  # patterns keep their order: the first that fits counts


def in_header(metadata: Mapping[str, str]) -> Mapping[str, PeftConfig]:
    """The configs in a header: `unet.r`, `text_encoder.lora_alpha` ... in one table, by component."""
    text = metadata.get("lora_adapter_metadata")
    if not text:
        return {}
    parted: dict[str, dict[str, Any]] = {}
    for key, value in _table(text[:LARGEST], "lora_adapter_metadata").items():
        component, dot, name = str(key).partition(".")
        parted.setdefault(component if dot else "", {})[name if dot else component] = value
    return {component: PeftConfig(data) for component, data in parted.items()}


def _table(text: str, where: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError("config_json", name=where) from None
    if not isinstance(data, dict):
        raise ConfigError("config_table", name=where)
    return data


def _number(data: Mapping[str, Any], key: str, default: float) -> float:
    """A number of 0 or more. Raises `ConfigError`."""
    value = data.get(key)
    if value is None:
        return float(default)
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:  # JSON's whole numbers have no end
        number = math.inf
    if not math.isfinite(number) or number < 0:
        raise ConfigError("config_value", name=_said(key), found=_said(value))
    return number


def _said(value: object) -> str:
    """A value for a sentence, cut, without signs that cannot be shown."""
    text = str(value)[:40]
    return text if text.isprintable() else repr(text)


def _terms(data: Mapping[str, Any]) -> int:
    """How many terms OFT's series has. Raises `ConfigError`."""
    terms = _number(data, "num_cayley_neumann_terms", 5)
    if not terms.is_integer() or terms > MOST_TERMS:
        raise ConfigError("config_value", name="num_cayley_neumann_terms", found=f"{terms:g}")
    return int(terms)


class _Patterns:
    """Numbers for single layers by patterns of their names: as in peft the first that a name is, or ends with after a
    full stop."""

    def __init__(self, data: Mapping[str, Any], key: str) -> None:
        """Raises `ConfigError` for what is no table of numbers, and for patterns that are not read here."""
        value = data.get(key) or {}
        if not isinstance(value, dict):
            raise ConfigError("config_value", name=key, found=_said(value))
        self._plain: dict[str, tuple[int, float]] = {}
        self._wild: list[tuple[int, float, bool, list[str]]] = []
        for place, pattern in enumerate(value):
            number = _number(value, pattern, 0)
            for one in pattern.split("|"):
                if not _PATTERN.fullmatch(one) or not self._add(place, number, one):
                    raise ConfigError("config_value", name=key, found=_said(pattern))

    def _add(self, place: int, number: float, pattern: str) -> bool:
        """Take a pattern in; False where there are too many."""
        pieces = [piece.replace("\\.", ".") for piece in pattern.removeprefix("^").removesuffix("$").split(".*")]
        whole = pattern.startswith("^")
        if len(pieces) > 1:
            self._wild.append((place, number, whole, pieces))
        else:
            self._plain.setdefault(f"^{pieces[0]}" if whole else pieces[0], (place, number))
        return len(self._wild) <= MOST_WILD and len(pieces) <= MOST_PIECES

    def of(self, path: str, default: float) -> float:
        """The number of a layer."""
        endings = (path[at + 1 :] for at, sign in enumerate(path) if sign == ".") if self._plain else ()
        found = [self._plain[name] for name in (f"^{path}", path, *endings) if name in self._plain]
        found += [(place, number) for place, number, whole, pieces in self._wild if _is(path, whole, pieces)]
        return min(found)[1] if found else default


def _is(path: str, whole: bool, pieces: list[str]) -> bool:
    """True where a path, or unless `whole` what of it stands behind a full stop, is the pieces with anything between.

    Each piece is taken where it stands first, which leaves the most for the others.
    """
    first, *others = pieces
    at = len(first) if path.startswith(first) else -1
    if at < 0 and not whole and (found := path.find(f".{first}")) >= 0:
        at = found + 1 + len(first)
    for piece in others[:-1]:
        found = path.find(piece, at) if at >= 0 else -1
        at = found + len(piece) if found >= 0 else -1
    return 0 <= at <= len(path) - len(others[-1]) and path.endswith(others[-1])
