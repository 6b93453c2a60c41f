"""`studio(...)`: one run of the command line in this process, against an engine without a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lora_studio.cli import main
from lora_studio.settings import Settings
from lora_studio.store import Workspace
from tests.cli.fake import FakeEngine, Faults
from tests.support.hardship import locked

__all__ = ["locked"]


@dataclass
class Answer:
    """What a run left."""

    code: int
    out: str
    err: str
    engines: list[FakeEngine] = field(default_factory=list)


Studio = Callable[..., Answer]


@pytest.fixture
def studio(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Studio:
    """Run a command with the workspace `tmp_path/ws`; the folder `tmp_path/here` is the current one."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("LORA_STUDIO_WORKSPACE", str(tmp_path / "ws"))
    monkeypatch.setenv("LORA_STUDIO_ASSETS", str(tmp_path / "assets"))

    def run(*argv: str, faults: Faults | None = None, served: list[Settings] | None = None) -> Answer:
        engines: list[FakeEngine] = []

        def build(settings: Settings, workspace: Workspace) -> FakeEngine:
            engines.append(FakeEngine(settings, workspace, faults or Faults()))
            return engines[-1]

        def page(settings: Settings) -> None:
            assert served is not None, "nobody meant to serve"
            served.append(settings)

        code = main(argv, build, page)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err, engines)

    return run
