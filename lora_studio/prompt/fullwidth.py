"""Full-width characters of Chinese and Japanese keyboards that look like the prompt language's own.

A1111 reads （red：1.3） as words. They are pointed out, and `to_half_width` changes them where the person asks for it;
nothing is changed unasked. The map is Unicode's (U+FF01..U+FF5E are U+0021..U+007E), for the characters that mean
something in a prompt.

It does not know what they would mean.
"""

from __future__ import annotations

from lora_studio.prompt.notices import PromptWarning, warning
from lora_studio.prompt.source import Place

FULL_WIDTH = "（）［］：｜，＜＞＃＼"
"""Full-width forms of ( ) [ ] : | , < > # and the backslash."""

_OFFSET = 0xFEE0


def to_half_width(text: str) -> str:
    """`text` with the characters of `FULL_WIDTH` as the language knows them; its length stays."""
    return text.translate({ord(c): ord(c) - _OFFSET for c in FULL_WIDTH})


def find_full_width(text: str) -> tuple[PromptWarning, ...]:
    """One warning `full_width` at the first of these characters in what was typed, or none."""
    found = [(number, c) for number, c in enumerate(text) if c in FULL_WIDTH]
    if not found:
        return ()
    characters = "".join(dict.fromkeys(c for _, c in found))
    place = Place(found[0][0], found[0][0] + 1)
    return (warning("full_width", place, characters=characters, count=len(found)),)
