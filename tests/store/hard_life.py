"""What the subprocesses of `test_hard_life` do; prints one JSON object, or one acknowledgement a line."""

from __future__ import annotations

import hashlib
import json
import os
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lora_studio.errors import StorageError, StudioError
from lora_studio.store import Workspace
from lora_studio.types import JobSpec


def scribble(root: Path) -> dict[str, Any]:
    """Write until killed, acknowledging what has been written."""
    workspace = Workspace.open(root)
    rng = random.Random(os.getpid())
    job = workspace.jobs.create(JobSpec(f"{os.getpid()}", "train", "ann", {}))
    print(json.dumps({"job": job.id}), flush=True)
    while True:
        sha256 = workspace.files.put_bytes(rng.randbytes(rng.choice((10, 10_000, 2_000_000))), ".bin")
        event = workspace.jobs.append(job.id, "preview", {"sha256": sha256})
        print(json.dumps({"file": sha256, "seq": event.seq}), flush=True)
        if event.seq % 3 == 2:
            kept = workspace.files.put_bytes(rng.randbytes(300_000), ".ckpt")
            workspace.jobs.save_checkpoint(job.id, event.seq, kept)
            print(json.dumps({"checkpoint": kept, "step": event.seq}), flush=True)
        if event.seq % 5 == 4:
            short = workspace.jobs.create(JobSpec(f"{job.id}-{event.seq}", "generate", "ann", {}))
            workspace.jobs.finish_with(short.id, "done", "done", {"n": 1}, result={"n": 1})
            print(json.dumps({"done": short.id}), flush=True)


def stall(root: Path) -> dict[str, Any]:
    """Write the first half of a file, say so, and wait to be killed."""
    workspace = Workspace.open(root)
    half = bytes(3_000_000)

    def chunks() -> Iterator[bytes]:
        yield half
        print(json.dumps({"half": True}), flush=True)
        time.sleep(60)
        yield half

    workspace.files._write(hashlib.sha256(half + half).hexdigest(), ".bin", chunks())
    return {}


def fill(root: Path) -> dict[str, Any]:
    """Fill a small disk with files, then with events, then make room again."""
    workspace = Workspace.open(root)
    job = workspace.jobs.create(JobSpec("job", "train", "ann", {}))
    kept: list[str] = []
    told: dict[str, Any] = {"files": None, "events": None}
    try:
        while len(kept) < 1000:
            kept.append(workspace.files.put_bytes(random.randbytes(100_000)))
    except StorageError as error:
        told["files"] = error.as_json()
    told["whole"] = all(workspace.files.put_bytes(workspace.files.read(sha256)) == sha256 for sha256 in kept)
    told["left"] = [path.name for path in (root / "files").rglob(".tmp-*")]
    events = 0
    try:
        while events < 10_000:
            workspace.jobs.append(job.id, "step", {"text": "x" * 5_000})
            events += 1
    except StorageError as error:
        told["events"] = error.as_json()
    told["acknowledged"] = [event.seq for event in workspace.jobs.events(job.id)] == list(range(events))
    for sha256 in kept[: len(kept) // 2]:
        workspace.files.delete(sha256)
    told["goes on"] = workspace.jobs.append(job.id, "step", {}).seq == events
    told["kept"] = len(kept)
    workspace.close()
    return told


def limited(root: Path) -> dict[str, Any]:
    """Write files and rows that are larger than this process may write."""
    workspace = Workspace.open(root)
    job = workspace.jobs.create(JobSpec("job", "train", "ann", {}))
    small = workspace.files.put_bytes(b"small")
    source = root / "source.bin"
    source.write_bytes(random.randbytes(1_500_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    told: dict[str, Any] = {}
    calls = {
        "bytes": lambda: workspace.files.put_bytes(bytes(1_200_000)),
        "file": lambda: workspace.files.put_file(source),
        "event": lambda: workspace.jobs.append(job.id, "step", {"text": "x" * 1_500_000}),
    }
    for name, call in calls.items():
        try:
            call()
        except StorageError as error:
            told[name] = error.as_json()
    told["left"] = [path.name for path in (root / "files").rglob(".tmp-*")]
    told["small"] = workspace.files.read(small) == b"small"
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    told["seq"] = workspace.jobs.append(job.id, "step", {}).seq
    told["has"] = workspace.files.has(workspace.files.put_file(source))
    workspace.close()
    return told


def attempt(root: Path) -> dict[str, Any]:
    """Open a workspace and tell the sentence."""
    try:
        Workspace.open(root).close()
    except StudioError as error:
        return error.as_json()
    return {}


def as_nobody(root: Path) -> dict[str, Any]:
    """The same without the rights of root."""
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    return attempt(root)


if __name__ == "__main__":
    actions = {each.__name__: each for each in (scribble, stall, fill, limited, attempt, as_nobody)}
    print(json.dumps(actions[sys.argv[1]](Path(sys.argv[2]))))
