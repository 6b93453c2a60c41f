"""What a training is asked for, and the recipes it starts from.

`W' = W + s·(alpha/rank)·B·A`: alpha equals rank unless somebody says otherwise, so that one learning rate means
one strength at every rank (the largest source of contradictory advice among trainers is alpha = 1).
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from lora_studio.errors import InvalidInput
from lora_studio.types.fields import check, spec
from lora_studio.types.jobs import BaseInfo

LAYER_SETS = ("attention", "attention+feed-forward", "without cross-attention", "all")
SCHEDULES = ("constant", "cosine")
MOST_VECTORS = 75
"""Places of a prompt that are read together; an embedding has to fit in."""
MOST_LETTERS = 50
"""Longest name of a learnt word."""
LARGEST_SCALE = 1e4
"""alpha/rank beyond this is damage in a file: our own would be refused after its training."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run. `dataset` is the id of a stored dataset; everything else decides the weights."""

    name: str = spec(doc="What the new LoRA is called.")
    dataset: str = spec(doc="The stored set of pictures.")
    recipe: str = spec("balanced", doc="Where the settings started from.", choices=("quick", "balanced", "best"))
    trigger: str = spec("", doc="A word put before every caption; empty leaves captions as they stand.")
    steps: int = spec(1200, doc="Optimizer steps.", minimum=1, maximum=1_000_000)
    rank: int = spec(16, doc="Size of the adapter: how many directions each layer may learn.", minimum=1, maximum=1024)
    alpha: float | None = spec(
        None, doc="Strength is alpha/rank; empty means alpha = rank.", minimum=1e-6, maximum=1e6, advanced=True
    )
    learning_rate: float = spec(1e-4, doc="How large a step each update takes.", minimum=0, maximum=10)
    batch_size: int = spec(2, doc="Pictures per step.", minimum=1, maximum=1024)
    seed: int = spec(0, doc="Noise, order and first weights grow from it.", minimum=0, maximum=2**53 - 1)
    flip: bool = spec(True, doc="Use mirror images too.")
    caption_dropout: float = spec(0.05, doc="Share of steps in which a caption is left out.", minimum=0, maximum=1)
    keep_unprompted: bool = spec(
        False,
        doc="Where a caption is left out, learn what the base itself predicts: without words all stays as it is, and "
        "guidance amplifies what the LoRA adds.",
        advanced=True,
    )
    caption_shuffle: float = spec(
        0.0,
        doc="Share of steps in which a caption's tags are shuffled and shortened.",
        minimum=0,
        maximum=1,
        advanced=True,
    )
    lr_scheduler: str = spec("cosine", doc="How the rate changes over the run.", choices=SCHEDULES, advanced=True)
    warmup_steps: int = spec(
        20, doc="Steps over which the rate rises from 0.", minimum=0, maximum=100_000, advanced=True
    )
    layers: str = spec("attention", doc="Which layers of the UNet learn.", choices=LAYER_SETS, advanced=True)
    min_snr_gamma: float = spec(
        5.0,
        doc="Weight of a noise level is min(SNR, gamma), see arXiv 2303.09556.",
        minimum=0.1,
        maximum=1000,
        advanced=True,
    )
    snr_floor: float = spec(0.2, doc="Smallest weight of a noise level.", minimum=0, maximum=1, advanced=True)
    least_weight: float = spec(
        1.0,
        doc="Each step trains at a LoRA weight drawn from the least to the most; below 1 the slider's lower range is "
        "taught too, and 1 shows the most.",
        minimum=0.05,
        maximum=2,
        advanced=True,
    )
    most_weight: float = spec(
        1.0, doc="The largest LoRA weight that a step trains at.", minimum=0.05, maximum=2, advanced=True
    )
    weight_decay: float = spec(0.0, doc="AdamW's weight decay.", minimum=0, maximum=1, advanced=True)
    max_grad_norm: float = spec(1.0, doc="Gradients longer than this are cut.", minimum=0, maximum=1000, advanced=True)
    preview_every: int = spec(100, doc="Steps between previews; 0 makes none.", minimum=0, maximum=1_000_000)
    preview_prompts: tuple[str, ...] = ()
    checkpoint_every: int = spec(
        100, doc="Steps between checkpoints; 0 keeps only the last.", minimum=0, maximum=1_000_000, advanced=True
    )
    resolution: int | None = spec(
        None,
        doc="Side of a square picture's bucket; empty means the base's own.",
        minimum=16,
        maximum=4096,
        unit="pixels",
        advanced=True,
    )
    publish_captions: bool = spec(
        False, doc="Write the captions' tags into the file for others to read.", advanced=True
    )
    embedding: str = spec(
        "",
        doc="Name of a new word whose vectors are learnt together with the LoRA (pivotal tuning); it stands in the "
        "captions in the trigger word's place, and empty learns none.",
    )
    embedding_vectors: int = spec(
        2, doc="How many vectors the new word has: places that it takes in a prompt.", minimum=1, maximum=MOST_VECTORS
    )
    embedding_words: str = spec(
        "", doc="Words whose vectors the new word starts from, like cat ears; empty starts from chance."
    )
    embedding_rate: float | None = spec(
        None,
        doc="How large a step each update of the new word takes; empty means 3 % of the spread of the base's words.",
        minimum=0,
        maximum=10,
    )
    embedding_share: float = spec(
        1.0,
        doc="Share of the steps in which the new word learns; then it stays, and the LoRA learns on.",
        minimum=0,
        maximum=1,
    )
    embedding_decay: float = spec(0.0, doc="AdamW's weight decay of the new word.", minimum=0, maximum=1)
    embedding_pull: float = spec(
        0.1,
        doc="How far each step pulls the new word's spread back to that of the base's own words: 0 not at all, 1 all "
        "the way.",
        minimum=0,
        maximum=1,
    )
    base: str = ""
    """sha256 of the base's weights; empty means whichever is loaded."""

    def __post_init__(self) -> None:
        check(self)
        if not self.name.strip():
            raise InvalidInput(
                f"The name was given as {self.name!r}; write at least one character.",
                code="name_empty",
                given=self.name,
            )
        if len(self.name) > 100:
            raise InvalidInput(
                f"The name has {len(self.name)} characters; at most 100 are allowed; shorten it.",
                code="name_too_long",
                given=str(len(self.name)),
            )

        if self.least_weight > self.most_weight:
            raise InvalidInput(
                f"The least weight {self.least_weight:g} is above the most, {self.most_weight:g}; give them in order.",
                code="weights_crossed",
                given=f"{self.least_weight:g}",
                allowed=f"{self.most_weight:g}",
            )
        if self.scale > LARGEST_SCALE:
            alpha, allowed = f"{self.scale * self.rank:g}", f"{LARGEST_SCALE * self.rank:g}"
            raise InvalidInput(
                f"The alpha was given as {alpha} at rank {self.rank}; at most {allowed} is allowed there; lower it.",
                code="alpha_large",
                field="alpha",
                given=alpha,
                rank=self.rank,
                allowed=allowed,
            )
        _check_word(self.embedding)

    @property
    def word(self) -> str:
        """The word that stands in every caption: the embedding's name, else the trigger; "" where there is none."""
        return self.embedding or self.trigger

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return (self.rank if self.alpha is None else self.alpha) / self.rank


