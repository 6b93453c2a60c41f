"""Which words of a request, a result or an event name a file, and that all others do not."""

from __future__ import annotations

from typing import Any

import pytest

from lora_studio.store import Workspace
from lora_studio.store.references import hashes_in
from lora_studio.types import JobSpec

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    "value",
    [
        A,
        [A],
        {"images": [{"sha256": A, "seed": 1}]},
        {"with": {"adapters": [{"sha256": A, "name": B, "weight": 1.0}]}},
        {"requests": [{"prompt": B, "init_image": A, "mask": None}]},
        {"tool": "combine", "request": {"parts": [{"file": A, "weight": 1}]}, "labels": {A: B}},
        {"adapter": A, "name": B},
        {"embedding": {"sha256": A, "name": B, "vectors": 2}},
    ],
)
def test_what_names_a_file(value: Any) -> None:
    assert set(hashes_in(value)) == {A}


@pytest.mark.parametrize(
    "value",
    [
        {"prompt": A, "negative_prompt": A, "base": A, "styles": [A], "name": A},
        {"tool": "meta", "request": {"put": {"sha256": A, "file": A}, "remove": [A]}},
        {"metadata": {"sha256": A}, "changes": [{"key": A, "before": A, "after": A}]},
        {"code": "file_missing", "message": A, "values": {"sha256": A}},
        {"source": A, "preview_prompts": [A], "trigger": A},
    ],
)
def test_what_a_person_or_a_file_says_names_none(value: Any) -> None:
    """Whoever wrote a hash as a prompt held the file of that hash, and could fetch it."""
    assert list(hashes_in(value)) == []


def test_nobody_holds_a_file_by_writing_its_hash(workspace: Workspace) -> None:
    secret = workspace.files.put_bytes(b"somebody's", ".png")
    job = workspace.jobs.create(JobSpec("j", "generate", "ben", {"requests": [{"prompt": secret}]}))
    book = workspace.notebooks.default("ben")
    workspace.notebooks.add(book.id, "picture", {"prompt": secret, "negative_prompt": secret}, job=job.id)
    problem = {"code": "file_missing", "message": "gone", "values": {"sha256": secret}}
    workspace.jobs.finish_with(job.id, "failed", "error", problem, error=problem)
    assert not workspace.references.held(secret, ["ben"])
