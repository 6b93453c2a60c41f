"""A studio on the pretended engine, asked directly: no page, no HTTP."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_studio.settings import Settings
from lora_studio.store import Workspace
from lora_studio.types import Job
from lora_studio.types.jobs import FINAL
from lora_studio.ui.actions import actions
from lora_studio.ui.studio import Ask, Studio
from tests.support.fake_engine import FakeEngine, add_samples

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0

Call = Callable[..., Any]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    settings = Settings(workspace=tmp_path / "ws", assets=ROOT / "assets")
    workspace = Workspace.open(settings.workspace)
    add_samples(workspace)
    (workspace.root / "fake.json").write_text('{"step_seconds": 0.001}', encoding="utf-8")
    engine = FakeEngine(workspace, settings.assets)
    yield Studio(engine, workspace, settings)
    engine.close()
    workspace.close()


@pytest.fixture
def call(studio: Studio) -> Call:
    """call("name", owner="ann", key=value): what a page of `owner` gets."""
    known = actions()

    def ask(name: str, owner: str = "ann", /, **data: Any) -> Any:
        return known[name](Ask(studio, owner, data))

    return ask


def uid() -> str:
    """An id as pages choose them."""
    return uuid.uuid4().hex


def wait_until(true: Callable[[], Any]) -> None:
    """Come back when it is so; an assertion fails when it takes too long."""
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


def ended(studio: Studio, job_id: str) -> Job:
    """The job when it has ended."""
    wait_until(lambda: studio.engine.job(job_id).state in FINAL)
    return studio.engine.job(job_id)
