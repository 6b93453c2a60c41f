"""Sentences for codes where no page says them: events, the command line. The words are the pages' own files.

`sentence` fills the text of `lora_studio/ui/strings/<language>.json` under `notice.<code>` or `error.<code>`. It does
not import the screens, and does not know where the codes come from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parent / "ui" / "strings"


def sentence(code: str, values: Mapping[str, Any], lang: str = "en") -> str:
    """The sentence of a code; for a code without one the code and its values."""
    texts = _texts(lang)
    text = texts.get(f"notice.{code}") or texts.get(f"error.{code}")
    if text is None:
        return f"{code} {dict(values)}"
    values = _said(values, texts)
    for name, value in values.items():
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        text = text.replace("{" + name + "}", shown)
    return text


def _said(values: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """The values with the clause `why` in the language (`lora_studio.headers.reasons`)."""
    clause = texts.get(f"why.{values.get('why_code', '')}")
    if clause is None:
        return dict(values)
    return {**values, "why": clause.format(**values["why_values"])}


def _texts(lang: str) -> dict[str, str]:
    """All texts of one language."""
    return dict(json.loads((_FOLDER / f"{lang}.json").read_text(encoding="utf-8")))
