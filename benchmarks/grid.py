"""Eight weights of one LoRA: as one grid, as eight pictures one after the other, and by diffusers with peft.

All sides have the embedded base's weights, the same LoRA file, prompt, seed, sampler, steps and guidance. The grid is
one batch, each row with its own weight; diffusers takes another weight by `set_adapters` before each picture. The sides
take turns; the ratio is that of neighbours in time, its median over all rounds. In float32, and in bf16 too where the
app chooses that.

    python -m benchmarks.grid [--rounds 5] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import machine
from benchmarks.peer import PROMPT, by_diffusers, load_peer
from benchmarks.studio import ASSETS, Studio, embedded_base
from lora_studio.pipeline import SharedBase

ADAPTER = ASSETS / "examples" / "adapters" / "cat-ears.safetensors"
WEIGHTS = tuple(round(1.4 * number / 7, 2) for number in range(8))
SEED = 7


def one_by_one(pipe: Any, base: SharedBase, steps: int) -> NDArray[np.uint8]:
    """diffusers' pictures (8, H, W, 3) one after the other, each with its own weight."""
    pictures = []
    for weight in WEIGHTS:
        pipe.set_adapters(["adapter"], [weight])
        pictures.append(by_diffusers(pipe, base, SEED, steps))
    return np.stack(pictures)


def compare(base: SharedBase, rounds: int, steps: int) -> dict[str, Any]:
    """Seconds of each side, ratios and the largest differences over some rounds; one more is not counted."""
    studio, pipe = Studio(base), load_peer(base)
    adapter = studio.read(ADAPTER)
    pipe.load_lora_weights(str(ADAPTER.parent), weight_name=ADAPTER.name, adapter_name="adapter")

    def drawn(weights: Sequence[float]) -> NDArray[np.uint8]:
        return studio.draw_weights(PROMPT, adapter, weights, SEED, num_inference_steps=steps)

    sides: dict[str, Callable[[], NDArray[np.uint8]]] = {
        "grid": lambda: drawn(WEIGHTS),
        "one by one": lambda: np.concatenate([drawn([weight]) for weight in WEIGHTS]),
        "diffusers": lambda: one_by_one(pipe, base, steps),
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    largest = dict.fromkeys(list(sides)[1:], 0)
    for number in range(rounds + 1):
        made = {}
        for side, draw in sides.items():
            began = time.perf_counter()
            made[side] = draw()
            if number:
                seconds[side].append(time.perf_counter() - began)
        for side in largest:
            apart = np.abs(made["grid"].astype(int) - made[side].astype(int))
            largest[side] = max(largest[side], int(apart.max()))
    ratios = {
        side: [mine / other for mine, other in zip(seconds["grid"], seconds[side], strict=True)] for side in largest
    }
    return {
        "seconds": {side: round(statistics.median(taken), 3) for side, taken in seconds.items()},
        "grid_by": {side: round(statistics.median(found), 3) for side, found in ratios.items()},
        "grid_by_least_and_most": {
            side: [round(min(found), 3), round(max(found), 3)] for side, found in ratios.items()
        },
        "largest_difference_of_255": largest,
    }


def measure(rounds: int) -> dict[str, Any]:
    """The figures in each of the numbers."""
    plain, chosen = embedded_base(dtype="float32"), embedded_base()
    figures: dict[str, Any] = {"base": plain.info.sha256[:10], "weights": list(WEIGHTS), "rounds": rounds}
    for base in (plain, chosen) if chosen.precision != plain.precision else (plain,):
        figures[base.precision.name] = compare(base, rounds, base.info.defaults.num_inference_steps)
    return figures


def main() -> None:
    """Print the figures and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all sides (%(default)s)")
    parser.add_argument("--out", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    about = machine.describe()
    figures = {**measure(options.rounds), "machine": about}
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
