"""Captions: reading them from files beside the pictures, the trigger word, and variants for training.

A caption is a list of tags divided by commas, or a sentence (one long tag). Variants are functions of a random
generator that `rng_for` makes from (seed, step, index) alone, so that a training that goes on after a stop sees what
it would have seen. It does not encode text: whoever caches encoded captions must encode the variants too.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from lora_studio.errors import DatasetError
from lora_studio.types import DatasetItem

SUFFIXES = (".txt", ".caption")
"""Endings of caption files; the first wins where a picture has both."""
MAX_BYTES = 65_536
GENERIC = ("1girl", "1boy", "no humans", "no", "humans", "solo", "hair", "eyes", "style", "background")
"""Words that many sets have in common and that teach nothing."""

LONGEST_PHRASE = 4
"""Words of a trigger phrase that is read out of captions."""

_BOMS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read_caption(data: bytes, name: str, size: int = 0) -> str:
    """The caption in a file's bytes: UTF-8, with or without a byte order mark; its lines become tags.

    Args:
        size: bytes of the whole file, where `data` may be only its beginning.

    Raises:
        DatasetError: it is too long, or no UTF-8 text.
    """
    size = max(size, len(data))
    if size > MAX_BYTES:
        raise DatasetError(
            f"The caption file {name!r} has {size} bytes; at most {MAX_BYTES} are allowed; shorten it.",
            code="caption_too_long",
            name=name,
            given=str(size),
            allowed=str(MAX_BYTES),
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_text(name, _BOMS.get(data[:2], "")) from error
    if "\x00" in text:
        raise _not_text(name, "")
    return ", ".join(line for line in (line.strip().strip(",").strip() for line in text.splitlines()) if line)


def _not_text(name: str, guess: str) -> DatasetError:
    seems = f" (it seems to be {guess})" if guess else ""
    return DatasetError(
        f"The caption file {name!r} is not UTF-8 text{seems}; save it as UTF-8.",
        code="caption_not_utf8",
        name=name,
        guess=guess,
    )


def stem(name: str) -> str:
    """What a picture and its caption file have in common: folder and name without the ending."""
    return str(PurePosixPath(name.replace("\\", "/")).with_suffix(""))


def tags(caption: str) -> list[str]:
    """The tags of a caption, without spaces around them and without empty ones."""
    return [tag for tag in (part.strip() for part in caption.split(",")) if tag]


def has_trigger(caption: str, trigger: str) -> bool:
    """True when the trigger stands in the caption as whole words, in any case."""
    return re.search(_whole(trigger.casefold()), caption.casefold()) is not None


def _whole(words: str) -> str:
    """The regular expression that finds `words` where no letter or digit touches them."""
    return r"(?<!\w)" + re.escape(words.strip()) + r"(?!\w)"


def captions_for(items: Sequence[DatasetItem], trigger: str) -> list[str]:
    """The captions that are trained on, one for each item.

    Without a trigger captions stand as they are. With one it is put first unless it is present. A picture without a
    caption trains on the trigger alone.

    Raises:
        DatasetError: a picture has no caption and there is no trigger; the sentence names it and asks for one of the
            two.
    """
    word = trigger.strip()
    bare = [item.source or item.sha256[:12] for item in items if not item.caption.strip()]
    if bare and not word:
        others = f" and {len(bare) - 1} more" if len(bare) > 1 else ""
        have = "have" if others else "has"
        raise DatasetError(
            f"{bare[0]!r}{others} {have} no caption and no trigger word was given; write captions or a trigger word.",
            code="caption_or_trigger",
            name=bare[0],
            count=len(bare),
        )
    return [_with_trigger(item.caption.strip(), word) for item in items]


def _with_trigger(caption: str, word: str) -> str:
    if not word or (caption and has_trigger(caption, word)):
        return caption
    return f"{word}, {caption}" if caption else word


def renamed(caption: str, trigger: str, name: str) -> str:
    """The caption with `name` where `trigger` stands as whole words, in any case; the same where it stands nowhere."""
    return re.sub(_whole(trigger), lambda _: name, caption, flags=re.IGNORECASE)


def common_words(captions: Sequence[str], known: Sequence[str] = (), ignored: Sequence[str] = GENERIC) -> str:
    """The longest run of words within one tag that every caption has: what a set teaches, where nobody says it.

    Of runs of one length the one that stands first in the first caption. Words that say nothing of their own
    (`ignored`, e.g. 1girl) do not count; "" when there is no such run.

    Args:
        known: tags that the base has learnt already; what stands within one of them does not count either.
    """
    runs = [_runs(caption) for caption in captions]
    shared = set.intersection(*map(set, runs)) if runs else set()
    new = shared - set(ignored) - {run for tag in known for run in _runs(tag)}
    first = [run for run in (runs[0] if runs else ()) if run in new]
    return max(first, key=lambda run: len(run.split()), default="")


def trigger_phrase(captions: Sequence[str], known: Sequence[str]) -> str:
    """What a file may say of the words that call it, where no trigger word was chosen: `common_words` of a set that
    tells them apart from what else its captions say; "" otherwise.

    A file goes to other people, captions do not: one picture, a run of more than `LONGEST_PHRASE` words (a sentence)
    and a run that is somebody's whole caption say nothing.
    """
    words = common_words(captions, known) if len(captions) > 1 else ""
    whole = {" ".join(caption.casefold().replace("_", " ").split()) for caption in captions}
    return "" if len(words.split()) > LONGEST_PHRASE or words in whole else words


def _runs(caption: str) -> dict[str, None]:
    """All runs of words within the caption's tags, in lower case, in the order in which they begin."""
    found: dict[str, None] = {}
    for tag in tags(caption):
        words = tag.casefold().replace("_", " ").split()
        for start in range(len(words)):
            for end in range(start + 1, len(words) + 1):
                found[" ".join(words[start:end])] = None
    return found


def rng_for(seed: int, step: int, index: int) -> random.Random:
    """The generator of picture `index` of the batch at `step` (both from 0): the same for the same three numbers."""
    digest = hashlib.sha256(f"caption/{seed}/{step}/{index}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))


def variant(
    caption: str,
    rng: random.Random,
    *,
    shuffle: float = 0.0,
    dropout: float = 0.0,
    keep_tokens: int = 1,
    shortest: float = 0.35,
) -> str:
    """One variant of a caption.

    Args:
        shuffle: share (0 to 1) of the variants whose tags are shuffled and shortened.
        dropout: share (0 to 1) of the variants that are empty.
        keep_tokens: how many tags stay first and are never cut (the trigger word is the first).
        shortest: smallest share (0 to 1) of the other tags that shortening leaves.
    """
    dropped, shuffled, length = rng.random(), rng.random(), rng.random()  # drawn in any case: settings are independent
    if dropped < dropout:
        return ""
    if shuffled >= shuffle:
        return caption
    parts = tags(caption)
    first, rest = parts[:keep_tokens], parts[keep_tokens:]
    rng.shuffle(rest)
    kept = math.ceil(len(rest) * (shortest + (1 - shortest) * length))
    return ", ".join(first + rest[:kept])
