"""How well a base obeys its words where they stand in a long prompt as people write them, counted by the judge.

The same unseen prompts are drawn three times with the same seeds: as they are, with a long list of things to avoid, and
dressed: every tag among praise, camera words and body parts that the base does not know, many in weights, over two to
four chunks, with that list too. None of the phrases around is one that pre-training strews in (tested), but most share
words with them ("bad limbs" here, "extra limbs" and "bad feet" there): what is measured are other combinations.

    python -m benchmarks.long_prompts [--count 60] [--prompt-seed 1] [--noise-seed 5000] [--base FOLDER] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from benchmarks.effect import right
from benchmarks.studio import ASSETS, Studio
from benchmarks.trial import Trial, add_options, trial_of
from lora_studio.pipeline import load_base, probe
from lora_studio.pipeline.source import find_base
from pretrain.judge import Judge, load_judge
from pretrain.prompts import other_prompts

HEADS = ("hair", "eyes", "clothes", "background", "style")
AROUND = (
    "amazing quality", "ultra-detailed", "finely detailed", "crystal clear", "game cg", "key visual", "pixiv",
    "trending on artstation", "dreamy atmosphere", "ambient occlusion", "subsurface scattering", "golden ratio",
    "smooth shading", "thick outlines", "elegant pose", "graceful", "delicate fingers", "shiny skin",
    "plump lips", "thick eyebrows", "toned", "narrow waist", "leaning forward", "hand on own chest",
    "index finger raised", "bust view", "three quarter view", "eye contact", "wide angle", "shallow focus",
    "studio lighting", "confetti", "streamers", "neat details", "popular", "concept sheet", "wallpaper engine",
    "fine fabric emphasis", "clean lines", "sunbeam",
)  # fmt: skip
AVOID = (
    "(low res:1.2), bad composition, ((inaccurate body)), amputation, bad limbs, extra feet, four fingers, "
    "crooked smile, (asymmetrical pupils:1.3), uneven, unnatural pose, wrong perspective, tiling, cut off, "
    "grainy picture, artist name, copyright stamp, [printed letters], messy outlines, unfinished, boring, "
    "(terrible lighting:1.1), clutter, blank stare"
)


def dressed(text: str, key: str) -> str:
    """The tags of a prompt in their order among `AROUND`, a third of all in weights, with `//` and blanks between."""
    rng = random.Random(f"dressed-{key}")
    words = text.split(", ")
    for word in rng.sample(AROUND, rng.randint(18, len(AROUND))):
        words.insert(rng.randint(0, len(words)), word)
    said = []
    for word in words:
        weight = rng.random()
        said.append(f"({word}:{rng.choice((1.1, 1.2, 1.3, 1.4))})" if weight < 0.3 else word)
        if rng.random() < 0.1:
            said.append("//")
    return ",".join(f" {word}" if rng.random() < 0.5 else word for word in said)


def measure(studio: Studio, judge: Judge, trial: Trial) -> dict[str, Any]:
    """Shares of right answers by way of writing and head."""
    prompts = other_prompts("girl", trial.count, trial.prompt_seed)
    plain, asked = [text for text, _ in prompts], [want for _, want in prompts]
    ways: dict[str, tuple[list[str], str]] = {
        "plain": (plain, ""),
        "plain, things to avoid": (plain, AVOID),
        "dressed, things to avoid": ([dressed(text, str(i)) for i, text in enumerate(plain)], AVOID),
    }
    figures: dict[str, Any] = {"base": studio.base.info.sha256[:10], **trial.as_dict()}
    for way, (texts, avoid) in ways.items():
        found = judge.predict(studio.draw(texts, seed=trial.noise_seed, negative_prompt=avoid))
        figures[way] = {head: round(float(right(judge, found, asked, head).mean()), 3) for head in HEADS}
    return figures


def main() -> None:
    """Measure a base and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--base", type=Path, default=ASSETS / "base", help="folder of a base")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "long_prompts.json")
    options = parser.parse_args()
    studio = Studio(load_base(find_base(str(options.base), ASSETS / "base"), probe("auto", "auto")))
    figures = measure(studio, load_judge(), trial_of(options))
    options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
