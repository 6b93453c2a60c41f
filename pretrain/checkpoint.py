"""One checkpoint of a training: everything that it needs to go on, replaced whole.

It knows no models; the state is nested dictionaries and lists of tensors, numbers and words, so that it can be read
without running code. A call that is killed while writing leaves the checkpoint before.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from pretrain.files import replacing

NAME = "checkpoint.pt"
FORMAT = 1


def save(folder: Path, state: dict[str, Any]) -> None:
    """Writes folder/checkpoint.pt."""
    with replacing(folder / NAME) as file:
        torch.save({"format": FORMAT, **state}, file)


def load(folder: Path) -> dict[str, Any] | None:
    """The state of a folder with tensors on the CPU, or None where no checkpoint is.

    Raises:
        ValueError: a file that is no checkpoint of this format.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{path} is no checkpoint ({error}); remove it to begin anew.") from error
    if state.get("format") != FORMAT:
        raise ValueError(f"{path} has the format {state.get('format')!r}; this program reads {FORMAT}; begin anew.")
    return state


def check_kind(folder: Path, state: dict[str, Any], kind: str) -> None:
    """Refuses the checkpoint of another kind of training.

    Raises:
        ValueError: it is of another kind; the sentence names both.
    """
    found = state["identity"]["kind"]
    if found != kind:
        raise ValueError(f"{folder} is of a training of {found!r}, and {kind!r} is asked for; name the folder of one.")
