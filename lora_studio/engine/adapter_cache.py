"""Adapters that were read, by sha256: reading one is checking it, and that is done once per base.

Host memory holds them; what is joined for a call lies in the base's slots.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import OrderedDict
from typing import Any

from lora_studio.adapters import AdapterReport, CanonicalAdapter, admit
from lora_studio.errors import NotFound
from lora_studio.pipeline import SharedBase
from lora_studio.store import Workspace
from lora_studio.types import BaseInfo, to_json

_REMEMBERED = 64
_TOLD = ("layers_ignored", "adapter_zero", "adapter_alpha_zero", "adapter_other_base")
"""Warnings that explain a picture; the others are said once, when a file is brought in."""
_BYTES = 4 * 2**30
"""Bytes of the adapters that are remembered; the one at hand is kept in any case."""
_NOT_KEPT = ("metadata", "bundled", "converted", "refused")
"""Fields of a report that an entry holds elsewhere, or that are no JSON."""


def remember(workspace: Workspace, sha256: str, report: AdapterReport, base: BaseInfo) -> dict[str, Any]:
    """Keep what the door found out, beside what the header says, in the file's entries; and give it."""
    told = {
        field.name: to_json(getattr(report, field.name))
        for field in dataclasses.fields(report)
        if field.name not in _NOT_KEPT
    }
    with contextlib.suppress(NotFound):
        known = workspace.adapters.get(sha256).report
        fresh = {key: value for key, value in told.items() if value not in ("", None) or key not in known}
        if report.strength is None:  # read without weights: what was measured before is true of that base alone
            here = known if known.get("base") == base.sha256 else told
            fresh |= {key: here.get(key, told[key]) for key in ("strength", "blocks")}
        told = known | fresh | {"base": base.sha256, "base_title": base.title}
        if told != known:
            workspace.adapters.report(sha256, told)
    return told


class AdapterCache:
    """The most recently used adapters for one base."""

    def __init__(self, workspace: Workspace, base: SharedBase) -> None:
        self._workspace = workspace
        self._base = base
        self._items: OrderedDict[str, tuple[CanonicalAdapter, tuple[dict[str, Any], ...]]] = OrderedDict()

    def get(self, sha256: str) -> tuple[CanonicalAdapter, tuple[dict[str, Any], ...]]:
        """The adapter and what a person should know of its pictures; raises `NotFound` or `AdapterRefused`."""
        if sha256 in self._items:
            self._items.move_to_end(sha256)
            return self._items[sha256]
        files = self._workspace.files
        adapter, report = admit(files.path(sha256), sha256, self._base.layers, self._base.info.sha256)
        files.path(sha256)  # once more: one in a folder may have been written over while it was read
        remember(self._workspace, sha256, report, self._base.info)
        found = (adapter, tuple(warning for warning in report.warnings if warning["code"] in _TOLD))
        self._items[sha256] = found
        while len(self._items) > _REMEMBERED or (len(self._items) > 1 and self._bytes() > _BYTES):
            _, (forgotten, _) = self._items.popitem(last=False)
            self._base.slots.forget(forgotten.key)  # which is not the file's hash where a config lies beside it
        return found

    def _bytes(self) -> int:
        return sum(adapter.nbytes for adapter, _ in self._items.values())
