"""Pictures from prompts by diffusers' own StableDiffusionPipeline.

A picture depends on its prompt and its seed; its place in a batch changes it by rounding only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.machine import Machine
from pretrain.trainings import check_whole


def load_pipeline(base: Path, machine: Machine) -> Any:
    """The pipeline of a base folder with float32 weights.

    Raises:
        FileNotFoundError: no base is there.
        ValueError: it has no UNet or text encoder.
    """
    from diffusers import StableDiffusionPipeline

    if not (base / "model_index.json").exists():
        raise FileNotFoundError(f"{base} is no base: it has no model_index.json; name a folder that export wrote.")
    check_whole(base)
    pipe = StableDiffusionPipeline.from_pretrained(base, dtype=torch.float32, local_files_only=True)
    return _quiet(pipe).to(machine.device)


def make_pipeline(base: Path, parts: dict[str, Any]) -> Any:
    """The pipeline of models at hand; tokenizer and scheduler come from a base folder if they are not among them."""
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline
    from transformers import CLIPTokenizer

    rest = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    given = dict(parts)
    if "tokenizer" not in given:
        given["tokenizer"] = CLIPTokenizer.from_pretrained(base / "tokenizer")
    if "scheduler" not in given:
        given["scheduler"] = DPMSolverMultistepScheduler.from_pretrained(base / "scheduler")
    return _quiet(StableDiffusionPipeline(**given, **rest))


def _quiet(pipe: Any) -> Any:
    """No progress bar for every batch."""
    pipe.set_progress_bar_config(disable=True)
    return pipe


@torch.no_grad()
def draw(
    pipe: Any,
    prompts: Sequence[str],
    machine: Machine,
    steps: int,
    guidance: float,
    seed: int = 0,
    batch: int = 20,
    rescale: float = 0.0,
) -> NDArray[np.uint8]:
    """uint8 (prompts, h, w, 3). Prompt number k is drawn from the noise of seed + k; rescale: `guidance_rescale`."""
    parts = []
    for first in range(0, len(prompts), batch):
        texts = list(prompts[first : first + batch])
        noise = [torch.Generator().manual_seed(seed + first + k) for k in range(len(texts))]
        with machine.autocast():
            found = pipe(
                texts,
                num_inference_steps=steps,
                guidance_scale=guidance,
                guidance_rescale=rescale,
                generator=noise,
                output_type="np",
            ).images
            parts.append((np.asarray(found, np.float32) * 255).round().astype(np.uint8))
    return np.concatenate(parts)
