"""Memory of training plus generating on one base, on a random UNet of at least 1 GB.

Peak resident memory minus what the imports took, over the size of the base in bytes; counted beside it is what a
training must hold (adapter, gradients, two moments) and the largest activations of one step, measured alone. A second
copy of the base would show as one base more.

    python -m benchmarks.memory_shared
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.studio import ASSETS, drive, no_adapter
from lora_studio.dataset.examples import Example
from lora_studio.generate import generate
from lora_studio.pipeline import Precision, Report, SharedBase, load_base
from lora_studio.pipeline.calls import Turn
from lora_studio.pipeline.source import BaseSource
from lora_studio.train import Controls, MemoryCache, train
from lora_studio.types import GenerateRequest, TrainConfig

CHANNELS = (256, 512, 800)


class Peak:
    """Largest resident memory of this process while it is watched, in bytes."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.largest = self._process.memory_info().rss
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(0.005):
            self.largest = max(self.largest, self._process.memory_info().rss)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def write_base(folder: Path) -> None:
    """A random base of more than 1 GB in float32, in diffusers' layout."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=CHANNELS,
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=768,
        transformer_layers_per_block=2,
        attention_head_dim=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 64),
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )
    text = CLIPTextModel(
        CLIPTextConfig(vocab_size=1290, num_hidden_layers=2, hidden_size=768, bos_token_id=1288, eos_token_id=1289)
    )
    for module, name in ((unet, "unet"), (vae, "vae"), (text, "text_encoder"), (DDIMScheduler(), "scheduler")):
        module.save_pretrained(folder / name)


def measure() -> dict[str, Any]:
    """Bases held at the peak of training plus generating."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _in_child(write_base, folder)
        for part in ("tokenizer", "model_index.json"):
            (folder / part).symlink_to(ASSETS / "base" / part)
        after_import = psutil.Process().memory_info().rss
        with Peak() as peak:
            base = load_base(BaseSource("random", folder, {}), Precision(torch.device("cpu"), torch.float32))
            loaded = psutil.Process().memory_info().rss
            size = sum(p.numel() * p.element_size() for p in _parameters(base))
            learning, activations = _train_and_draw(base, folder)
        total = peak.largest - after_import
        allowed = 1.2 * size + learning + activations
        return {
            "base_bytes": size,
            "unet_bytes": sum(p.numel() * p.element_size() for p in base.unet.parameters()),
            "after_import_bytes": after_import,
            "after_load_bases": (loaded - after_import) / size,
            "peak_minus_import_bytes": total,
            "counted_optimizer_bytes": learning,
            "counted_activation_bytes": activations,
            "bases_beside_what_is_counted": (total - learning - activations) / size,
            "within_1.2_bases": total <= allowed,
        }


def _parameters(base: SharedBase) -> list[torch.nn.Parameter]:
    return [p for module in (base.unet, base.autoencoder.vae, base.text_encoder) for p in module.parameters()]


def _in_child(work: Any, folder: Path) -> None:
    """Do something in another process, so that its memory is not counted here."""
    import subprocess
    import sys

    code = (
        f"from pathlib import Path; from benchmarks.memory_shared import {work.__name__} as w; w(Path({str(folder)!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _train_and_draw(base: SharedBase, folder: Path) -> tuple[int, int]:
    """Two optimizer steps with a preview between them; bytes of what learns, and of one step's activations."""
    path = folder / "x.png"
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    config = TrainConfig(
        name="x",
        dataset="x",
        steps=2,
        batch_size=1,
        rank=4,
        preview_every=1,
        checkpoint_every=0,
        learning_rate=1e-3,
        layers="attention",
        caption_shuffle=0.0,
    )
    weights = {p.untyped_storage().data_ptr() for p in _parameters(base)}
    saved: dict[int, int] = {}
    largest = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    def seen(want: object) -> None:
        nonlocal largest
        if isinstance(want, Turn | Report):
            largest = max(largest, sum(saved.values()))
            saved.clear()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = drive(base, train(base, [Example(path, "x", "cat ears")], config, Controls(cache=MemoryCache())), seen)
    defaults = base.info.defaults
    request = GenerateRequest(
        prompt="1girl",
        width=defaults.width,
        height=defaults.height,
        num_inference_steps=2,
        guidance_scale=4.0,
        sampler="euler",
        seed=0,
    )
    drive(base, generate(base, [request], no_adapter))
    return result.trainable_parameters * 4 * 4, largest


def main() -> None:
    """Print the figures."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    began = time.perf_counter()
    figures = measure()
    figures["largest_resident_bytes_by_the_system"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    figures["seconds"] = round(time.perf_counter() - began, 1)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
