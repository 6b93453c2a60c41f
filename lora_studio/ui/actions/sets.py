"""Sets of pictures with captions. Uploads come by another door and end in `view`."""

from __future__ import annotations

from typing import Any

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.types import DatasetItem, to_json
from lora_studio.ui.actions.status import examples
from lora_studio.ui.studio import Ask
from lora_studio.ui.views import dataset_view


def sets(ask: Ask) -> dict[str, Any]:
    """The caller's sets, newest first, without their pictures but for the first few."""
    listed = ask.studio.workspace.datasets.list(ask.owner)
    return {
        "sets": [
            {
                "id": manifest.id,
                "name": manifest.name,
                "count": len(manifest.items),
                "show": [item.sha256 for item in manifest.items[:4]],
            }
            for manifest in listed
        ]
    }


def view_set(ask: Ask) -> dict[str, Any]:
    """One set with all its pictures."""
    return {"set": dataset_view(ask.dataset())}


def new_set(ask: Ask) -> dict[str, Any]:
    """A new, empty set."""
    return {"set": dataset_view(ask.studio.workspace.datasets.create(ask.text("name"), ask.owner))}


def sample_set(ask: Ask) -> dict[str, Any]:
    """A new set of the caller's own, filled with the pictures of a sample set."""
    name = ask.text("name")
    assets = ask.studio.settings.assets
    known = [example["name"] for example in examples(assets)]
    if name not in known:
        raise NotFound(
            f"There is no sample set {name[:80]!r}; there are {', '.join(known)}; choose one of these.",
            code="sample_missing",
            given=name[:80],
            allowed=", ".join(known),
        )
    datasets = ask.studio.workspace.datasets
    made = datasets.create(name, ask.owner)
    files = sorted(path for path in (assets / "examples" / name).iterdir() if path.suffix in (".png", ".txt"))
    return {"set": dataset_view(datasets.add_files(made.id, files))}


def caption(ask: Ask) -> dict[str, Any]:
    """Change a picture's caption."""
    ask.studio.workspace.datasets.set_caption(ask.dataset().id, ask.text("sha256"), ask.text("caption"))
    return {}


def replace_captions(ask: Ask) -> dict[str, Any]:
    """Replace a text in all captions of a set; `undo` is what `restore_captions` needs, by sha256."""
    found = ask.dataset()
    changes = ask.studio.workspace.datasets.replace_in_captions(found.id, ask.text("find"), ask.text("replace"))
    undo = {sha256: list(texts) for sha256, texts in changes.items()}
    return {"changed": len(changes), "undo": undo, "set": dataset_view(ask.dataset())}


def restore_captions(ask: Ask) -> dict[str, Any]:
    """Undo `replace_captions`, or a part of it, wherever nobody has written since then."""
    found = ask.dataset()
    told = ask.table("undo")
    changes = {}
    for sha256, texts in told.items():
        if not (isinstance(texts, list) and len(texts) == 2 and all(isinstance(text, str) for text in texts)):
            raise InvalidInput(
                f"undo was given with {str(texts)[:80]!r}; it must hold two texts for each picture; reload the page.",
                code="call_value",
                field="undo",
                given=str(texts)[:80],
                allowed="two texts for each picture",
            )
        changes[sha256] = (texts[0], texts[1])
    restored = ask.studio.workspace.datasets.restore_captions(found.id, changes)
    return {"restored": restored, "set": dataset_view(ask.dataset())}


def drop_picture(ask: Ask) -> dict[str, Any]:
    """Take a picture out of a set; what comes back is what `put_back` needs."""
    found = ask.dataset()
    sha256 = ask.text("sha256")
    index = next((number for number, item in enumerate(found.items) if item.sha256 == sha256), 0)
    item = ask.studio.workspace.datasets.remove(found.id, sha256)
    return {"item": to_json(item), "index": index, "set": dataset_view(ask.dataset())}


def put_back(ask: Ask) -> dict[str, Any]:
    """Undo `drop_picture`."""
    found = ask.dataset()
    told = Ask(ask.studio, ask.owner, ask.table("item"))
    # Its size and what else is said of it are seen in its file.
    item = DatasetItem(told.text("sha256"), 0, 0, told.text("caption"), told.text("source"))
    ask.studio.workspace.datasets.restore(found.id, item, ask.whole("index"))
    return {"set": dataset_view(ask.dataset())}


def rename_set(ask: Ask) -> dict[str, Any]:
    """Give a set another name."""
    ask.studio.workspace.datasets.rename(ask.dataset().id, ask.text("name"))
    return {"set": dataset_view(ask.dataset())}


def delete_set(ask: Ask) -> dict[str, Any]:
    """Remove a set and its pictures for good."""
    ask.studio.workspace.datasets.delete(ask.dataset().id)
    return {}


ACTIONS = (
    sets,
    view_set,
    new_set,
    sample_set,
    caption,
    replace_captions,
    restore_captions,
    drop_picture,
    put_back,
    rename_set,
    delete_set,
)
