"""A LoRA as somebody named it: a file, a folder of peft's, or a name of the library, with a weight behind a colon.

`generate --lora` and the tools of `adapter` read it here, so that one text means one thing everywhere. What is in a
file is not looked at: the engine's door does that.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.store import Workspace
from lora_studio.types import AdapterWeight
from lora_studio.types.library import ADAPTER_SUFFIXES

PEFT_FILE, PEFT_CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""What peft's `save_pretrained` writes into a folder."""

PEFT_PARTS = ("unet", "text_encoder", "text_encoder_2", "transformer")
"""Folders of the parts of a model, where a LoRA in peft's layout has several."""

MOST_CONFIG = 2**20
"""Bytes of a config of peft's; real ones have a few thousand."""


@dataclass(frozen=True)
class Asked:
    """One LoRA with its weight.

    Attributes:
        weight: what stands behind the colon, 1 where nothing does.
        file: where it lies; None for an entry of the library.
        sha256: of an entry of the library; "" for a file.
        name: the entry's, or that of peft's folder; "" for any other file.
    """

    weight: float
    file: Path | None = None
    sha256: str = ""
    name: str = ""


def split_weight(text: str) -> tuple[str, float | None]:
    """`X:W` split at the last colon; W is None where what stands there is no number (or there is no colon)."""
    left, colon, right = text.rpartition(":")
    try:
        weight = float(right)
    except ValueError:
        return text, None
    return (left, weight) if colon and left and math.isfinite(weight) else (text, None)


def check_weight(text: str) -> None:
    """Refuse a weight that is out of its range, before anything is looked up; raises `InvalidInput`."""
    left, weight = split_weight(text)
    if weight is not None:
        try:
            AdapterWeight("0" * 64, left, weight)
        except InvalidInput as problem:
            raise InvalidInput(f"--lora {text!r}: {problem.message}", code=problem.code, **problem.values) from None


def find_adapter(workspace: Workspace, text: str) -> Asked:
    """The file or library entry that one `--lora` names.

    A name may hold colons and a path a drive letter: where the part before the last colon names nothing, or the part
    behind it is no number, the whole text is tried as a name before anything is refused.

    Raises:
        InvalidInput: the part behind the last colon was meant as a weight and is no number.
        NotFound: there is no such file or entry.
    """
    left, weight = split_weight(text)
    tries = [(left, weight), (text, 1.0)] if weight is not None else [(text, 1.0)]
    missing: NotFound | None = None
    for name, factor in tries:
        try:
            return named(workspace, name, 1.0 if factor is None else factor)
        except NotFound as problem:
            missing = missing or problem
    head, colon, tail = text.rpartition(":")
    if weight is None and colon and not _is_path_tail(head, tail):
        raise InvalidInput(
            f"--lora was given as {text!r}; the weight {tail!r} behind the last colon must be a number, like 0.8.",
            code="weight_no_number",
            given=tail,
        )
    raise missing or NotFound(f"There is no LoRA {text!r}.", code="adapter_unknown", given=text)


def named(workspace: Workspace, name: str, weight: float = 1.0) -> Asked:
    """The file or library entry that `name` means, without a weight in the text.

    A file with an ending or in another folder comes before the library, one that is called by a bare word after it.

    Raises:
        InvalidInput: several files of the library have that name.
        NotFound: there is no such file or entry.
    """
    path = Path(name).expanduser()
    if os.path.isfile(path / PEFT_FILE):
        path = path / PEFT_FILE
    is_file, is_place = os.path.isfile(path), any(mark in name for mark in "/\\")
    if is_file and (path.suffix or is_place):
        return _file(path, weight)
    try:
        entry = workspace.adapters.find(name)  # A1111 and SD.Next name files by their place below the folder of LoRAs
    except NotFound:
        if is_file:
            return _file(path, weight)
        if path.suffix.lower() not in ADAPTER_SUFFIXES and not is_place:
            raise
        why = f"is a folder without {PEFT_FILE}" if os.path.isdir(path) else "does not exist"
        raise NotFound(
            f"The LoRA file {name!r} {why}; give a file that is there or a name from the library.",
            code="adapter_file_missing",
            given=name,
        ) from None
    return Asked(weight, sha256=entry.sha256, name=entry.name)


def peft_config(file: Path) -> str | None:
    """The text of peft's config beside a LoRA file, None where there is none.

    Raises:
        InvalidInput: it is too large to be one, and without it the LoRA would act at another strength.
    """
    config = file.with_name(PEFT_CONFIG)
    if not config.is_file():
        return None
    with config.open("rb") as opened:
        data = opened.read(MOST_CONFIG + 1)
    if len(data) > MOST_CONFIG:
        raise InvalidInput(
            f"The file {str(config)!r} has more than {MOST_CONFIG} bytes, which no config of peft's has; take it away "
            "from the LoRA or mend it.",
            code="peft_config_large",
            given=str(config),
            allowed=MOST_CONFIG,
        )
    return data.decode("utf-8", "replace")


def _file(path: Path, weight: float) -> Asked:
    """peft calls all its files the same: the folder has the name."""
    return Asked(weight, path, name=path.absolute().parent.name if path.name == PEFT_FILE else "")


def _is_path_tail(head: str, tail: str) -> bool:
    """True where the last colon belongs to a drive letter (`C:\\...`) or stands before a folder."""
    return (len(head) == 1 and head.isalpha()) or any(mark in tail for mark in "/\\")
