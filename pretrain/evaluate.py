"""What a base folder is able to: the judge's count over unseen prompts, the autoencoder's PSNR, seconds a picture.

Pictures come from diffusers' own StableDiffusionPipeline by the folder's own sampler. A prompt is counted for a head
(hair, eyes, ...) if it speaks of it; ears are counted in every picture, since no prompt asks for them. It knows no
training.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.autoencoder.loss import mean_psnr, psnr
from pretrain.drawing import draw, load_pipeline
from pretrain.hashes import weights_hash
from pretrain.judge import Judge, load_judge
from pretrain.latents import decoded
from pretrain.machine import Machine
from pretrain.pictures import unseen
from pretrain.prompts import other_prompts
from pretrain.seeds import PUBLISHED_NOISE, PUBLISHED_SEED
from pretrain.sheets import from_pixels

HEADS = ("hair", "eyes", "clothes", "clothes colour", "background", "style", "kind")
WANTED = {"hair": 0.90, "eyes": 0.75, "clothes": 0.70, "background": 0.95, "style": 0.95}  # at least
WANTED_EARS, WANTED_PSNR, WANTED_SECONDS = 0.01, 27.5, 2.0  # at most, at least (dB), at most
KINDS = ("girl", "boy", "no humans")


@dataclass(frozen=True)
class Settings:
    """What is drawn: prompts of each kind, denoising steps (one column each), guidance, batch.

    prompt_seed: of the prompts (`pretrain.seeds`). seed: of the first picture's noise. rescale: 0 to 1, how far
    guidance is rescaled (Lin et al. 2023, section 3.4).
    """

    count: int = 200
    kinds: tuple[str, ...] = ("girl",)
    steps: tuple[int, ...] = (18,)
    guidance: float = 4.0
    rescale: float = 0.0
    prompt_seed: int = PUBLISHED_SEED
    seed: int = PUBLISHED_NOISE
    batch: int = 20
    renders: int = 200


def interval(right: int, of: int) -> tuple[float, float]:
    """95 % of a share (Wilson 1927)."""
    if of == 0:
        return (0.0, 1.0)
    z, share = 1.96, right / of
    middle, width = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return ((middle - width) / (1 + z * z / of), (middle + width) / (1 + z * z / of))


def count_right(judge: Judge, images: NDArray[np.uint8], asked: list[dict[str, Any]]) -> dict[str, Any]:
    """Right answers by head, each with its labels; `animal ears` counts pictures that have some."""
    found = judge.names(images)
    figures: dict[str, Any] = {}
    for head in HEADS:
        rows = [(want[head], name) for want, name in zip(asked, found[head], strict=True) if head in want]
        labels: dict[str, dict[str, int]] = {}
        for want, name in rows:
            label = labels.setdefault(want, {"right": 0, "of": 0})
            label["of"] += 1
            label["right"] += want == name
        figures[head] = {**_share(sum(want == name for want, name in rows), len(rows)), "labels": labels}
    figures["animal ears"] = _share(sum(name != "none" for name in found["ears"]), len(images))
    return figures


def _share(right: int, of: int) -> dict[str, Any]:
    low, high = interval(right, of)
    return {"right": right, "of": of, "share": round(right / of, 4) if of else None, "low": low, "high": high}


def evaluate(base: Path, settings: Settings, machine: Machine) -> dict[str, Any]:
    """All figures of a base folder, as `table` and a JSON file have them."""
    pipe, judge = load_pipeline(base, machine), load_judge()
    prompts = [one for kind in settings.kinds for one in other_prompts(kind, settings.count, settings.prompt_seed)]
    texts, asked = [text for text, _ in prompts], [want for _, want in prompts]
    columns: dict[str, Any] = {}
    for steps in settings.steps:
        start = time.perf_counter()
        images = draw(pipe, texts, machine, steps, settings.guidance, settings.seed, settings.batch, settings.rescale)
        together = (time.perf_counter() - start) / len(texts)
        columns[str(steps)] = {
            **count_right(judge, images, asked),
            "seconds together": round(together, 3),
            "seconds alone": round(_alone(pipe, texts[0], machine, steps, settings), 3),
        }
    renders = unseen(settings.renders)
    true, found = from_pixels(renders), decoded(pipe.vae, renders, machine)
    return {
        "base": str(base),
        "base_sha256": weights_hash(base),
        "sampler": type(pipe.scheduler).__name__,
        "prompts": len(texts),
        "kinds": list(settings.kinds),
        "guidance": settings.guidance,
        "rescale": settings.rescale,
        "prompt_seed": settings.prompt_seed,
        "seed": settings.seed,
        "machine": str(machine),
        "steps": columns,
        "psnr": round(psnr(found, true), 3),
        "psnr a picture": round(mean_psnr(found, true), 3),
        "renders": settings.renders,
    }


def _alone(pipe: Any, prompt: str, machine: Machine, steps: int, settings: Settings) -> float:
    """Seconds of one picture alone, the better of two."""
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        draw(pipe, [prompt], machine, steps, settings.guidance, rescale=settings.rescale)
        taken.append(time.perf_counter() - start)
    return min(taken)


def table(figures: dict[str, Any]) -> str:
    """The figures as lines of text, one column for each number of steps, and what is wanted."""
    columns = figures["steps"]
    title = f"{figures['base']}: {figures['prompts']} unseen prompts, guidance {figures['guidance']:g}"
    title += f" rescaled by {figures['rescale']:g}" if figures["rescale"] else ""
    title += f", {figures['sampler']}, prompt seed {figures['prompt_seed']}"
    lines = [title, f"{'':22}" + "".join(f"{steps + ' steps':>22}" for steps in columns) + f"{'wanted':>12}"]
    for head in (*HEADS, "animal ears"):
        cells = [_cell(column[head]) for column in columns.values()]
        wanted = f">= {WANTED[head]:.0%}" if head in WANTED else ""
        wanted = f"<= {WANTED_EARS:.0%}" if head == "animal ears" else wanted
        lines.append(f"{head:22}" + "".join(f"{cell:>22}" for cell in cells) + f"{wanted:>12}")
    for name, wanted in (("seconds alone", f"<= {WANTED_SECONDS:g}"), ("seconds together", "")):
        lines.append(f"{name:22}" + "".join(f"{column[name]:22.2f}" for column in columns.values()) + f"{wanted:>12}")
    each = f"{figures['psnr a picture']:.2f} dB a picture (wanted >= {WANTED_PSNR})"
    renders = f"autoencoder on {figures['renders']} unseen renders: {each}, {figures['psnr']:.2f} dB over all pixels"
    return "\n".join([*lines, renders, f"on {figures['machine']}"])


def _cell(figure: dict[str, Any]) -> str:
    """`88.1 % (83-92, 178)`: share, its 95 % interval, how many prompts."""
    if not figure["of"]:
        return "not asked"
    return f"{figure['share']:.1%} ({100 * figure['low']:.0f}-{100 * figure['high']:.0f}, {figure['of']})"
