"""What every test stands on: no network, no settings of the person who runs it, Chromium only where it is."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

CHROMIUM = "chromium"


def pytest_configure() -> None:
    """Set before any library reads them: nothing is fetched or reported; one thread computes, the models are tiny."""
    for name in [name for name in os.environ if name.startswith("LORA_STUDIO_")]:
        del os.environ[name]
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells begin background jobs
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what drives a browser where there is none."""
    if shutil.which(CHROMIUM) is None:
        skip = pytest.mark.skip(reason="chromium is not installed; see the README's test command")
        for item in items:
            if "browser" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default workspace lies in a folder of the test's own, so that no test touches a person's."""
    home: Path = tmp_path_factory.mktemp("data")
    monkeypatch.setenv("XDG_DATA_HOME", str(home))


@pytest.fixture(scope="session")
def empty_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a new workspace; made once, because making the tables is most of a small test's time."""
    from lora_studio.store import Workspace

    root = tmp_path_factory.mktemp("empty") / "workspace"
    Workspace.open(root).close()
    return root
