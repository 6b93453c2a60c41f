"""How long a page waits for the library of a thousand LoRA files, and what looking for changes costs.

    python -m benchmarks.library [--count 1000] [--metadata 50000]

The files lie in a folder as A1111 keeps them, each with as much metadata as kohya's trainer writes (tag frequencies)
and a text beside it; their tensors are small, for hashing is the disk's time. `list` is what one call of a page takes
on the server, JSON included; beside it stands reading the headers of all files, as a program does that keeps no table,
one block of rounds after the other.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine
from lora_studio.headers import header
from lora_studio.store import Workspace
from lora_studio.ui.views import adapter_view

ROUNDS = 7


def write(folder: Path, count: int, metadata: int) -> None:
    """`count` LoRA files, each with `metadata` bytes of texts."""
    tags = {f"tag {number}": number for number in range(metadata // 20)}
    for number in range(count):
        place = folder / f"set {number % 20}"
        place.mkdir(parents=True, exist_ok=True)
        told = {"ss_tag_frequency": json.dumps({"10_x": tags}), "ss_output_name": f"lora {number}"}
        shape = {"dtype": "F16", "shape": [4, 768], "data_offsets": [0, 6144]}
        name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight"
        text = json.dumps({"__metadata__": told, name: shape}).encode()
        path = place / f"lora {number}.safetensors"
        path.write_bytes(struct.pack("<Q", len(text)) + text + number.to_bytes(6144, "little"))
        path.with_suffix(".json").write_text(json.dumps({"activation text": f"word{number}", "notes": "n" * 200}))


def median(work: Callable[[], Any]) -> float:
    """Seconds of the middle one of several rounds."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def listed(workspace: Workspace) -> bytes:
    """What the page's call answers."""
    used = workspace.adapters.last_used("ann")
    views = [adapter_view(entry, None, used.get(entry.sha256)) for entry in workspace.adapters.shelf("ann")]
    return json.dumps({"adapters": views}, ensure_ascii=False, separators=(",", ":")).encode()


def headers(folder: Path) -> int:
    """Reading all headers, as a program must that keeps nothing."""
    read = 0
    for path in folder.rglob("*.safetensors"):
        with path.open("rb") as file:
            read += len(header.read(file, path.stat().st_size))
    return read


def measure(count: int, metadata: int) -> dict[str, Any]:
    """The figures."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "Lora"
        write(folder, count, metadata)
        with Workspace.open(Path(place) / "workspace", [folder]) as workspace:
            began = time.perf_counter()
            read = max(state.todo for state in workspace.folders.scan())
            first = time.perf_counter() - began
            again = median(lambda: list(workspace.folders.scan()))
            answer = median(lambda: listed(workspace))
            without = median(lambda: headers(folder))
            return {
                "files": read,
                "metadata_bytes": metadata,
                "first_scan_seconds": round(first, 2),
                "scan_without_changes_ms": round(1000 * again, 1),
                "list_ms": round(1000 * answer, 1),
                "list_bytes": len(listed(workspace)),
                "headers_ms": round(1000 * without, 1),
                "headers_by_list": round(without / answer, 1),
                "machine": machine.describe(),
            }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--metadata", type=int, default=50_000)
    given = parser.parse_args()
    print(json.dumps(measure(given.count, given.metadata), indent=1))


if __name__ == "__main__":
    main()
