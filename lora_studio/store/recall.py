"""From what a picture's text asks for to what can be asked for here: names and hashes become files of the library.

A LoRA with a hash is found by any of a file's hashes, whatever it is called here: sha256 (its beginning is "AutoV2"),
the hash of its tensors ("AutoV3"), and those that kohya's trainer writes into the header. A LoRA without a hash is
found by its name, as a tag of that name would be (`lora_studio.store.naming.names_of`). One whose name is here with
another hash is another file: it is offered, never taken. It does not read pictures or texts
(`lora_studio.dataset.texts`, `lora_studio.prompt.readers`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lora_studio.errors import NotFound
from lora_studio.prompt.block_weights import read_block_weights
from lora_studio.prompt.infotext import safe_name
from lora_studio.prompt.names import Names
from lora_studio.prompt.readers import REMARKS, NamedFile, Reading, Remark
from lora_studio.prompt.readers.reading import shorten
from lora_studio.store.naming import names_of
from lora_studio.types import AdapterEntry, AdapterWeight, BaseInfo
from lora_studio.types.mix import MOST_WEIGHT, held

SENTENCES = {
    **REMARKS,
    "embedding_missing": "The embedding {name} (hash {hash}) is not installed: its name is read as ordinary words.",
    "embedding_missing_named": "The embedding {name} is not installed: its name is read as ordinary words.",
    "model": "It was made with {name}; {loaded} is loaded.",
    "size_step": "Its size {given} is no multiple of {step} pixels, which this base needs; change it.",
    "texts_cut": "The texts inside are longer than what is read; some were left out.",
    "texts_damaged": "A part of the file's texts is damaged and was not read.",
}
"""What was not taken over: every code with its English sentence."""

HashOf = Callable[[str], str]
"""The hash of a stored file's tensors by its sha256; raises `NotFound`."""

_HEADER_HASHES = ("sshs_model_hash", "sshs_legacy_hash")


@dataclass(frozen=True)
class Missing:
    """A LoRA that the library has not: as the text names it, and an entry of that name with another hash, if any."""

    wanted: NamedFile
    near: AdapterEntry | None = None


@dataclass(frozen=True)
class Recalled:
    """A reading with its files found.

    `adapters` has each file once; where a text names one twice, its weights are summed, as those of tags are.
    """

    reading: Reading
    adapters: tuple[AdapterWeight, ...]
    missing: tuple[Missing, ...]
    remarks: tuple[Remark, ...]

    def as_json(self) -> dict[str, Any]:
        """What a page needs: words and fields as far as there are some, LoRAs, what is missing, remarks."""
        return {
            "program": self.reading.program,
            "prompt": self.reading.prompt,
            "negative": self.reading.negative,
            "form": dict(self.reading.settings),
            "adapters": [dataclasses.asdict(adapter) for adapter in self.adapters],
            "missing": [missing_json(one) for one in self.missing],
            "remarks": [{"code": remark.code, "values": dict(remark.values)} for remark in self.remarks],
        }


def missing_json(one: Missing) -> dict[str, Any]:
    """A missing LoRA for a page."""
    near = None if one.near is None else {"sha256": one.near.sha256, "name": one.near.name}
    return dataclasses.asdict(one.wanted) | {"near": near}


def recall(
    reading: Reading,
    library: Sequence[AdapterEntry],
    tensors_hash: HashOf,
    base: BaseInfo | None,
    embeddings: Sequence[NamedFile] = (),
) -> Recalled:
    """Find a reading's files.

    Args:
        library: the LoRAs that may be used, the preferred ones first.
        tensors_hash: see `HashOf`.
        base: the loaded one.
        embeddings: those that are installed, each by its name and whole sha256.
    """
    found: dict[str, AdapterWeight] = {}
    missing: list[Missing] = []
    found_out: list[Remark] = []
    known = names_of(library)
    for named in reading.adapters:
        wanted, told = _with_blocks(named, base)
        found_out += told
        entry = find(wanted, library, tensors_hash, known)
        if entry is None:
            missing.append(Missing(wanted, _by_name(wanted.name, library, known) if wanted.hash else None))
        else:
            found[entry.sha256], told = _summed(found.get(entry.sha256), entry, wanted)
            found_out += told
    remarks = [*reading.remarks, *found_out, *_about_embeddings(reading, embeddings)]
    if base is not None and reading.program:
        remarks += _about_base(reading, base)
    return Recalled(reading, tuple(found.values()), tuple(missing), tuple(remarks))


