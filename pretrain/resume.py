"""What a run keeps when it goes on from a checkpoint: its recipe, the base that it reads, the threads of its machine.

Sizes never change, lengths and cadence always may, all else where the person accepts it; every change is noted with
its step. It knows no models.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pretrain.machine import Machine
from pretrain.recipe import Recipe, differences

COMMON = ("base", "device", "numbers", "pictures")  # what every training reads of the recipe
SIZES = (".start", ".train", ".unet.", ".text_encoder.", ".model.", ".widths", ".least")  # never change within a run
MAY_CHANGE = (".steps", ".cadence.", ".sheet_", "pictures.processes", ".workers", "device")  # while a training runs
BOUND = {
    "encoder": "on the latents of another encoder",
    "tokenizer": "on the numbers of another tokenizer",
    "schedule": "with another noise schedule",
}
"""What a run takes from its base and keeps, by the key of its identity."""


def chosen(recipe: Recipe, names: tuple[str, ...]) -> dict[str, Any]:
    """What a training reads of the recipe, as nested dictionaries.

    names: dotted names of sections or of single settings; what every training reads is added.
    """
    whole, found = asdict(recipe), dict[str, Any]()
    for name in (*COMMON, *names):
        *above, last = name.split(".")
        source, target = whole, found
        for part in above:
            source, target = source[part], target.setdefault(part, {})
        target[last] = source[last]
    return found


def check_same(state: dict[str, Any], recipe: dict[str, Any], accept: bool) -> list[dict[str, Any]]:
    """Refuses to go on with another recipe than the checkpoint's, lengths and cadence aside, unless it is accepted.

    A section that the checkpoint has not is not compared: it was written before that section was kept.

    Returns:
        Nothing, or one entry: the step from which on values are others, and each as [old, new].

    Raises:
        ValueError: the recipes differ; the sentence names the settings.
    """
    known = {name: value for name, value in recipe.items() if name in state["recipe"]}
    every = differences(state["recipe"], known)
    changed = [name for name in every if not any(word in name for word in MAY_CHANGE)]
    sizes = [name for name in changed if any(word in name for word in SIZES) and not name.endswith(".rate")]
    if sizes:
        raise ValueError(
            f"The checkpoint at step {state['step']} was made with other values of {', '.join(sizes)}; what is trained "
            "cannot change within a run; export it, and begin another folder from the export."
        )
    if changed and not accept:
        raise ValueError(
            f"The checkpoint at step {state['step']} was made with other values of {', '.join(changed)}; a run keeps "
            "its recipe; choose another folder, or say --accept-changes to go on with the new values."
        )
    if changed:
        print(f"from step {state['step']} on with new values of {', '.join(changed)}", flush=True)
    values = {name: [_value(state["recipe"], name), _value(recipe, name)] for name in every}
    return [{"step": state["step"], "values": values}] if values else []


def _value(recipe: dict[str, Any], name: str) -> Any:
    """The value of a dotted name; None where it is not."""
    found: Any = recipe
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def check_base(folder: Path, state: dict[str, Any], identity: dict[str, Any], base: str, accept: bool) -> None:
    """Refuses a base that is not the one that a run began with, and another reader unless that is accepted.

    What a checkpoint does not tell, being older, is not compared.

    Args:
        identity: of the job as it would go on.

    Raises:
        ValueError: latents, tokens, schedule or reader are others.
    """
    before = state["identity"]
    for key, told in BOUND.items():
        if key in before and key in identity and before[key] != identity[key]:
            raise ValueError(
                f"{folder} was trained {told} than {base}'s; a run keeps what it began with; give it the base that it "
                "began with."
            )
    old, new = before.get("reader"), identity.get("reader")
    if old and new and old != new:
        if not accept:
            raise ValueError(
                f"{folder} listened to another reader ({old[:12]}) up to step {state['step']} than the one that is "
                f"there now ({new[:12]}), so its loss would be another; put that one back, or say --accept-changes."
            )
        print(f"from step {state['step']} on with the reader {new[:12]} instead of {old[:12]}", flush=True)


def tell_threads(state: dict[str, Any], machine: Machine) -> None:
    """Says so where a CPU adds up by another number of threads than before."""
    before, now = state.get("threads"), torch.get_num_threads()
    if machine.device == "cpu" and before and before != now:
        print(
            f"the checkpoint was made with {before} threads and this call has {now}; sums are rounded otherwise, so "
            f"the weights are not bit for bit those of one call; --threads {before} keeps to it",
            flush=True,
        )
