"""Whether every sampler draws what the words ask for as well as the default does, on the embedded base.

Attribute accuracy is the share of what prompts ask for (hair, eyes, clothes, background) that the judge finds.

    python -m benchmarks.samplers [--count 60] [--prompt-seed 1] [--noise-seed 5000]
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from benchmarks.effect import right
from benchmarks.studio import Studio
from benchmarks.trial import Trial, add_options, trial_of
from lora_studio.types import SAMPLERS
from pretrain.judge import Judge, load_judge
from pretrain.prompts import other_prompts

HEADS = ("hair", "eyes", "clothes", "background")


def measure(studio: Studio, judge: Judge, trial: Trial) -> dict[str, Any]:
    """Accuracy by head and sampler, and the largest loss against the default in points of a hundred."""
    prompts = other_prompts("girl", trial.count, trial.prompt_seed)
    texts, asked = [text for text, _ in prompts], [want for _, want in prompts]
    figures: dict[str, Any] = {"base": studio.base.info.sha256[:10], **trial.as_dict()}
    for sampler in SAMPLERS:
        found = judge.predict(studio.draw(texts, seed=trial.noise_seed, sampler=sampler))
        answers = {head: right(judge, found, asked, head) for head in HEADS}
        every = np.concatenate(list(answers.values()))
        figures[sampler] = {head: float(hits.mean()) for head, hits in answers.items()} | {"all": float(every.mean())}
    default = studio.base.info.defaults.sampler
    worst = min(figures[sampler]["all"] for sampler in SAMPLERS)
    return figures | {"default": default, "points_below_default": 100 * (figures[default]["all"] - worst)}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    print(json.dumps(measure(Studio(), load_judge(), trial_of(parser.parse_args())), indent=1))


if __name__ == "__main__":
    main()
