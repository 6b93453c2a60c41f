"""Over which prompts and from which noise an effect is counted: options of a command, and words of its result.

Recipes are compared with `--prompt-seed 0 --noise-seed 1000`; figures that are claimed are measured as it stands here,
on prompts and noise by which nothing was chosen (`pretrain.seeds` says why).
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass

from pretrain.seeds import CHOOSING_NOISE, CHOOSING_SEED, PUBLISHED_NOISE, PUBLISHED_SEED


@dataclass(frozen=True)
class Trial:
    """Prompts for each figure, the seed that they are drawn with, and the seed of the first picture's noise."""

    count: int = 60
    prompt_seed: int = PUBLISHED_SEED
    noise_seed: int = PUBLISHED_NOISE

    def as_dict(self) -> dict[str, int]:
        """For the result."""
        return asdict(self)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What a command takes."""
    usual = Trial()
    parser.add_argument("--count", type=int, default=usual.count, help="prompts for each figure (%(default)s)")
    parser.add_argument(
        "--prompt-seed",
        type=int,
        default=usual.prompt_seed,
        help=f"of the prompts; {CHOOSING_SEED} to compare recipes by (%(default)s)",
    )
    parser.add_argument(
        "--noise-seed",
        type=int,
        default=usual.noise_seed,
        help=f"of the first picture; {CHOOSING_NOISE} to compare recipes by (%(default)s)",
    )


def trial_of(options: argparse.Namespace) -> Trial:
    """What was asked for."""
    return Trial(options.count, options.prompt_seed, options.noise_seed)
