"""What stands beside a peft file: `adapter_config.json` says rank, alpha, rsLoRA, and patterns for single layers.

diffusers writes the same facts as JSON into the file's own header (`lora_adapter_metadata`). A peft file without either
has no alpha: its layers are read with alpha = rank, and the report says so.

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
        self.neumann = int(_number(data, "num_cayley_neumann_terms", 5)) if data.get("use_cayley_neumann", True) else 0
        self._ranks = _pattern(data, "rank_pattern")
        self._alphas = _pattern(data, "alpha_pattern")

    def rank_of(self, path: str) -> float:
        """The rank that is said for a layer."""
        return _by_pattern(self._ranks, path, self.rank)

    def alpha_of(self, path: str, rank: int) -> float:
        """The alpha that, divided by the rank, is the scale of a layer of `rank` directions.

        With rsLoRA the scale is alpha/√rank, so that the alpha of a plain LoRA would be alpha·√rank.
        """
        alpha = _by_pattern(self._alphas, path, self.alpha)
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
    return json.dumps({key: data[key] for key in _NEEDED if data.get(key) is not None}, sort_keys=True)


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
    value = data.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ConfigError("config_value", name=key, found=str(value)[:40])
    return float(value)


def _pattern(data: Mapping[str, Any], key: str) -> dict[str, float]:
    value = data.get(key) or {}
    if not isinstance(value, dict):
        raise ConfigError("config_value", name=key, found=str(value)[:40])
    return {str(name): _number(value, name, 0) for name in value}


def _by_pattern(patterns: Mapping[str, float], path: str, default: float) -> float:
    """As peft does it: the first pattern that the path is, or ends with after a dot."""
    for pattern, value in patterns.items():
        try:
            if re.match(rf"(.*\.)?({pattern})$", path):
                return value
        except re.error:
            if path == pattern or path.endswith("." + pattern):
                return value
    return default
