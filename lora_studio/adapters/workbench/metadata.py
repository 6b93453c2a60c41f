"""What stands in a LoRA file's header beside its tensors: shown, changed, stripped of what is private, hashed.

An edit is planned first (`plan`), so that a person sees every key with its old and new value, and then written by
`rewritten`: the tensors' part of the file is copied byte for byte. Three hashes follow a change where a file has them:

    sshs_model_hash         sha256 of the bytes behind the header (kohya; A1111 knows the file by its first 12 digits)
    sshs_legacy_hash        8 digits of bytes 1048576 to 1114112 of a file with `ss_*` metadata alone (kohya)
    modelspec.hash_sha256   as the first, written 0x... (Stability AI's ModelSpec 1.0.1)

It does not know what the tensors mean.

Sources: kohya-ss/sd-scripts library/train_util.py (precalculate_safetensors_hashes) and library/sai_model_spec.py;
https://github.com/Stability-AI/ModelSpec; https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_studio.errors import InvalidInput
from lora_studio.headers import header
from lora_studio.types.library import BUNDLED

PRIVATE = (
    "ss_dataset_dirs",
    "ss_reg_dataset_dirs",
    "ss_datasets",
    "ss_tag_frequency",
    "ss_sd_model_name",
    "ss_vae_name",
    "ss_output_name",
    "ss_training_comment",
    "ss_session_id",
    "ss_sample_prompts",
    "ss_metadata_author",
    "ss_config_file",
    "ot_config",
    "ot_branch",
    "ot_revision",
    "training_info",
    "ssmd_cover_images",
    "ssmd_author",
    "ssmd_source",
)
"""Keys that name files, folders, captions, tags or people of whoever trained it."""

NEEDED = ("format", "lora_adapter_metadata")
"""Keys that programs need in order to read the tensors; never stripped."""

HASHES = ("sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256")
LONGEST_KEY, LONGEST_VALUE = 200, 4 * 2**20
_CHUNK = 1 << 20
_LEGACY = (0x100000, 0x10000)
_PLACE = re.compile(r"(?:^|[\s\"'=,(\[{:])(?:/(?:[^/\s\"',]+/)+|~/|[A-Za-z]:[\\/]|(?:\\\\){1,2}[\w.])")
"""A path of somebody's machine anywhere in a value; the address of a page is none."""


@dataclass(frozen=True)
class Edit:
    """What is asked: keys to set, keys to remove, whether private ones go, whether hashes are added."""

    put: Mapping[str, str]
    remove: tuple[str, ...] = ()
    strip: bool = False
    hashes: bool = False


@dataclass(frozen=True)
class Change:
    """One key; None for a key that is not there (before or after)."""

    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Plan:
    """The metadata as it will be written, and what of it is different."""

    metadata: dict[str, str]
    changes: tuple[Change, ...]


def private_keys(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that `strip` removes: those of `PRIVATE`, and any whose value holds a path of a machine."""
    return tuple(
        key
        for key, value in sorted(metadata.items())
        if key not in NEEDED and (key in PRIVATE or (not value.startswith("data:") and _PLACE.search(value)))
    )


def plan(path: Path, named: Mapping[str, Any], edit: Edit) -> Plan:
    """What an edit would write.

    Args:
        path: the file, for its hashes.
        named: its header as `header.read` gave it.

    Raises:
        InvalidInput: a key that is not there is to be removed, a key or value is not allowed, or the header would
            become larger than any reader takes.
    """
    before = dict(named.get("__metadata__", {}))
    _check(before, edit)
    after = {key: value for key, value in before.items() if key not in edit.remove}
    if edit.strip:
        for key in private_keys(after):
            if key not in edit.put:
                del after[key]
    after.update(edit.put)
    after.pop(BUNDLED, None)  # the library's own word, which no file can give
    entries = {name: entry for name, entry in named.items() if name != "__metadata__"}
    wanted = HASHES if edit.hashes else tuple(key for key in HASHES if key in after and key not in edit.put)
    if wanted:
        found = hashes(path, entries, after)
        after.update({key: found[key] for key in wanted})
    size = len(header.to_bytes(entries, after))
    if size > header.MAX_HEADER:
        raise InvalidInput(
            f"The metadata would make a header of {size} bytes; at most {header.MAX_HEADER} are allowed; set less.",
            code="meta_too_large",
            given=size,
            allowed=header.MAX_HEADER,
        )
    keys = sorted({*before, *after})
    changes = tuple(Change(k, before.get(k), after.get(k)) for k in keys if before.get(k) != after.get(k))
    return Plan(after, changes)


def _check(before: Mapping[str, str], edit: Edit) -> None:
    for key in edit.remove:
        if key not in before:
            raise InvalidInput(
                f"The metadata has no key {key[:80]!r}; remove one that is there: "
                f"{', '.join(sorted(before)) or 'there is none'}.",
                code="meta_no_key",
                given=key[:80],
                allowed=", ".join(sorted(before)),
            )
    for key, value in edit.put.items():
        if key == BUNDLED:
            raise InvalidInput(
                f"The metadata key {key!r} is the library's own, and no file's; leave it out.",
                code="meta_own_key",
                given=key,
            )
        if not 0 < len(key) <= LONGEST_KEY or key == "__metadata__" or any(ord(c) < 32 for c in key):
            raise InvalidInput(
                f"The metadata key {key[:80]!r} is not allowed; give 1 to {LONGEST_KEY} printable characters.",
                code="meta_key",
                given=key[:80],
                allowed=LONGEST_KEY,
            )
        if len(value) > LONGEST_VALUE or any("\ud800" <= c <= "\udfff" for c in value):
            raise InvalidInput(
                f"The value of {key!r} is not allowed; give UTF-8 text of at most {LONGEST_VALUE} characters.",
                code="meta_value",
                given=key,
                allowed=LONGEST_VALUE,
            )


def rewritten(path: Path, named: Mapping[str, Any], metadata: Mapping[str, str]) -> Iterator[bytes]:
    """The bytes of the file with other metadata, a megabyte at a time; the tensors' bytes are those of `path`."""
    entries = {name: entry for name, entry in named.items() if name != "__metadata__"}
    yield header.to_bytes(entries, metadata)
    yield from _data(path)


def hashes(path: Path, entries: Mapping[str, Any], metadata: Mapping[str, str]) -> dict[str, str]:
    """The three hashes of a file whose tensors' bytes are those of `path`; see the module's docstring."""
    own = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    start = len(header.to_bytes(entries, own))
    digest, legacy, at = hashlib.sha256(), hashlib.sha256(), start
    low, high = _LEGACY[0], _LEGACY[0] + _LEGACY[1]
    if start > low:
        legacy.update(header.to_bytes(entries, own)[low:high])
    for chunk in _data(path):
        digest.update(chunk)
        if at < high and at + len(chunk) > low:
            legacy.update(chunk[max(0, low - at) : high - at])
        at += len(chunk)
    whole = digest.hexdigest()
    return {
        "sshs_model_hash": whole,
        "sshs_legacy_hash": legacy.hexdigest()[:8],
        "modelspec.hash_sha256": f"0x{whole}",
    }


def _data(path: Path) -> Iterator[bytes]:
    """What stands behind the header."""
    with path.open("rb") as file:
        file.seek(int.from_bytes(file.read(8), "little") + 8)
        while chunk := file.read(_CHUNK):
            yield chunk
