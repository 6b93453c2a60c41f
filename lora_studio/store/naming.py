"""Which entry a name means: the label that people gave it, the name of its file as A1111 writes it, or its hash.

Texts (tags, what other programs wrote into pictures) are read by `names_of`. What somebody typed on the command line is
read more strictly, by `found_by_name`. Its order: the label exactly, the file's name exactly, both in any case, the
place below a folder (`style/ink`), the beginning of the sha256 (8 hex digits or more). Where no label but several files
have the name, nothing is guessed. It knows no tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.prompt.names import Named, Names
from lora_studio.store.names import near_names
from lora_studio.types import AdapterEntry
from lora_studio.types.library import ADAPTER_SUFFIX

_PREFIX = re.compile(r"[0-9a-f]{8,64}")
_MOST_TOLD = 5
_HEADER_NAMES = ("ss_output_name", "modelspec.title")
"""What its maker called a file; names that it goes by where nothing else has them."""

Form = Callable[[str], str]


def names_of(entries: Iterable[AdapterEntry]) -> Names:
    """What the entries go by in texts; the first come first wherever several have a name."""

    def named(entry: AdapterEntry) -> Named:
        called = tuple(str(entry.metadata[key]) for key in _HEADER_NAMES if entry.metadata.get(key))
        return Named(entry.sha256, entry.name, called, entry.stem, entry.places)

    return Names(map(named, entries))


def found_by_name(asked: str, entries: Sequence[AdapterEntry]) -> AdapterEntry:
    """The entry that `asked` means, the first of equals by label.

    Raises:
        NotFound: there is none; the sentence names up to five near names.
        InvalidInput: several files have that name, and none that label.
    """
    for form in (str, str.casefold):
        for entry in entries:
            if form(entry.name) == form(asked):
                return entry
        stems = {entry.sha256: entry for entry in entries if form(asked) in {form(stem) for stem in _stems(entry)}}
        if stems:
            return _only(asked, list(stems.values()))
    placed = [entry for entry in entries if any(_is_place(place, asked) for place in entry.places)]
    if placed:
        return _only(asked, placed)
    if _PREFIX.fullmatch(asked.casefold()):
        for entry in entries:
            if entry.sha256.startswith(asked.casefold()):
                return entry
    raise _missing(asked[:200], entries)


def _stems(entry: AdapterEntry) -> set[str]:
    """What its file is called, in every place where it lies."""
    files = {place.rpartition("/")[2] for place in entry.places}
    return {stem for stem in (entry.stem, *map(_without_ending, files)) if stem}


def _without_ending(name: str) -> str:
    return name[: -len(ADAPTER_SUFFIX)] if name.casefold().endswith(ADAPTER_SUFFIX) else name


def _is_place(place: str, asked: str) -> bool:
    """True for `style/ink` or `style/ink.safetensors` where the file lies at `Lora/style/ink.safetensors`."""
    wanted = asked.replace("\\", "/").casefold().removesuffix(ADAPTER_SUFFIX)
    return "/" in wanted and f"/{place.casefold().removesuffix(ADAPTER_SUFFIX)}".endswith("/" + wanted.strip("/"))


def _only(asked: str, entries: Sequence[AdapterEntry]) -> AdapterEntry:
    """The one entry. Raises `InvalidInput` where there are several."""
    if len(entries) == 1:
        return entries[0]
    labels = [entry.name for entry in entries[:_MOST_TOLD]]
    quoted = ", ".join(repr(label) for label in labels)
    raise InvalidInput(
        f"{len(entries)} LoRA files are named {asked[:200]!r}: in the library they are called {quoted}; give one of "
        "these names.",
        code="adapter_ambiguous",
        given=asked[:200],
        count=len(entries),
        near=labels,
    )


def _missing(asked: str, entries: Sequence[AdapterEntry]) -> NotFound:
    near = near_names(asked, [name for entry in entries for name in {entry.name, entry.stem} if name])
    if near:
        quoted = ", ".join(repr(name) for name in near)
        return NotFound(
            f"The library has no LoRA {asked!r}; near names are {quoted}; choose one of these or give a file.",
            code="adapter_missing_near",
            given=asked,
            near=near,
        )
    return NotFound(
        f"The library has no LoRA {asked!r}; give the name of one that is there, or a file.",
        code="adapter_missing",
        given=asked,
    )
