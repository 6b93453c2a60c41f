"""Styles: named pieces of prompt, kept in A1111's CSV file and put around or behind what was typed.

As AUTOMATIC1111 stable-diffusion-webui v1.10.1 does it
(https://github.com/AUTOMATIC1111/stable-diffusion-webui/blob/v1.10.1/modules/styles.py): columns `name`, `prompt`
(old files: `text`) and `negative_prompt`, rows whose name begins with `#` are left out, a later row of a name wins.
Where a style holds `{prompt}`, every one of these is replaced by the prompt so far; else both are stripped and joined
by ", ". Different on purpose: a style that would make the prompt longer than `LONGEST` is not applied (styles with
several `{prompt}` double the text each time), and a broken file gives what can be read of it, with warnings.

It does not know folders; text comes in and goes out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lora_studio.prompt.notices import PromptWarning, warning
from lora_studio.prompt.source import SourceText, join

PLACEHOLDER = "{prompt}"

LONGEST = 100_000
"""Characters that a prompt with its styles may have."""


@dataclass(frozen=True)
class Style:
    """One row of a styles file."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""


def read_styles(text: str) -> tuple[tuple[Style, ...], tuple[PromptWarning, ...]]:
    """The styles of a CSV file's text, in the file's order, each name once; never raises."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), skipinitialspace=True)
    styles: dict[str, Style] = {}
    warnings: list[PromptWarning] = []
    while True:
        try:
            row = next(reader, None)
            columns = reader.fieldnames or ()
        except csv.Error:
            warnings.append(warning("style_file_row", line=reader.line_num, problem="csv"))
            break
        if row is None:
            break
        key = "prompt" if "prompt" in columns else "text"
        if "name" not in columns or key not in columns:
            shown = ", ".join(str(column) for column in columns)[:200]
            return (), (warning("style_file_columns", columns=shown),)
        name = row["name"]
        if not name:
            warnings.append(warning("style_file_row", line=reader.line_num, problem="name"))
        elif not name.startswith("#"):
            styles.pop(name, None)
            styles[name] = Style(name, row[key] or "", row.get("negative_prompt") or "")
    return tuple(styles.values()), tuple(warnings)


def write_styles(styles: Iterable[Style]) -> str:
    """The CSV text that A1111 reads (write it as UTF-8 with a byte order mark, as A1111 does)."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(("name", "prompt", "negative_prompt"))
    writer.writerows((s.name, s.prompt, s.negative_prompt) for s in styles)
    return stream.getvalue()


def choose_styles(styles: Iterable[Style], names: Sequence[str]) -> tuple[tuple[Style, ...], tuple[PromptWarning, ...]]:
    """The styles of these names in this order; for an unknown name an empty one, as in A1111, and a warning."""
    known = {style.name: style for style in styles}
    chosen = tuple(known.get(name, Style(name)) for name in names)
    return chosen, tuple(warning("style_unknown", name=name) for name in names if name not in known)


def apply_styles(
    text: SourceText, styles: Iterable[Style], *, negative: bool = False
) -> tuple[SourceText, tuple[PromptWarning, ...]]:
    """The prompt (or the negative one) with each style put around or behind it, in order."""
    warnings = []
    for style in styles:
        words = style.negative_prompt if negative else style.prompt
        length = len(words) + max(1, words.count(PLACEHOLDER)) * len(text.text)
        if length > LONGEST:
            warnings.append(warning("style_too_long", name=style.name, length=length, allowed=LONGEST))
            continue
        text = _merge(words, text)
    return text, tuple(warnings)


def put_styles(
    texts: tuple[str, str], names: Sequence[str], known: Sequence[Style]
) -> tuple[tuple[str, str], list[PromptWarning]]:
    """Prompt and negative prompt with the styles of these names around them."""
    if not names:
        return texts, []
    styles, found = choose_styles(known, names)
    prompt, more = apply_styles(SourceText.typed(texts[0]), styles)
    negative, most = apply_styles(SourceText.typed(texts[1]), styles, negative=True)
    return (prompt.text, negative.text), [*found, *more, *most]


def _merge(style: str, text: SourceText) -> SourceText:
    """One style and the prompt so far."""
    if PLACEHOLDER in style:
        parts: list[SourceText] = []
        for number, words in enumerate(style.split(PLACEHOLDER)):
            parts += [text] * (number > 0) + [SourceText.foreign(words)] * bool(words)
        return join(parts)
    stripped = text.text.strip()
    start = len(text.text) - len(text.text.lstrip()) if stripped else 0
    prompt = text.cut(start, start + len(stripped))
    style = style.strip()
    if not style:
        return prompt
    return join([prompt, SourceText.foreign(", " + style)]) if stripped else SourceText.foreign(style)
