"""`python -m lora_studio` and the composition root: here an engine is chosen and handed on.

Models and screens are imported when they are needed and not before, so that `--help` and a mistyped option are
answered at once.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from lora_studio.cli import main as run_command
from lora_studio.settings import Settings

if TYPE_CHECKING:
    from lora_studio.engine.protocol import Engine
    from lora_studio.store import Workspace


def engine(settings: Settings, workspace: Workspace, remember: bool = False) -> Engine:
    """The engine that runs in this very process; `remember`: with the base that a person chose last on the page."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read once, on import: it warns of parts that nobody uses
    from lora_studio.engine.inline import build_engine

    return build_engine(settings, workspace, remember)


def page(settings: Settings) -> None:
    """Open workspace and engine, watch the folders of LoRAs, and serve the page until it is stopped."""
    from lora_studio.cli.follow import opened, running
    from lora_studio.engine.watch import Watcher
    from lora_studio.web import serve

    with (
        opened(settings) as workspace,
        running(partial(engine, remember=True), settings, workspace) as built,
        Watcher(workspace.folders, tidy=workspace.purge),
    ):
        serve(settings, workspace, built)


def main(argv: list[str] | None = None) -> int:
    """Run one command of `argv` (the process's own by default) and return its exit code."""
    return run_command(sys.argv[1:] if argv is None else argv, engine, page)


if __name__ == "__main__":
    sys.exit(main())
