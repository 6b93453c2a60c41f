"""The sentences of the screens in two languages: `strings/en.json` and `strings/zh.json`, with equal keys.

Pages fetch the file of their language; Python needs them for the words that native widgets begin with, and tests
for comparing. `{name}` in a text is filled in.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "zh")
FOLDER = Path(__file__).resolve().parent / "strings"


def strings(lang: str) -> dict[str, str]:
    """All texts of one language."""
    return dict(json.loads((FOLDER / f"{lang}.json").read_text(encoding="utf-8")))


def t(lang: str, key: str, **values: Any) -> str:
    """One text of one language, filled in. Raises `KeyError` for a key that is not there."""
    text = strings(lang)[key]
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text
