"""A picture by the app's own loop and by diffusers' StableDiffusionPipeline, one after the other in alternation.

Both sides have the embedded base's weights, a copy each, in the same numbers, and the same prompt, sampler, steps,
guidance, starting latents and noise between steps. The ratio is that of two neighbours in time, its median over all
pairs; beside it stands by how much a pixel differs at most. In float32, and in bf16 too where the app chooses
that: there pixels do differ, since diffusers guides, steps and draws the noise between steps in the prediction's bf16,
the app in float32.

    python -m benchmarks.peer [--pictures 11] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.studio import ASSETS, Studio, embedded_base
from lora_studio.generate import make_scheduler
from lora_studio.pipeline import SharedBase

PROMPT = "1girl, blue hair, long hair, smile, white background"


def load_peer(base: SharedBase) -> Any:
    """diffusers' pipeline with weights of its own in the numbers in which `base` holds them."""
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(ASSETS / "base", dtype=base.precision.weights, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(base.precision.device)


def by_diffusers(pipe: Any, base: SharedBase, seed: int, steps: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) by the pipeline, at the base's defaults but for the steps."""
    d = base.info.defaults
    pipe.scheduler = make_scheduler(d.sampler, base.scheduler_config)
    with base.precision.inference():
        image = pipe(
            PROMPT,
            negative_prompt="",
            num_inference_steps=steps,
            guidance_scale=d.guidance_scale,
            guidance_rescale=d.guidance_rescale,
            width=d.width,
            height=d.height,
            generator=torch.Generator().manual_seed(seed),
        ).images[0]
    return np.asarray(image.convert("RGB"))


def compare(base: SharedBase, pictures: int, steps: int) -> dict[str, Any]:
    """Seconds of both sides, their ratio and the largest difference over some pictures; one more is not counted."""
    studio, pipe = Studio(base), load_peer(base)
    seconds: dict[str, list[float]] = {"ours": [], "diffusers": []}
    largest, apart = 0, []
    for number in range(pictures + 1):
        began = time.perf_counter()
        ours = studio.draw([PROMPT], seed=number, num_inference_steps=steps)[0]
        middle = time.perf_counter()
        theirs = by_diffusers(pipe, base, number, steps)
        ended = time.perf_counter()
        if number:
            seconds["ours"].append(middle - began)
            seconds["diffusers"].append(ended - middle)
        difference = np.abs(ours.astype(int) - theirs.astype(int))
        largest = max(largest, int(difference.max()))
        apart.append(float((difference > 0).mean()))
    ratios = [mine / other for mine, other in zip(seconds["ours"], seconds["diffusers"], strict=True)]
    return {
        **{f"{side}_seconds": round(statistics.median(taken), 4) for side, taken in seconds.items()},
        "ours_by_diffusers": round(statistics.median(ratios), 3),
        "ours_by_diffusers_least": round(min(ratios), 3),
        "ours_by_diffusers_most": round(max(ratios), 3),
        "largest_difference_of_255": largest,
        "pixels_that_differ": round(statistics.mean(apart), 5),
    }


def measure(pictures: int, steps: int | None = None) -> dict[str, Any]:
    """The figures in each of the numbers; `steps` in place of the base's default."""
    plain = embedded_base(dtype="float32")
    d = plain.info.defaults
    count = steps or d.num_inference_steps
    figures: dict[str, Any] = {
        "base": plain.info.sha256[:10],
        "sampler": d.sampler,
        "steps": count,
        "pictures": pictures,
    }
    figures[plain.precision.name] = compare(plain, pictures, count)
    chosen = embedded_base()
    if chosen.precision != plain.precision:
        figures[chosen.precision.name] = compare(chosen, pictures, count)
    return figures


def main() -> None:
    """Print the figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=11, help="pairs of pictures (%(default)s)")
    parser.add_argument("--out", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    about = machine.describe()
    figures = {**measure(options.pictures), "machine": about}
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
