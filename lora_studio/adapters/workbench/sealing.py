"""A finished adapter as a file: its tensors, what the header says of it, and the hashes over both.

The header goes on saying what the sources said (trigger words, licence, base), with what is no longer true put right:
rank and alpha are the new ones, hashes are new, and `lora_studio_made_by` tells from which files it was made and how.
It does not know jobs.

Sources: kohya-ss/sd-scripts train_network.py (`ss_*`); https://github.com/Stability-AI/ModelSpec (`modelspec.*`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from lora_studio import __version__
from lora_studio.adapters.canonical import LayerChange
from lora_studio.adapters.workbench.metadata import HASHES, Edit, plan, rewritten
from lora_studio.headers import header
from lora_studio.types.library import BUNDLED

_STALE = (
    *HASHES,
    "lora_adapter_metadata",
    "ss_network_args",
    "modelspec.merged_from",
    "lora_studio_made_by",
    BUNDLED,  # the library's own word, which no file can give
)


def metadata_of(
    sources: Sequence[Mapping[str, str]], layers: Mapping[str, LayerChange], how: dict[str, Any]
) -> dict[str, str]:
    """The metadata of a result.

    Args:
        sources: the metadata of the files that it was made of; of several what they all say alike stays.
        layers: of the result.
        how: tool, settings and the beginnings of the sources' hashes, told under `lora_studio_made_by`.
    """
    first, *others = sources or ({},)
    found = {k: v for k, v in first.items() if k not in _STALE and all(other.get(k) == v for other in others)}
    ranks = sorted({int(getattr(change, "rank", 0)) for change in layers.values()} - {0})
    said = str(ranks[0]) if len(ranks) == 1 else "Dynamic"
    found |= {"format": "pt", "ss_network_dim": said, "ss_network_alpha": said, "ss_network_module": "networks.lora"}
    if others:
        titles = [source.get("modelspec.title") or source.get("ss_output_name") or "" for source in sources]
        found["modelspec.merged_from"] = ", ".join(title for title in titles if title)
        phrases = [source.get("modelspec.trigger_phrase", "") for source in sources]
        found["modelspec.trigger_phrase"] = ", ".join(dict.fromkeys(phrase for phrase in phrases if phrase))
    found["lora_studio_made_by"] = json.dumps({"version": __version__, **how}, ensure_ascii=False, sort_keys=True)
    return {key: value for key, value in found.items() if value}


def seal(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], path: Path) -> None:
    """Write the file at `path` (a place of our own) with its hashes. Raises `InvalidInput` for too much metadata."""
    draft = path.with_name(f"{path.name}.draft")
    save_file(dict(tensors), draft, metadata=dict(metadata))
    with draft.open("rb") as file:
        named = header.read(file, draft.stat().st_size)
    planned = plan(draft, named, Edit({}, hashes=True))
    with path.open("wb") as out:
        for chunk in rewritten(draft, named, planned.metadata):
            out.write(chunk)
    draft.unlink()