def _check_word(name: str) -> None:
    """Refuse a name that would not be found in prompts, or not be read out of the file.

    A1111 parts a bundle's keys at full stops; CLIP's tokenizer joins signs that stand together, so that a name which
    ends in one is not found before a comma.
    """
    if name and not (len(name) <= MOST_LETTERS and re.fullmatch(r"[^\W_]+([-_]+[^\W_]+)*", name)):
        raise InvalidInput(
            f"The new word was given as {name[:80]!r}; allowed are up to {MOST_LETTERS} letters and digits, with - or "
            "_ between them; write another one.",
            code="embedding_name_form",
            field="embedding",
            given=name[:80],
            allowed=str(MOST_LETTERS),
        )


RECIPES: dict[str, dict[str, Any]] = {
    "quick": {"steps": 400, "preview_every": 100, "checkpoint_every": 100},
    "balanced": {},
    "best": {"steps": 2500, "preview_every": 250, "checkpoint_every": 250},
}
"""What each recipe changes in `TrainConfig`'s defaults, which are those of Stable Diffusion 1.5; a base that was
measured says better ones itself (`BaseInfo.recipes`). *balanced* is the default and the one measured."""


def recipe(kind: str, base: BaseInfo | None = None, **changes: Any) -> TrainConfig:
    """A `TrainConfig` from a recipe, what the base wants otherwise, and what a person changed (None is no change)."""
    if kind not in RECIPES:
        raise InvalidInput(
            f"The recipe {kind!r} is not known; allowed are {', '.join(RECIPES)}; choose one of these.",
            code="recipe_unknown",
            given=kind,
            allowed=", ".join(RECIPES),
        )
    known = {f.name for f in dataclasses.fields(TrainConfig)}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise InvalidInput(
            f"TrainConfig has no field {unknown[0]!r}; allowed are {', '.join(sorted(known))}.",
            code="unknown_field",
            given=unknown[0],
            allowed=", ".join(sorted(known)),
        )
    given = {key: value for key, value in changes.items() if value is not None}
    wanted = {} if base is None else base.recipes.get(kind, {})
    return TrainConfig(**(RECIPES[kind] | wanted | {"recipe": kind} | given))


def check_base(begun_on: str, base: BaseInfo) -> None:
    """Refuse a training on another base than the one that it was set up or begun on.

    Args:
        begun_on: sha256 of that base; "" for one that may be trained on any.

    Raises:
        InvalidInput: `base` is another one.
    """
    if begun_on and begun_on != base.sha256:
        raise InvalidInput(
            f"The training was set up for the base {begun_on[:10]}, and {base.title} ({base.sha256[:10]}) is loaded; "
            "load that base, or start a new training.",
            code="train_base_changed",
            given=begun_on[:10],
            loaded=base.sha256[:10],
            title=base.title,
        )
