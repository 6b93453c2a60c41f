"""Where a base comes from: the one that comes with the app, a folder in diffusers' layout, a file, or the hub.

It turns what a person gave into a folder with a checked `model_index.json`, or into a `.safetensors` file whose header
`single_file` reads; knows no torch modules. Pickled weights are never read.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_studio.errors import BaseUnavailable

EMBEDDED = "embedded"
_COMPONENTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
_PIPELINES = {
    "StableDiffusionPipeline": _COMPONENTS,
    "StableDiffusionXLPipeline": (*_COMPONENTS, "text_encoder_2", "tokenizer_2"),
}
_UNREAD = ["*.fp16.safetensors", "*.fp16-*.safetensors", "*.non_ema.safetensors", "*.non_ema-*.safetensors"]
"""Variants of weights that lie beside those that are loaded; Stable Diffusion XL's are 7 GB."""
VARIANT = "fp16"
"""The variant that is loaded where a part has no other weights; in what files of it are called."""
WEIGHTS = ("unet", "vae", "text_encoder", "text_encoder_2")
"""The parts that hold weights."""
_PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
_FILES = (".safetensors", *_PICKLES)
"""Endings of what can only be a file."""
_HUB_ID = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True)
class BaseSource:
    """A base on disk.

    Attributes:
        ref: how it was asked for.
        path: a folder in diffusers' layout, or a .safetensors file.
        card: what the base says of itself in `lora_studio.json`, {} without one.
    """

    ref: str
    path: Path
    card: dict[str, Any]


def find_base(ref: str, embedded: Path, offline: bool = False, checkpoints: Path | None = None) -> BaseSource:
    """Find the base that `ref` names; a hub id that is not on this machine is fetched, which may take long.

    Args:
        ref: `embedded`, a path to a folder or a .safetensors file, the name of a file or folder below `checkpoints`, or
            `owner/name` on the Hugging Face hub.
        embedded: folder of the embedded base.
        offline: look for a hub id among what is already on this machine only.
        checkpoints: folder of checkpoint files, or None.

    Raises:
        BaseUnavailable: it is not there, or is of another architecture.
    """
    found = find_local(ref, embedded, checkpoints)
    return found if found is not None else _local(ref.strip(), _from_hub(ref.strip(), offline))


def find_local(ref: str, embedded: Path, checkpoints: Path | None = None) -> BaseSource | None:
    """The base that `ref` names, if it is not one of the hub; at once and without any network.

    Whoever changes bases asks here before he lets go of the present one. Arguments as of `find_base`.

    Returns:
        The base, or None where `ref` is a hub id: whether that one is there, `find_base` finds out.

    Raises:
        BaseUnavailable: it is neither there nor a hub id, or is of another architecture.
    """
    asked = ref.strip()
    if asked in ("", EMBEDDED):
        return _local(EMBEDDED, embedded)
    try:
        path = Path(asked).expanduser()
        if not path.exists() and checkpoints is not None and (checkpoints / asked).exists():
            path = checkpoints / asked
        elsewhere = not path.exists() and _is_hub_id(asked) and path.suffix.lower() not in _FILES
    except (OSError, RuntimeError, ValueError) as error:
        # A text that no path can hold, a folder that may not be looked into, ~somebody who is not there.
        raise _missing(asked) from error
    return None if elsewhere else _local(asked, path)


def _local(ref: str, path: Path) -> BaseSource:
    """What lies at `path`, checked as far as that goes without loading it."""
    try:
        is_file = path.is_file() or path.suffix.lower() in _FILES
        return BaseSource(ref, path, _checked_file(ref, path) if is_file else _checked(ref, path))
    except OSError as error:
        raise _missing(ref) from error


def _is_hub_id(text: str) -> bool:
    """Whether the hub may have a model of that name (`huggingface_hub.utils.validate_repo_id`)."""
    allowed = not text.endswith(".git") and "--" not in text and ".." not in text
    return allowed and bool(_HUB_ID.fullmatch(text))


def _checked_file(ref: str, path: Path) -> dict[str, Any]:
    """Refuse a file that is not there or is no safetensors file by its name; its header is read when it is loaded."""
    if path.suffix.lower() in _PICKLES:
        raise BaseUnavailable(
            f"The base {ref!r} is a pickle, which can run program code when it is opened and is never read; allowed "
            "are .safetensors files; choose or convert to such a file.",
            code="base_pickle",
            given=ref,
        )
    if not path.is_file():
        raise _missing(ref)
    if path.suffix.lower() != ".safetensors":
        raise BaseUnavailable(
            f"The base {ref!r} is a file of another kind; allowed are .safetensors files, folders in diffusers' layout "
            "and Hugging Face ids; choose one of these.",
            code="base_file_kind",
            given=ref,
        )
    return {}


