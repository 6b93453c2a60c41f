"""Finding by name: the adapter that a tag means.

A tag's name is compared as typed, then in any case, then as other programs write it: without the characters that a
tag cannot hold, with `_` for everything but letters, digits, `.` and `-` (Civitai's reader asks for such names),
without folders and file endings. A1111 itself compares file names exactly and reports what it does not find.

It does not know files, nor which adapters there are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

_FORBIDDEN = re.compile(r'[:,<>\r\n"]+')
_UNSAFE = re.compile(r"[^\w.-]+|_+")
_SUFFIX = re.compile(r"\.(safetensors|pt|bin|ckpt)$", re.IGNORECASE)
_NEAR = 3
_ASKED = 16
"""Names for which near ones are looked for; a text that has more unknown tags is told of fewer anyway."""


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


class Names:
    """All that can be named, with a table for each way in which names are compared.

    A library has thousands of files and a prompt several tags: each table is made once, when it is first needed.
    """

    def __init__(self, known: Iterable[Named] = ()) -> None:
        """The first of `known` comes first wherever several have a name."""
        self.known = tuple(known)
        self._tables: dict[Callable[[str], str], tuple[dict[str, Named], dict[str, dict[str, Named]]]] = {}
        self._near: dict[str, list[str]] = {}

    def find(self, asked: str) -> Named | None:
        """What `asked` means: the first with exactly that name, else the first that matches more loosely; or None."""
        return self.find_all(asked)[0]

    def find_all(self, asked: str) -> tuple[Named | None, tuple[Named, ...]]:
        """What `asked` means, and everything that has that name as a label or as a file's name.

        A label comes before the names of files; where no label but several files have the name, none is meant.
        """
        wanted = _SUFFIX.sub("", asked.replace("\\", "/")).strip("/").casefold()
        placed = {one.key: one for place, one in self._places if place.endswith("/" + wanted)} if "/" in wanted else {}
        if placed:
            return _only(placed)
        for form in (_exact, str.casefold, _plain, _safe):
            labels, files = self._table(form)
            for name in filter(None, dict.fromkeys((form(asked), form(_stem(asked))))):
                filed = files.get(name, {})
                if name in labels:
                    return labels[name], tuple(({labels[name].key: labels[name]} | filed).values())
                if filed:
                    return _only(filed)
        name = _safe(_stem(asked))
        other = self._aliases.get(name) if name else None
        return (None, ()) if other is None else (other, (other,))

    def near(self, asked: str) -> list[str]:
        """Up to three names that look like what was asked for, the nearest first; none after many questions."""
        if asked not in self._near and len(self._near) < _ASKED:
            close = difflib.get_close_matches(_safe(_stem(asked))[:100], self._forms, n=_NEAR, cutoff=0.5)
            self._near[asked] = [self._forms[form] for form in close]
        return list(self._near.get(asked, ()))

    def _table(self, form: Callable[[str], str]) -> tuple[dict[str, Named], dict[str, dict[str, Named]]]:
        """By name in a form: the first with that label, and all whose files are called so, by key."""
        if form not in self._tables:
            labels: dict[str, Named] = {}
            files: dict[str, dict[str, Named]] = {}
            for one in self.known:
                labels.setdefault(form(one.name), one)
                if one.stem:
                    files.setdefault(form(one.stem), {})[one.key] = one
            self._tables[form] = labels, files
        return self._tables[form]

    @cached_property
    def _places(self) -> list[tuple[str, Named]]:
        """Where each file lies: `/lora/style/ink` of `Lora/style/ink.safetensors`."""
        return [(f"/{_SUFFIX.sub('', place).casefold()}", one) for one in self.known for place in one.places]

    @cached_property
    def _aliases(self) -> dict[str, Named]:
        """The first that goes by each further name."""
        found: dict[str, Named] = {}
        for one in self.known:
            for alias in one.aliases:
                found.setdefault(_safe(alias), one)
        return found

    @cached_property
    def _forms(self) -> dict[str, str]:
        """Every label and file's name by its safe form."""
        found: dict[str, str] = {}
        for one in self.known:
            for name in filter(None, (one.name, one.stem)):
                found.setdefault(_safe(name), name)
        return found


def _only(found: dict[str, Named]) -> tuple[Named | None, tuple[Named, ...]]:
    """The one that was found, none where there are several."""
    every = tuple(found.values())
    return (every[0] if len(every) == 1 else None), every


def _exact(name: str) -> str:
    """As it is."""
    return name


def _plain(name: str) -> str:
    """Without what a tag cannot hold."""
    return _FORBIDDEN.sub("", name).strip().casefold()


def _safe(name: str) -> str:
    """With `_` for all but letters, digits, `.` and `-`."""
    return _UNSAFE.sub("_", _plain(name)).strip("_")


def _stem(asked: str) -> str:
    """The last part of a path, without the ending of a file."""
    return _SUFFIX.sub("", re.split(r"[/\\]", asked)[-1])
