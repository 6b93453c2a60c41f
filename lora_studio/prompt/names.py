"""Finding by name: the adapter that a tag means, and words that look like the name of an embedding.

A tag's name is compared as typed, then in any case, then as other programs write it: without the characters that a
tag cannot hold, with `_` for everything but letters, digits, `.` and `-` (Civitai's reader asks for such names),
without folders and file endings. A1111 itself compares file names exactly and reports what it does not find.

Words that look like an embedding's name are told by their form, because nobody knows all names: `EasyNegativeV2`,
`badhandv4`, `ng_deepnegative_v1_75t` end in a version or join "neg" to other words; ordinary tags (`blue_eyes`,
`score_9`, `1girl`) do not.

It does not know files, nor which adapters or embeddings there are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lora_studio.prompt.source import Place, SourceText

_FORBIDDEN = re.compile(r'[:,<>\r\n"]+')
_UNSAFE = re.compile(r"[^\w.-]+|_+")
_SUFFIX = re.compile(r"\.(safetensors|pt|bin|ckpt)$", re.IGNORECASE)
_NEAR = 3

LONGEST = 80
"""Characters of a word that may be taken for a name; it also bounds the work on each word."""

_WORD = re.compile(r"[^\W\d_][\w.-]*\w")
_NAME_LIKE = re.compile(
    r".*[a-z][_-]?v(er(sion)?)?[_.-]?\d+([_.-]\w+)*"  # badhandv4, EasyNegativeV2, ng_deepnegative_v1_75t
    r"|.*[a-z]{3}[_-]\d+t"  # deepnegative_75t
    r"|(?-i:.*[a-z0-9]Negative.*)|.*[_-]neg(ative)?([_-]\w+)?|neg(ative)?_\w+"  # EasyNegative, negative_hand-neg
    r"|bad[_-]?(hands?|dream|prompt|artist|pictures?|image)s?([_-]\w+)+|baddream|unrealisticdream",
    re.IGNORECASE,
)
_ORDINARY = re.compile(r"score_\d.*|negative_space", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """Something that can be named in a prompt.

    Attributes:
        key: what it is known by here.
        name: its label.
        aliases: further names that it goes by, tried last.
        stem: the name of its file, by which A1111's prompts call it; "" where it has none.
        places: where the file lies (`Lora/style/ink.safetensors`), for names with a folder in them.
    """

    key: str
    name: str
    aliases: tuple[str, ...] = ()
    stem: str = ""
    places: tuple[str, ...] = ()


def find_named(asked: str, known: Sequence[Named]) -> Named | None:
    """What `asked` means: the first one with exactly that name, else the first that matches more loosely; or None."""
    return find_all(asked, known)[0]


def find_all(asked: str, known: Sequence[Named]) -> tuple[Named | None, tuple[Named, ...]]:
    """What `asked` means, and everything that has that name as a label or as a file's name.

    A label comes before the names of files; where no label but several files have the name, none is meant.
    """
    placed = {one.key: one for one in known if any(_is_place(place, asked) for place in one.places)}
    if placed:
        return _only(placed)
    for form in (str, str.casefold, _plain, _safe):
        for wanted in dict.fromkeys((asked, _stem(asked))):
            labelled = [one for one in known if form(one.name) == form(wanted)][:1]
            filed = {one.key: one for one in known if one.stem and form(one.stem) == form(wanted)}
            if labelled:
                return labelled[0], tuple(({labelled[0].key: labelled[0]} | filed).values())
            if filed:
                return _only(filed)
    for one in known:
        if any(_safe(alias) == _safe(_stem(asked)) for alias in one.aliases):
            return one, (one,)
    return None, ()


def _only(found: dict[str, Named]) -> tuple[Named | None, tuple[Named, ...]]:
    """The one that was found, none where there are several."""
    every = tuple(found.values())
    return (every[0] if len(every) == 1 else None), every


def _is_place(place: str, asked: str) -> bool:
    """True for `style/ink` where the file lies at `Lora/style/ink.safetensors`."""
    wanted = _SUFFIX.sub("", asked.replace("\\", "/")).strip("/").casefold()
    return "/" in wanted and f"/{_SUFFIX.sub('', place).casefold()}".endswith("/" + wanted)


def near_names(asked: str, known: Iterable[Named]) -> list[str]:
    """Up to three names that look like what was asked for, the nearest first."""
    by_form: dict[str, str] = {}
    for one in known:
        for name in filter(None, (one.name, one.stem)):
            by_form.setdefault(_safe(name), name)
    close = difflib.get_close_matches(_safe(_stem(asked))[:100], by_form, n=_NEAR, cutoff=0.5)
    return [by_form[form] for form in close]


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


def _plain(name: str) -> str:
    """Without what a tag cannot hold."""
    return _FORBIDDEN.sub("", name).strip().casefold()


def _safe(name: str) -> str:
    """With `_` for all but letters, digits, `.` and `-`."""
    return _UNSAFE.sub("_", _plain(name)).strip("_")


def _stem(asked: str) -> str:
    """The last part of a path, without the ending of a file."""
    return _SUFFIX.sub("", re.split(r"[/\\]", asked)[-1])
