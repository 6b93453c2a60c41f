"""The workbench's tool for a header's texts: shows them, tells what an edit would change, and writes it.

It does not know turns: reading a header and copying a file is one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_studio.adapters.door import read_header
from lora_studio.adapters.workbench.metadata import Edit, plan, private_keys, rewritten
from lora_studio.adapters.workbench.thumbnail import data_url
from lora_studio.store import Workspace
from lora_studio.types.workbench import MetaRequest


def edited(
    request: MetaRequest, workspace: Workspace, label: str, folder: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    """{"metadata": as it will be, "changes": [{"key", "before", "after"}], "private": [keys], "files": written ones},
    and the metadata as they were.

    Raises:
        AdapterRefused: the file is no safetensors file.
        InvalidInput: the edit is not allowed.
    """
    path = workspace.files.path(request.file)
    named = read_header(path, label)
    put = dict(request.put)
    if request.thumbnail:
        put["modelspec.thumbnail"] = data_url(workspace.files.read(request.thumbnail))
    planned = plan(path, named, Edit(put, request.remove, request.strip, request.hashes))
    files = []
    if request.write:
        target = folder / "edited.safetensors"
        with target.open("wb") as out:
            for chunk in rewritten(path, named, planned.metadata):
                out.write(chunk)
        sha256 = workspace.files.put_file(target)
        files = [{"name": "adapter.safetensors", "sha256": sha256, "size": target.stat().st_size}]
    result = {
        "metadata": planned.metadata,
        "changes": [{"key": one.key, "before": one.before, "after": one.after} for one in planned.changes],
        "private": list(private_keys(planned.metadata)),
        "files": files,
    }
    return result, dict(named.get("__metadata__", {}))
