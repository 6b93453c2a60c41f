"""`library`: the LoRAs that are there, folders that are read in place looked through, an entry shown or changed.

No model is loaded for any of it; fetching alone builds an engine, whose door checks what came.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from lora_studio.cli.follow import OWNER, EngineFactory, Teller, follow, loaded_base, opened, running, spec
from lora_studio.cli.options import LibraryOptions, given_settings
from lora_studio.errors import InvalidInput
from lora_studio.headers.adapter import TITLES
from lora_studio.settings import Settings, load_settings
from lora_studio.store import Workspace
from lora_studio.types import AdapterEntry, to_json

ACTIONS = ("list", "scan", "show", "edit", "fetch")
_EVERY = 2.0
"""Seconds between two lines about a scan."""


def run(options: LibraryOptions, build: EngineFactory) -> None:
    """Do what the first argument says.

    Raises:
        InvalidInput: it is none of `ACTIONS`, or something is missing.
        NotFound: the library has no such LoRA.
    """
    what = options.action or "list"
    if what not in ACTIONS:
        raise InvalidInput(
            f"library was asked for {what!r}; it knows {', '.join(ACTIONS)}; choose one of these.",
            code="library_action",
            given=what,
            allowed=", ".join(ACTIONS),
        )
    if what in ("show", "edit", "fetch") and not options.name:
        raise InvalidInput(f"NAME is missing behind library {what}; give one.", code="missing", given="NAME")
    settings = load_settings(**given_settings(options))
    with opened(settings) as workspace:
        answer = {
            "list": lambda: _list(workspace),
            "scan": lambda: _scan(workspace),
            "show": lambda: {"adapter": to_json(_found(workspace, options))},
            "edit": lambda: _edit(workspace, options),
            "fetch": lambda: _fetch(workspace, options, settings, build),
        }[what]()
    _print(answer, options.json)


def refresh(workspace: Workspace, settings: Settings) -> None:
    """Look through the folders once, so that names in them are found; what takes long is told on standard error."""
    if not settings.lora_folders:
        return
    told = time.monotonic()
    for state in workspace.folders.scan():
        if state.todo and time.monotonic() - told > _EVERY:
            told = time.monotonic()
            print(f"reading LoRAs in folders: {state.done} of {state.todo}", file=sys.stderr)
    for folder in workspace.folders.state.folders:
        if folder.problem is not None:
            print(f"note: {folder.problem['message']}", file=sys.stderr)


def _list(workspace: Workspace) -> dict[str, Any]:
    return {"adapters": [_line(entry) for entry in workspace.adapters.shelf(OWNER)]}


def _scan(workspace: Workspace) -> dict[str, Any]:
    """Look through all folders, telling how far it is."""
    began, told = time.monotonic(), time.monotonic()
    read = 0
    for state in workspace.folders.scan():
        read = max(read, state.done)
        if state.todo and time.monotonic() - told > _EVERY:
            told = time.monotonic()
            print(f"{state.done} of {state.todo} files read", file=sys.stderr)
    return {
        "folders": to_json(workspace.folders.state.folders),
        "unusable": workspace.folders.unusable(),
        "read": read,
        "seconds": round(time.monotonic() - began, 3),
    }


def _found(workspace: Workspace, options: LibraryOptions) -> AdapterEntry:
    entry = workspace.adapters.find(str(options.name), OWNER)
    return workspace.adapters.get(entry.sha256, entry.owner)


def _edit(workspace: Workspace, options: LibraryOptions) -> dict[str, Any]:
    given = {
        "name": options.label,
        "trigger_words": options.words,
        "recommended_weight": options.weight,
        "stars": options.stars,
        "notes": options.notes,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise InvalidInput(
            "library edit was given nothing to change; give --label, --words, --weight, --stars or --notes.",
            code="missing",
            given="--label",
        )
    entry = _found(workspace, options)
    return {"adapter": to_json(workspace.adapters.update(entry.sha256, owner=entry.owner, **changes))}


def _fetch(workspace: Workspace, options: LibraryOptions, settings: Settings, build: EngineFactory) -> dict[str, Any]:
    """Fetch a LoRA from where the settings allow it."""
    teller = Teller()
    try:
        with running(build, settings, workspace) as engine:
            loaded_base(engine, settings, teller)
            job = engine.submit(spec("download_adapter", {"source": str(options.name)}))
            result = follow(engine, job, teller)
    finally:
        teller.done()
    return {"adapter": to_json(workspace.adapters.get(str(result["adapter"]), OWNER))}


def _line(entry: AdapterEntry) -> dict[str, Any]:
    """An entry as lists show it."""
    return {
        "name": entry.name,
        "sha256": entry.sha256,
        "family": entry.family,
        "rank": entry.rank,
        "size": entry.size,
        "trigger_words": list(entry.trigger_words),
        "recommended_weight": entry.recommended_weight,
        "stars": entry.stars,
        "stem": entry.stem,
        "places": list(entry.places),
        "missing": entry.missing,
        "warnings": entry.side.get("warnings", []),
    }


def _print(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(answer, ensure_ascii=False))
        return
    shown: dict[str, Callable[[Any], list[str]]] = {
        "adapters": lambda listed: [_text(one) for one in listed],
        "folders": lambda listed: [_folder(one) for one in listed] or ["no folders are set; see lora_folders"],
        "unusable": lambda listed: [f"not used ({_reason(one['code'])}): {one['place']}" for one in listed],
        "adapter": lambda one: [f"{name}: {value}" for name, value in one.items() if value not in (None, "", [], {})],
    }
    for name, value in answer.items():
        for line in shown.get(name, lambda _: [])(value):
            print(line)


def _reason(code: str) -> str:
    """Why a file in a folder is not used."""
    return "a pickle; convert it first, by `adapter convert`" if code == "pickled" else code


def _text(line: dict[str, Any]) -> str:
    facts = [TITLES.get(line["family"], line["family"]), f"rank {line['rank']}" if line["rank"] else ""]
    facts += [", ".join(line["trigger_words"]), *line["places"], "missing" if line["missing"] else ""]
    return "  ".join([line["name"], line["sha256"][:12], *filter(None, facts)])


def _folder(state: dict[str, Any]) -> str:
    if state["problem"] is not None:
        return str(state["problem"]["message"])
    return f"{state['folder']}: {state['files']} LoRAs, {state['unusable']} other files"