def find(
    wanted: NamedFile, library: Sequence[AdapterEntry], tensors_hash: HashOf, known: Names | None = None
) -> AdapterEntry | None:
    """The entry that a text means: by hash where it gives one, else by name.

    Args:
        known: the names of `library`, for whoever looks for several.
    """
    if not wanted.hash:
        return _by_name(wanted.name, library, known or names_of(library))
    for entry in library:
        written = [str(entry.metadata.get(key, "")).casefold() for key in _HEADER_HASHES]
        if any(known.startswith(wanted.hash) for known in (entry.sha256, *written)):
            return entry
    for entry in library:
        try:
            if tensors_hash(entry.sha256).startswith(wanted.hash):
                return entry
        except NotFound:
            continue
    return None


def _by_name(name: str, library: Sequence[AdapterEntry], known: Names) -> AdapterEntry | None:
    """The one that goes by a name; None where several files have it and no label."""
    found = known.find(name)
    return None if found is None else next(entry for entry in library if entry.sha256 == found.key)


def _with_blocks(wanted: NamedFile, base: BaseInfo | None) -> tuple[NamedFile, list[Remark]]:
    """Its block weights as those of the loaded base, as far as they mean something there."""
    if not wanted.lbw:
        return wanted, []
    found = read_block_weights(wanted.lbw, base.blocks) if base is not None and base.blocks.names else None
    if found is None:
        return wanted, [Remark("not_acting", {"names": f"{wanted.name}: lbw={shorten(wanted.lbw)}"})]
    te = (wanted.weight if wanted.text_encoder_weight is None else wanted.text_encoder_weight) * found.words
    te_or_same = None if te == wanted.weight else te
    return dataclasses.replace(wanted, text_encoder_weight=te_or_same, blocks=found.blocks), []


def _summed(before: AdapterWeight | None, entry: AdapterEntry, wanted: NamedFile) -> tuple[AdapterWeight, list[Remark]]:
    """What a file comes to that is named once or, as A1111 allows, several times: weights are summed, steps and blocks
    are the last one's. A sum beyond `MOST_WEIGHT` is remarked on."""
    unet = wanted.weight + (before.weight if before else 0.0)
    te = unet
    if wanted.text_encoder_weight is not None or (before and before.text_encoder_weight is not None):
        own = wanted.weight if wanted.text_encoder_weight is None else wanted.text_encoder_weight
        te = own + (0.0 if before is None else _te(before))
    kept = held(unet), held(te)
    remarks = [
        Remark("lora_weight", {"name": entry.name, "given": given, "allowed": MOST_WEIGHT})
        for given in dict.fromkeys((unet, te))
        if given != held(given)
    ]
    places = (wanted.start, wanted.stop, wanted.blocks)
    if before is not None and places != (before.start, before.stop, before.blocks):
        remarks.append(Remark("lora_places", {"name": entry.name}))
    return AdapterWeight(entry.sha256, entry.name, kept[0], None if kept[0] == kept[1] else kept[1], *places), remarks


def _te(adapter: AdapterWeight) -> float:
    return adapter.weight if adapter.text_encoder_weight is None else adapter.text_encoder_weight


def _about_embeddings(reading: Reading, installed: Sequence[NamedFile]) -> list[Remark]:
    """Embeddings of the text that are not here."""
    return [
        Remark("embedding_missing", {"name": wanted.name, "hash": wanted.hash})
        if wanted.hash
        else Remark("embedding_missing_named", {"name": wanted.name})
        for wanted in reading.embeddings
        if not any(_is(known, wanted) for known in installed)
    ]


def _is(known: NamedFile, wanted: NamedFile) -> bool:
    """True where an installed embedding is the one that a text names, or acts for it under its name."""
    same = bool(wanted.hash) and known.hash.startswith(wanted.hash)
    return same or known.name.casefold() == wanted.name.casefold()


def _about_base(reading: Reading, base: BaseInfo) -> list[Remark]:
    """Another base, and a size that this one cannot make."""
    remarks = []
    model = reading.model
    if model is not None and model.hash:
        same = any(known.startswith(model.hash) for known in (base.sha256, base.unet_file_sha256) if known)
    else:
        same = model is None or safe_name(model.name, "").casefold() == safe_name(base.title, "").casefold()
    if model is not None and not same:
        remarks.append(Remark("model", {"name": model.name or model.hash[:10], "loaded": base.title}))
    sides = [reading.settings.get(side) for side in ("width", "height")]
    if any(isinstance(side, int) and side % base.size_step for side in sides):
        size = "x".join(str(side) for side in sides)
        remarks.append(Remark("size_step", {"given": size, "step": base.size_step}))
    return remarks