def _missing(ref: str) -> BaseUnavailable:
    return BaseUnavailable(
        f"The base {ref!r} is not there or cannot be read; give 'embedded', a folder in diffusers' layout (with a "
        "model_index.json), a .safetensors file, or a Hugging Face id such as "
        "stable-diffusion-v1-5/stable-diffusion-v1-5.",
        code="base_missing",
        given=ref,
    )


def _checked(ref: str, folder: Path) -> dict[str, Any]:
    index_file = folder / "model_index.json"
    if not index_file.is_file():
        raise _missing(ref)
    index = _table(ref, index_file)
    card_file = folder / "lora_studio.json"
    card = _table(ref, card_file) if card_file.is_file() else {}
    kind = str(index.get("_class_name", "unknown"))
    if kind not in _PIPELINES:
        raise BaseUnavailable(
            f"The base {ref!r} is of another kind ({kind}); Stable Diffusion 1.x, 2.x and XL are read here; choose "
            "such a base.",
            code="base_architecture",
            given=ref,
            family=kind,
        )
    missing = [name for name in _PIPELINES[kind] if not (folder / name).is_dir()]
    if missing:
        raise BaseUnavailable(
            f"The base {ref!r} lacks the folder {missing[0]}; a {kind} has {', '.join(_PIPELINES[kind])}; fetch it "
            "again or choose another base.",
            code="base_lacks_folder",
            given=ref,
            folder=missing[0],
            pipeline=kind,
            allowed=", ".join(_PIPELINES[kind]),
        )
    return card


def _table(ref: str, path: Path) -> dict[str, Any]:
    """The JSON object in one of the base's own files."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        why = "" if isinstance(found, dict) else "it holds no JSON object"
    except (ValueError, RecursionError) as error:
        found, why = {}, str(error)
    if why:
        raise BaseUnavailable(
            f"The base {ref!r} is damaged: {path.name}: {why}; fetch it again or choose another base.",
            code="base_damaged",
            given=ref,
            why=f"{path.name}: {why}",
        )
    return dict(found)


def _wanted() -> list[str]:
    """The files of a hub repository that are read: not those of safety checkers, other autoencoders and the like."""
    parts = sorted({part for parts in _PIPELINES.values() for part in parts})
    inside = [f"{part}/*.{kind}" for part in parts for kind in ("json", "txt", "safetensors")]
    return ["model_index.json", "lora_studio.json", "words.json", *inside]


def plain_weights(folder: Path) -> list[Path]:
    """The weights of a part that are no variant: model.safetensors, model-00001-of-00002.safetensors ..."""
    return sorted(path for path in folder.glob("*.safetensors") if path.name.count(".") == 1)


def half_weights(folder: Path) -> list[Path]:
    """Its weights in 16 bits."""
    return sorted(path for path in folder.glob("*.safetensors") if f".{VARIANT}" in path.name)


def _from_hub(ref: str, offline: bool) -> Path:
    """Fetch the files of a hub id, or find them among those already fetched."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        folder = Path(
            snapshot_download(ref, allow_patterns=_wanted(), ignore_patterns=_UNREAD, local_files_only=offline)
        )
        bare = [part for part in WEIGHTS if (folder / part).is_dir() and not plain_weights(folder / part)]
        if bare:
            halves = [f"{part}/*.{VARIANT}{end}.safetensors" for part in bare for end in ("", "-*")]
            folder = Path(snapshot_download(ref, allow_patterns=halves, ignore_patterns=[], local_files_only=offline))
        return folder
    except HFValidationError as error:
        raise _missing(ref) from error
    except (RepositoryNotFoundError, GatedRepoError) as error:
        raise BaseUnavailable(
            f"The Hugging Face hub has no open model {ref!r}; check the id, or log in with `hf auth login` if it is a "
            "closed one.",
            code="base_not_on_hub",
            given=ref,
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError) as error:
        raise BaseUnavailable(
            f"The base {ref!r} is not on this machine and the Hugging Face hub cannot be reached; connect to the "
            "network, give a local folder, or use 'embedded'.",
            code="base_offline",
            given=ref,
        ) from error
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        # A connection that broke in the middle is an HTTPError and no OSError.
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BaseUnavailable(
            f"The base {ref!r} could not be fetched from the Hugging Face hub: {why}; try again (what has arrived is "
            "kept), give a local folder, or use 'embedded'.",
            code="base_fetch",
            given=ref,
            why=why,
        ) from error
