"""Whether every sampler draws what the words ask for as well as the default does, on the embedded base.

Attribute accuracy is the share of what prompts ask for (hair, eyes, clothes, background) that the judge finds.

    python -m benchmarks.samplers [--count 60]
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from benchmarks.effect import right
from benchmarks.studio import Studio
from lora_studio.types import SAMPLERS
from pretrain.judge import Judge, load_judge
from pretrain.prompts import other_prompts

HEADS = ("hair", "eyes", "clothes", "background")


def measure(studio: Studio, judge: Judge, count: int) -> dict[str, Any]:
    """Accuracy by head and sampler, and the largest loss against the default in points of a hundred."""
    prompts = other_prompts("girl", count)
    texts, asked = [text for text, _ in prompts], [want for _, want in prompts]
    figures: dict[str, Any] = {}
    for sampler in SAMPLERS:
        found = judge.predict(studio.draw(texts, sampler=sampler))
        answers = {head: right(judge, found, asked, head) for head in HEADS}
        every = np.concatenate(list(answers.values()))
        figures[sampler] = {head: float(hits.mean()) for head, hits in answers.items()} | {"all": float(every.mean())}
    default = studio.base.info.defaults.sampler
    worst = min(figures[sampler]["all"] for sampler in SAMPLERS)
    return figures | {"default": default, "points_below_default": 100 * (figures[default]["all"] - worst)}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=60)
    print(json.dumps(measure(Studio(), load_judge(), parser.parse_args().count), indent=1))


if __name__ == "__main__":
    main()
