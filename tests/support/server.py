"""The page in a process of its own, on the pretended engine or the real one: `python -m tests.support.server -h`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from lora_studio.engine.sources import policy_of
from lora_studio.engine.watch import Watcher
from lora_studio.settings import load_settings
from lora_studio.store import Workspace
from lora_studio.store.samples import install_samples
from tests.support.fake_engine import FakeEngine, add_samples


def main() -> None:
    """Serve until told to stop; `--kind real` needs the embedded base."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--kind", choices=("fake", "real"), default="fake")
    parser.add_argument("--loras", type=Path, action="append", help="a folder of LoRAs to read in place")
    parser.add_argument("--fetch", action="store_true", help="let pages fetch LoRAs (the pretended engine's own)")
    parser.add_argument("--checkpoints", type=Path, help="a folder of models to choose from")
    given = parser.parse_args()
    settings = load_settings(
        workspace=given.workspace,
        port=given.port,
        open_browser=False,
        offline=not given.fetch,
        lora_folders=given.loras,
        checkpoints=given.checkpoints,
        download_hub=given.fetch,
        download_hosts=("civitai.com",) if given.fetch else (),
    )
    workspace = Workspace.open(settings.workspace, settings.lora_folders, settings.limits)
    if given.kind == "real":
        from lora_studio.engine.inline import build_engine

        install_samples(workspace, settings.assets)
        engine = build_engine(settings, workspace)
    else:
        add_samples(workspace)
        engine = FakeEngine(workspace, settings.assets, downloads=policy_of(settings), checkpoints=given.checkpoints)
    from lora_studio.web import serve

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with Watcher(workspace.folders, pause=0.5):
            serve(settings, workspace, engine)
    finally:
        engine.close()
        workspace.close()


if __name__ == "__main__":
    main()
