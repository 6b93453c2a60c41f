"""Which bases there are to choose from, and asking for another one."""

from __future__ import annotations

from typing import Any

from lora_studio.store.checkpoints import list_checkpoints
from lora_studio.types import BaseChoice, JobSpec, to_json
from lora_studio.ui.forms import plan
from lora_studio.ui.studio import Ask, folder_name


def bases(ask: Ask) -> dict[str, Any]:
    """The checkpoint files of the operator's folder, its own name, and the plan of how a base can be read."""
    folder = ask.studio.settings.checkpoints
    return {
        "folder": None if folder is None else folder_name(folder),
        "files": [{"name": one.name, "size": one.size} for one in list_checkpoints(folder)],
        "form": plan(BaseChoice),
    }


def load_base(ask: Ask) -> dict[str, Any]:
    """Ask for another base; it is loaded when the jobs before it have ended."""
    choice = BaseChoice(
        ask.text("base").strip(), ask.text("prediction_type", "auto"), ask.text("zero_terminal_snr", "auto")
    )
    return {"job": ask.studio.engine.submit(JobSpec(ask.new_id("job"), "load_base", ask.owner, to_json(choice)))}


ACTIONS = (bases, load_base)
