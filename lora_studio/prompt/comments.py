"""Comments: from `#` to the end of the line.

As AUTOMATIC1111 stable-diffusion-webui v1.10.1 does it (`strip_comments`,
https://github.com/AUTOMATIC1111/stable-diffusion-webui/blob/v1.10.1/modules/processing_scripts/comments.py): first
comments that begin a line, with the line break before them, then those in the middle of a line, with the line break
after them; each leaves one line break. There is no escape for `#`.

It does not know styles, which come before, nor tags, which come after.
"""

from __future__ import annotations

import re

from lora_studio.prompt.source import Place, SourceText, join

_WHOLE_LINE = re.compile(r"(?:^|\n)#[^\n]*+(?:\n|$)")
_REST_OF_LINE = re.compile(r"#[^\n]*+(?:\n|$)")


def strip_comments(text: SourceText) -> tuple[SourceText, tuple[Place, ...]]:
    """The text without its comments, and where they stood in what was typed (each with its `#`, without breaks)."""
    if "#" not in text.text:
        return text, ()
    places: list[Place] = []
    for pattern in (_WHOLE_LINE, _REST_OF_LINE):
        text = _without(text, pattern, places)
    return text, tuple(sorted(places, key=lambda place: place.start))


def _without(text: SourceText, pattern: re.Pattern[str], places: list[Place]) -> SourceText:
    """`text` with each match of `pattern` made one line break; `places` gains what was typed of each."""
    slices: list[tuple[int, int]] = []
    done, length = 0, len(text.text)
    for match in pattern.finditer(text.text):
        start, end = match.span()
        ends_line = text.text[end - 1] == "\n"
        begins_line = text.text[start] == "\n"
        places += text.cut(start + begins_line, end - ends_line).places()
        # the line break that stays is the one after the comment, else the one before it
        slices += [(done, start), (end - 1, end) if ends_line else (start, start + begins_line)]
        done = end
    if slices and not (ends_line or begins_line):  # a comment that ends the text and has no break of its own
        return join([text.take(slices), SourceText.foreign("\n"), text.cut(done, length)])
    return text.take([*slices, (done, length)])
