"""Taking over what made a picture: its words, LoRAs, seed and settings, from the file or from pasted text."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lora_studio.dataset.texts import texts_of
from lora_studio.errors import InvalidInput
from lora_studio.prompt.readers import NamedFile, Reading, Remark, read_pasted, read_texts
from lora_studio.prompt.readers.reading import clean_hash
from lora_studio.store.recall import Recalled, find, recall
from lora_studio.ui.studio import Ask

MAX_WANTED = 100
"""LoRAs that one call may look for."""


def recall_picture(ask: Ask, path: Path, name: str) -> dict[str, Any]:
    """What made the picture in the file `path`, which a person calls `name`.

    Raises:
        InvalidInput: it is no picture that is read, or holds nothing of the kind.
    """
    texts = texts_of(path)
    if "texts_unknown" in texts.problems or "texts_too_large" in texts.problems:
        raise InvalidInput(
            f"{name!r} is not a picture whose texts are read; give a PNG, JPEG or WebP file of at most 100 MB.",
            code="recall_no_picture",
            given=name,
        )
    reading = read_texts(texts.texts)
    if not reading.program:
        raise InvalidInput(
            f"{name!r} does not say how it was made; give a picture as LoRA Studio, A1111, Forge, ComfyUI, InvokeAI or "
            "Fooocus saved it: passing it on often takes its texts away.",
            code="recall_nothing",
            given=name,
        )
    problems = tuple(Remark(code) for code in texts.problems)
    return _recalled(ask, dataclasses.replace(reading, remarks=(*problems, *reading.remarks))).as_json()


def recall_text(ask: Ask) -> dict[str, Any]:
    """What a pasted text asks for; its `program` is empty where it is words alone, and nothing else counts then."""
    return _recalled(ask, read_pasted(ask.text("text"))).as_json()


def find_missing(ask: Ask) -> dict[str, Any]:
    """Look once more for LoRAs that were missing: `wanted` is a list of {name, hash}; the answer has one for each."""
    wanted = ask.data.get("wanted")
    if not isinstance(wanted, list) or len(wanted) > MAX_WANTED:
        raise InvalidInput(
            f"wanted was given as {str(wanted)[:80]!r}; it must be a list of at most {MAX_WANTED}; reload the page.",
            code="call_value",
            field="wanted",
            given=str(wanted)[:80],
            allowed=f"a list of at most {MAX_WANTED}",
        )
    library, files = ask.library(), ask.studio.workspace.files
    answer = []
    for one in wanted:
        given = one if isinstance(one, dict) else {}
        named = NamedFile(str(given.get("name", "")), clean_hash(given.get("hash")))
        entry = find(named, library, files.tensors_hash)
        answer.append(None if entry is None else {"sha256": entry.sha256, "name": entry.name})
    return {"found": answer}


def _recalled(ask: Ask, reading: Reading) -> Recalled:
    """The reading with the caller's files."""
    workspace = ask.studio.workspace
    installed = [NamedFile(entry.name, entry.sha256) for entry in workspace.embeddings.list(ask.owner)]
    return recall(reading, ask.library(), workspace.files.tensors_hash, ask.studio.engine.info().base, installed)


ACTIONS = (recall_text, find_missing)
