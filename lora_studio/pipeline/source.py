"""Where a base comes from: the embedded folder, a local diffusers folder, or a Hugging Face id.

Turns a reference that a person gave into a folder with a checked `model_index.json`; knows no torch modules.
Pickled weights are never read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_studio.errors import BaseUnavailable

EMBEDDED = "embedded"
_COMPONENTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_PATTERNS = ["model_index.json", "lora_studio.json", "words.json", "*/*.json", "*/*.txt", "*/*.safetensors"]


@dataclass(frozen=True)
class BaseSource:
    """A base on disk.

    Attributes:
        ref: how it was asked for.
        folder: in diffusers' layout.
        card: what the base says of itself in `lora_studio.json`, {} without one.
    """

    ref: str
    folder: Path
    card: dict[str, Any]


def find_base(ref: str, embedded: Path, offline: bool = False) -> BaseSource:
    """Find the base that `ref` names.

    Args:
        ref: `embedded`, a path to a folder, or `owner/name` on the Hugging Face hub.
        embedded: folder of the embedded base.
        offline: look for a hub id among what is already on this machine only.

    Raises:
        BaseUnavailable: it is not there, or is of another architecture.
    """
    asked = ref.strip()
    if asked in ("", EMBEDDED):
        folder = embedded
    elif Path(asked).expanduser().exists() or not _is_hub_id(asked):
        folder = Path(asked).expanduser()
    else:
        folder = _from_hub(asked, offline)
    return BaseSource(ref=asked or EMBEDDED, folder=folder, card=_checked(asked or EMBEDDED, folder))


def _is_hub_id(text: str) -> bool:
    parts = text.split("/")
    return len(parts) == 2 and all(p and p[0] not in "./~\\" for p in parts) and "\\" not in text


def _checked(ref: str, folder: Path) -> dict[str, Any]:
    index_file = folder / "model_index.json"
    if not index_file.is_file():
        raise BaseUnavailable(
            f"The base {ref!r} is not there: {folder} has no model_index.json; give 'embedded', a folder in diffusers' "
            "layout, or a Hugging Face id such as stable-diffusion-v1-5/stable-diffusion-v1-5.",
            code="base_missing",
            given=ref,
        )
    try:
        index = json.loads(index_file.read_text(encoding="utf-8"))
        card_file = folder / "lora_studio.json"
        card: dict[str, Any] = json.loads(card_file.read_text(encoding="utf-8")) if card_file.is_file() else {}
    except ValueError as error:
        raise BaseUnavailable(
            f"The base {ref!r} is damaged: {error}; fetch it again or choose another base.",
            code="base_damaged",
            given=ref,
            why=str(error),
        ) from error
    kind = index.get("_class_name", "")
    missing = [name for name in _COMPONENTS if not (folder / name).is_dir()]
    if kind != "StableDiffusionPipeline" or missing:
        what = f"lacks the folder {missing[0]}" if missing and kind == "StableDiffusionPipeline" else f"is a {kind}"
        raise BaseUnavailable(
            f"The base {ref!r} {what}; the Stable Diffusion 1.x and 2.x architecture is read here; choose such a base.",
            code="base_architecture",
            given=ref,
            what=what,
        )
    return card


def _from_hub(ref: str, offline: bool) -> Path:
    """Fetch the files of a hub id, or find them among those already fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(ref, allow_patterns=_PATTERNS, local_files_only=offline))
    except (RepositoryNotFoundError, GatedRepoError) as error:
        raise BaseUnavailable(
            f"The Hugging Face hub has no open model {ref!r}; check the id, or log in with `hf auth login` if it is a "
            "closed one.",
            code="base_not_on_hub",
            given=ref,
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise BaseUnavailable(
            f"The base {ref!r} is not on this machine and the Hugging Face hub cannot be reached; connect to the "
            "network, give a local folder, or use 'embedded'.",
            code="base_offline",
            given=ref,
        ) from error
