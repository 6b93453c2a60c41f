"""The library of LoRA files: looking, changing what is known of one, deleting with a way back.

Files in folders that are read in place are entries like all others; deleting one hides it, the file stays where it is.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from lora_studio.errors import InvalidInput
from lora_studio.store.adapters import UNDO_SECONDS
from lora_studio.store.bundled import COVER_SIZE
from lora_studio.store.files import shrink
from lora_studio.store.folder_state import FolderState
from lora_studio.store.side_files import MAX_SIDE, read_sides, side_of
from lora_studio.store.uses import uses_of
from lora_studio.types import AdapterEntry, JobSpec
from lora_studio.ui.forms import number_of
from lora_studio.ui.studio import Ask, folder_name
from lora_studio.ui.views import adapter_detail, adapter_view, embedding_view

FIELDS = ("name", "trigger_words", "notes", "recommended_weight", "stars", "cover")


def library(ask: Ask) -> dict[str, Any]:
    """The LoRAs that the caller sees, newest first, samples last; the embeddings, newest first; how the folders stand,
    and from where LoRAs may be fetched."""
    base = ask.studio.engine.info().base
    workspace, settings = ask.studio.workspace, ask.studio.settings
    stamp = workspace.adapters.stamp()  # before the list, so that what changes meanwhile is asked for again
    used = workspace.adapters.last_used(ask.owner)
    state = workspace.folders.state
    return {
        "adapters": [adapter_view(entry, base, used.get(entry.sha256)) for entry in ask.library()],
        "embeddings": [embedding_view(entry, base) for entry in workspace.embeddings.list(ask.owner)],
        "stamp": stamp,
        "hidden": len(workspace.adapters.shelf(ask.owner, deleted=True)),
        "folders": [_folder(one) for one in state.folders],
        "download": {
            "hub": settings.download_hub and not settings.offline,
            "hosts": [] if settings.offline else list(settings.download_hosts),
        },
    }


def adapter(ask: Ask) -> dict[str, Any]:
    """One LoRA with its report and metadata, and what of the caller's has to do with it."""
    entry = ask.adapter()
    detail = adapter_detail(entry, ask.studio.engine.info().base)
    used = ask.studio.workspace.adapters.last_used(ask.owner).get(entry.sha256)
    return {"adapter": detail | {"used": used}} | {"uses": adapter_uses(ask)}


def edit_adapter(ask: Ask) -> dict[str, Any]:
    """Change what is known of a LoRA: any of name, trigger_words, notes, recommended_weight, stars and cover, each as
    typed; a cover must be a picture that the caller sees, or null."""
    entry = ask.adapter()
    given = ask.table("changes")
    unknown = sorted(set(given) - set(FIELDS))
    if unknown:
        raise InvalidInput(
            f"A LoRA's {unknown[0][:80]!r} cannot be changed; what can be is {', '.join(FIELDS)}.",
            code="unknown_field",
            given=unknown[0][:80],
            allowed=", ".join(FIELDS),
        )
    changes = {name: _read(ask, name, value) for name, value in given.items()}
    changed = ask.studio.workspace.adapters.update(entry.sha256, owner=entry.owner, **changes)
    return {"adapter": adapter_view(changed, ask.studio.engine.info().base) | {"notes": changed.notes}}


def rename_adapter(ask: Ask) -> dict[str, Any]:
    """Give a LoRA another name; a taken name gets a number."""
    entry = ask.adapter()
    renamed = ask.studio.workspace.adapters.update(entry.sha256, owner=entry.owner, name=ask.text("name"))
    return {"adapter": adapter_view(renamed, ask.studio.engine.info().base)}


def adapter_uses(ask: Ask) -> dict[str, Any]:
    """How many of the caller's cells use a LoRA, the first few prompts of them, and which trainings made it."""
    entry = ask.adapter()
    return dataclasses.asdict(uses_of(ask.studio.workspace.database, entry.sha256, ask.owner))


def delete_adapter(ask: Ask) -> dict[str, Any]:
    """Take a LoRA out of the library; `restore_adapter` brings it back for an hour, one that lies in a folder always.

    Cells that used it keep their pictures and say that it is gone.
    """
    entry = ask.adapter()
    adapters = ask.studio.workspace.adapters
    adapters.delete(entry.sha256, entry.owner)
    adapters.purge(time.time() - UNDO_SECONDS)
    return {}


