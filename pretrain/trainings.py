"""What a base folder was trained by: its `training.json`, one entry a training, which `export` goes on writing.

A training keeps in its checkpoint what its base told when it began, so that an export of a later step replaces the
entry of an earlier one instead of counting its samples twice. It knows no models.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAME = "training.json"
UNNAMED = ""  # the name of a run that began before runs had names
PLACES = ("base", "device", "folder")  # settings of a recipe that name places of the machine it ran on


def read(base: Path) -> list[dict[str, Any]]:
    """The trainings of a base folder, the first one first; none where nothing was written.

    Raises:
        ValueError: the file is damaged.
    """
    path = base / NAME
    if not path.exists():
        return []
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["trainings"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not tell any trainings ({error!r}); restore it, or remove it.") from error
    return found


def origin(base: Path, began: bool) -> list[dict[str, Any]]:
    """The trainings that a base had when a run began with it.

    began: the run is older than this file and began before; the base is taken to be still the same, but for what an
    export of this very run wrote into it.
    """
    return [one for one in read(base) if not (began and one.get("run") == UNNAMED)]


def entry(state: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint's training is remembered by."""
    identity = state["identity"]
    bound = {key: identity[key] for key in ("encoder", "tokenizer", "reader") if identity.get(key)}
    return {
        "kind": identity["kind"],
        "run": state.get("run", UNNAMED),
        "step": state["step"],
        "samples": state["samples"],
        "hours": round(state["seconds"] / 3600, 2),
        **bound,
        "recipe": _without_places(state["recipe"]),
        "changes": [{**one, "values": _without_places(one["values"])} for one in state.get("changes", [])],
    }


def _without_places(recipe: Any) -> Any:
    """Nested settings, or settings by dotted names, but for those that name places."""
    if isinstance(recipe, dict):
        return {name: _without_places(value) for name, value in recipe.items() if name.rpartition(".")[2] not in PLACES}
    return [_without_places(one) for one in recipe] if isinstance(recipe, (tuple, list)) else recipe


def with_these(states: list[dict[str, Any]], like: Path) -> list[dict[str, Any]]:
    """The trainings of a base that takes the parts of these checkpoints and all else from `like`.

    UNet and text encoder bring the trainings of the base that they began with, or none where they began anew; of `like`
    stay those of the autoencoder then, since its UNet is replaced.
    """
    before = read(like)
    brought = next((state for state in states if state["identity"]["kind"] in ("diffusion", "text")), None)
    if brought is not None:
        anew = brought["recipe"].get("diffusion", {}).get("start") == "new"
        origin = [] if anew else brought.get("origin", before)
        before = [*origin, *(one for one in before if one["kind"] == "autoencoder" and one not in origin)]
    mine = {(state["identity"]["kind"], state.get("run", UNNAMED)) for state in states}
    return [*(one for one in before if (one["kind"], one.get("run")) not in mine), *map(entry, states)]


def samples(trainings: list[dict[str, Any]]) -> int:
    """Pictures that UNet and text encoder have seen together in all their trainings."""
    return sum(one["samples"] for one in trainings if one["kind"] == "diffusion")


def text(trainings: list[dict[str, Any]]) -> str:
    """The file."""
    return json.dumps({"samples": samples(trainings), "trainings": trainings}, indent=1) + "\n"


def check_whole(base: Path) -> None:
    """Refuses a base without UNet or text encoder, as an export of a tokenizer is.

    Raises:
        ValueError: one of them is missing.
    """
    for part in ("unet", "text_encoder"):
        if not (base / part / "config.json").exists():
            raise ValueError(
                f"{base} has no {part} that reads its tokenizer; begin both models anew with "
                "`diffusion --set diffusion.start=new`, and export that."
            )
