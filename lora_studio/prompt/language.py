"""The A1111 prompt language from end to end: one text in, everything that was understood out.

The order is that of AUTOMATIC1111 stable-diffusion-webui v1.10.1
(https://github.com/AUTOMATIC1111/stable-diffusion-webui/blob/v1.10.1/modules/processing.py): styles, comments, tags,
then AND, then the schedules of each part, then the weights of each text. A negative prompt is neither searched for tags
nor parted at AND. Never raises on any text: what cannot be read stays as it stands, and a warning says so
(`lora_studio.prompt.notices` lists them).

It does not know tokens (`lora_studio.prompt.chunks` cuts a text's spans), adapters or embeddings, wildcards, nor how
long a prompt may be. The work is linear in the length of the text and of all texts of its schedules: each different
text is weighed once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lora_studio.prompt.attention import Span, parse_attention
from lora_studio.prompt.comfy import parse_comfy
from lora_studio.prompt.comments import strip_comments
from lora_studio.prompt.composition import Weighted, split_and
from lora_studio.prompt.fullwidth import find_full_width
from lora_studio.prompt.notices import PromptWarning, gather, quote, warning
from lora_studio.prompt.schedules import Change, Counting, parse_schedule
from lora_studio.prompt.source import Place, SourceText
from lora_studio.prompt.styles import Style, apply_styles
from lora_studio.prompt.tags import LoraTag, Tag, find_tags, read_loras, take_tags

Weigh = Callable[[SourceText], tuple[tuple[Span, ...], tuple[PromptWarning, ...]]]
"""A reading of weights: `parse_attention` (A1111's) or `parse_comfy`."""

_SPECIAL = re.compile(r"[\\()\[\]]|:(?=[\s\d.+-])")

READINGS = ("a1111", "comfy")


@dataclass(frozen=True)
class Segment:
    """One text of a schedule: it holds until `last_step` (from 1, inclusive); `spans` are its words with weights."""

    last_step: int
    words: SourceText
    spans: tuple[Span, ...]

    @property
    def text(self) -> str:
        """The text before its weights are read."""
        return self.words.text


@dataclass(frozen=True)
class Part:
    """One prompt of an AND (or the only one): its weight, its texts over the steps, the schedules they come from."""

    words: SourceText
    weight: float
    segments: tuple[Segment, ...]
    changes: tuple[Change, ...]

    def at_step(self, step: int) -> Segment:
        """The segment that holds at `step` (from 1); the last one holds beyond its end."""
        return next((s for s in self.segments if step <= s.last_step), self.segments[-1])


@dataclass(frozen=True)
class ParsedPrompt:
    """Everything that was understood of a prompt.

    Attributes:
        typed: the text as it was given; all places count its characters.
        words: the text after styles, comments and tags.
        comments: places of the comments.
        tags: all tags in order, of every kind; `lora_studio.prompt.tags.networks` shows them as plain data.
        loras: what the `<lora:...>` tags come to, in order; the same name may come twice.
        parts: of AND, at least one.
        warnings: what to tell the person.
    """

    typed: str
    words: SourceText
    comments: tuple[Place, ...]
    tags: tuple[Tag, ...]
    loras: tuple[LoraTag, ...]
    parts: tuple[Part, ...]
    warnings: tuple[PromptWarning, ...]

    @property
    def text(self) -> str:
        """The text after styles, comments and tags."""
        return self.words.text


def parse(
    text: str,
    counting: Counting,
    *,
    negative: bool = False,
    styles: Sequence[Style] = (),
    reading: str = "a1111",
) -> ParsedPrompt:
    """Read a prompt.

    Args:
        text: any text.
        counting: the steps that schedules are counted in.
        negative: it is the negative prompt: no tags, no AND.
        styles: those chosen, in order (`lora_studio.prompt.styles.choose_styles`).
        reading: of the weights, one of `READINGS`.
    """
    weigh: Weigh = parse_comfy if reading == "comfy" else parse_attention
    warnings = list(find_full_width(text))
    words, found = apply_styles(SourceText.typed(text), styles, negative=negative)
    warnings += found
    words, comments = strip_comments(words)
    tags: tuple[Tag, ...] = ()
    loras: tuple[LoraTag, ...] = ()
    parted: tuple[Weighted, ...] = (Weighted(words, 1.0),)
    if negative:
        warnings += [warning("tag_in_negative", t.place, tag=quote(t.text)) for t in find_tags(words)]
    else:
        words, tags = take_tags(words)
        loras, found = read_loras(tags)
        warnings += found
        parted, found = split_and(words)
        warnings += found
    parts = tuple(_part(part, counting, weigh, warnings) for part in parted)
    return ParsedPrompt(text, words, comments, tags, loras, parts, gather(warnings))


def escape(text: str) -> str:
    """`text` with backslashes, so that brackets are characters and `:3` at its end is no weight.

    For `#`, AND, BREAK and tags the language has no escape.
    """
    return _SPECIAL.sub(lambda found: ":\\" if found.group() == ":" else "\\" + found.group(), text)


def _part(part: Weighted, counting: Counting, weigh: Weigh, warnings: list[PromptWarning]) -> Part:
    """Schedules and weights of one part."""
    texts, changes, found = parse_schedule(part.words, counting)
    warnings += found
    weighed: dict[SourceText, tuple[Span, ...]] = {}
    for scheduled in texts:
        if scheduled.words not in weighed:
            weighed[scheduled.words], found = weigh(scheduled.words)
            warnings += found
    segments = tuple(Segment(scheduled.last_step, scheduled.words, weighed[scheduled.words]) for scheduled in texts)
    return Part(part.words, part.weight, segments, changes)
