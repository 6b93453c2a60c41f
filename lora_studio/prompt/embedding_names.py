"""Words of a text that are names of embeddings, or look like one.

Which words look like an embedding's name is told by their form, because nobody knows all names: `EasyNegativeV2`,
`badhandv4`, `ng_deepnegative_v1_75t` end in a version or join "neg" to other words; ordinary tags (`blue_eyes`,
`score_9`, `1girl`) do not.

It does not know files, tokens, nor which embeddings there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lora_studio.prompt.source import Place, SourceText

LONGEST = 80
"""Characters of a word that may be taken for a name."""

_WORD = re.compile(r"[^\W\d_][\w.-]*\w")
# What may be repeated takes all it can and gives nothing back (`*+`, `++`): the pieces can be parted in one way only,
# and a word that is none in the end would else be tried in more ways than there is time for.
_NAME_LIKE = re.compile(
    r".*[a-z][_-]?v(er(sion)?)?[_.-]?\d+([_.-]\w+)*+"  # badhandv4, EasyNegativeV2, ng_deepnegative_v1_75t
    r"|.*[a-z]{3}[_-]\d+t"  # deepnegative_75t
    r"|(?-i:.*[a-z0-9]Negative.*)|.*[_-]neg(ative)?([_-]\w+)?|neg(ative)?_\w+"  # EasyNegative, negative_hand-neg
    r"|bad[_-]?(hands?|dream|prompt|artist|pictures?|image)s?([_-]\w+)++|baddream|unrealisticdream",
    re.IGNORECASE,
)
_ORDINARY = re.compile(r"score_\d.*|negative_space", re.IGNORECASE)


def find_words(words: SourceText, names: Iterable[str]) -> list[tuple[str, Place | None]]:
    """Those of `names` that stand in the text as a word of their own, in any case, each once with its first place."""
    wanted = {name.casefold(): name for name in names}
    found: dict[str, Place | None] = {}
    for match in _WORD.finditer(words.text) if wanted else ():
        name = wanted.get(match.group().casefold())
        if name is not None and name not in found:
            found[name] = words.place(*match.span())
    return list(found.items())


def find_unknown_embeddings(words: SourceText, installed: Iterable[str]) -> list[tuple[str, Place | None]]:
    """Words that look like an embedding's name and begin with no installed one (that one is read there), each once."""
    begun = tuple(name.casefold() for name in installed if name)
    found: dict[str, tuple[str, Place | None]] = {}
    for match in _WORD.finditer(words.text):
        word = match.group()
        folded = word.casefold()
        if folded in found or len(word) > LONGEST or folded.startswith(begun):
            continue
        if _NAME_LIKE.fullmatch(word) and not _ORDINARY.fullmatch(word):
            found[folded] = (word, words.place(*match.span()))
    return list(found.values())
