"""What can be given to `train` and `runs`: one frozen dataclass per command, as in `options`.

Every field of a recipe is an option; help, range and choices are those of the field of `TrainConfig` that it fills.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lora_studio.cli.options import JSON, OFFLINE, choice, number, setting, spec_of, switch, text
from lora_studio.types import RECIPES, TrainConfig

FOLDER = typer.Argument(metavar="DIR", help="Folder of pictures, each with its caption in a .txt beside it.")
NAME = text("--name", "N", "What the new LoRA is called in the library.")
RECIPE = text("--recipe", "|".join(RECIPES), "Where the settings start from; balanced if left out.")
PREVIEW = text("--preview-prompt", "P", "What the previews show; repeatable; the base's own choice if left out.")
OUT = text("--out", "F.safetensors", "The file to write; an older one of that name is replaced.")
CONTINUE = text("--continue", "RUN", "Go on with an interrupted run instead of starting one; runs lists them.")

FIELDS = {
    "recipe": "kind",
    "lr": "learning_rate",
    "embedding_lr": "embedding_rate",
    "preview_prompt": "preview_prompts",
}
"""Options that are called otherwise than the argument of `lora_studio.types.recipe` that they fill."""


def field(flag: str, metavar: str = "") -> Any:
    """The option that fills the field of `TrainConfig` that `flag` or `FIELDS` names; without `metavar` a choice or a
    switch."""
    option = flag.removeprefix("--").replace("-", "_")
    spec = spec_of(TrainConfig, FIELDS.get(option, option))
    hint = typing.get_type_hints(TrainConfig)[spec.name]
    kinds = (hint, *typing.get_args(hint))
    if bool in kinds:
        return switch(f"{flag}/--no-{flag.removeprefix('--')}", spec.doc)
    if str in kinds:
        return choice(flag, TrainConfig, spec.name, spec.choices) if spec.choices else text(flag, metavar, spec.doc)
    return number(flag, metavar, spec, int if int in kinds else float)


@dataclass(frozen=True)
class TrainOptions:
    """`train`: pictures in, a LoRA file out."""

    folder: Annotated[Path | None, FOLDER] = None
    name: Annotated[str | None, NAME] = None
    recipe: Annotated[str, RECIPE] = "balanced"
    steps: Annotated[int | None, field("--steps", "K")] = None
    rank: Annotated[int | None, field("--rank", "R")] = None
    alpha: Annotated[float | None, field("--alpha", "A")] = None
    lr: Annotated[float | None, field("--lr", "X")] = None
    trigger: Annotated[str | None, field("--trigger", "T")] = None
    seed: Annotated[int | None, field("--seed", "S")] = None
    batch_size: Annotated[int | None, field("--batch-size", "N")] = None
    resolution: Annotated[int | None, field("--resolution", "PIXELS")] = None
    flip: Annotated[bool | None, field("--flip")] = None
    layers: Annotated[str | None, field("--layers")] = None
    caption_dropout: Annotated[float | None, field("--caption-dropout", "F")] = None
    caption_shuffle: Annotated[float | None, field("--caption-shuffle", "F")] = None
    keep_unprompted: Annotated[bool | None, field("--keep-unprompted")] = None
    least_weight: Annotated[float | None, field("--least-weight", "W")] = None
    most_weight: Annotated[float | None, field("--most-weight", "W")] = None
    lr_scheduler: Annotated[str | None, field("--lr-scheduler")] = None
    warmup_steps: Annotated[int | None, field("--warmup-steps", "K")] = None
    min_snr_gamma: Annotated[float | None, field("--min-snr-gamma", "G")] = None
    snr_floor: Annotated[float | None, field("--snr-floor", "F")] = None
    weight_decay: Annotated[float | None, field("--weight-decay", "D")] = None
    max_grad_norm: Annotated[float | None, field("--max-grad-norm", "X")] = None
    preview_every: Annotated[int | None, field("--preview-every", "K")] = None
    preview_prompt: Annotated[tuple[str, ...], PREVIEW] = ()
    checkpoint_every: Annotated[int | None, field("--checkpoint-every", "K")] = None
    publish_captions: Annotated[bool | None, field("--publish-captions")] = None
    embedding: Annotated[str | None, field("--embedding", "NAME")] = None
    embedding_vectors: Annotated[int | None, field("--embedding-vectors", "N")] = None
    embedding_words: Annotated[str | None, field("--embedding-words", "WORDS")] = None
    embedding_lr: Annotated[float | None, field("--embedding-lr", "X")] = None
    embedding_share: Annotated[float | None, field("--embedding-share", "F")] = None
    embedding_decay: Annotated[float | None, field("--embedding-decay", "D")] = None
    embedding_pull: Annotated[float | None, field("--embedding-pull", "P")] = None
    base: Annotated[str | None, setting("base", "B")] = None
    prediction_type: Annotated[str | None, setting("prediction_type")] = None
    zero_terminal_snr: Annotated[str | None, setting("zero_terminal_snr")] = None
    checkpoints: Annotated[Path | None, setting("checkpoints", "DIR")] = None
    device: Annotated[str | None, setting("device")] = None
    dtype: Annotated[str | None, setting("dtype")] = None
    threads: Annotated[str | None, setting("threads", "N")] = None
    offline: Annotated[bool, OFFLINE] = False
    out: Annotated[Path | None, OUT] = None
    resume: Annotated[str | None, CONTINUE] = None
    workspace: Annotated[Path | None, setting("workspace", "DIR")] = None
    json: Annotated[bool, JSON] = False


@dataclass(frozen=True)
class RunsOptions:
    """`runs`: the trainings of this workspace."""

    workspace: Annotated[Path | None, setting("workspace", "DIR")] = None
    json: Annotated[bool, JSON] = False