def restore_adapter(ask: Ask) -> dict[str, Any]:
    """Bring a deleted LoRA back."""
    entry = ask.adapter(deleted=True)
    restored = ask.studio.workspace.adapters.restore(entry.sha256, entry.owner)
    return {"adapter": adapter_view(restored, ask.studio.engine.info().base)}


def hidden_adapters(ask: Ask) -> dict[str, Any]:
    """The deleted LoRAs that can come back, and the files in folders that are no LoRAs, with the reason of each."""
    base = ask.studio.engine.info().base
    workspace = ask.studio.workspace
    hidden = workspace.adapters.shelf(ask.owner, deleted=True)
    return {"adapters": [adapter_view(entry, base) for entry in hidden], "unusable": workspace.folders.unusable()}


def examine_adapter(ask: Ask) -> dict[str, Any]:
    """Have the engine read a LoRA for the loaded base; its report then says how well it fits."""
    entry = ask.adapter()
    return import_adapter(ask, entry.sha256, entry.name)


def import_adapter(ask: Ask, sha256: str, name: str) -> dict[str, Any]:
    """Hand a LoRA file that lies in the store over to the engine, which checks it and enters it into the library."""
    spec = JobSpec(ask.new_id("job"), "import_adapter", ask.owner, {"file": sha256, "name": name})
    return {"job": ask.studio.engine.submit(spec)}


def download_adapter(ask: Ask) -> dict[str, Any]:
    """Have the engine fetch a LoRA from where the operator allows it: `source` is a repository or an address."""
    spec = JobSpec(ask.new_id("job"), "download_adapter", ask.owner, {"source": ask.text("source").strip()})
    return {"job": ask.studio.engine.submit(spec)}


def take_side(ask: Ask, path: Path, name: str) -> dict[str, Any]:
    """Take over what a file beside a LoRA says, dropped together with it; what a person changed stays.

    Raises:
        InvalidInput: it is no such file, or a picture that cannot be shown.
    """
    entry = ask.adapter()
    kind = (side_of(name) or ("", ""))[1]
    if kind == "picture":
        values: dict[str, Any] = {"cover": ask.studio.workspace.files.put_bytes(shrink(path, COVER_SIZE), ".webp")}
    elif kind:
        with path.open("rb") as file:
            text = (name, file.read(MAX_SIDE + 1))
        values = _side_values(entry, kind, text)
    else:
        raise InvalidInput(
            f"{name!r} is no file that is read beside a LoRA; .json, .civitai.info and pictures are.",
            code="side_unknown",
            given=name,
        )
    made = ask.studio.workspace.adapters.complete(entry.sha256, entry.owner, values)
    return {"adapter": adapter_view(made, ask.studio.engine.info().base)}


def _side_values(entry: AdapterEntry, kind: str, text: tuple[str, bytes]) -> dict[str, Any]:
    """What a text beside a LoRA changes; what it does not say stays."""
    facts = read_sides(text if kind == "plain" else None, text if kind == "info" else None)
    warnings = [*entry.side.get("warnings", []), *facts.warnings]
    told = {
        "trigger_words": list(facts.words),
        "recommended_weight": facts.weight,
        "notes": facts.notes,
        "side": entry.side | facts.as_side() | ({"warnings": warnings} if warnings else {}),
        "family": "" if entry.family else facts.family,
    }
    return {key: value for key, value in told.items() if value}


def _read(ask: Ask, name: str, value: Any) -> Any:
    """A field's text as the value that it is meant to be. Raises `InvalidInput` or `NotFound`."""
    if name in ("recommended_weight", "stars"):
        return number_of(value)
    if name == "cover" and value is None:
        return None
    if not isinstance(value, str):
        raise InvalidInput(
            f"{name} was given as {str(value)[:80]!r}; it must be a text; reload the page and try again.",
            code="call_value",
            field=name,
            given=str(value)[:80],
            allowed="a text",
        )
    return ask.file(value) if name == "cover" else value


def _folder(state: FolderState) -> dict[str, Any]:
    """How a folder stands, by its own name: no path of this machine leaves it."""
    name = folder_name(Path(state.folder))
    problem = state.problem
    if problem is not None:
        values = {key: str(value).replace(state.folder, name) for key, value in problem["values"].items()}
        problem = problem | {"message": problem["message"].replace(state.folder, name), "values": values}
    return dataclasses.asdict(state) | {"folder": name, "problem": problem}


ACTIONS = (
    library,
    adapter,
    edit_adapter,
    rename_adapter,
    adapter_uses,
    delete_adapter,
    restore_adapter,
    hidden_adapters,
    examine_adapter,
    download_adapter,
)
