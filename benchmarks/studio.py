"""The model rooms without engine and store: load the base, teach an adapter, draw pictures. For benchmarks only."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lora_studio.adapters import CanonicalAdapter, admit
from lora_studio.dataset.examples import Example
from lora_studio.generate import generate
from lora_studio.pipeline import ModelCall, NeedPreview, SharedBase, load_base, probe
from lora_studio.pipeline.source import find_base
from lora_studio.train import Controls, MemoryCache, TrainingResult, train
from lora_studio.types import AdapterWeight, GenerateRequest, TrainConfig

ASSETS = Path(__file__).resolve().parents[1] / "assets"
Mix = Sequence[tuple[CanonicalAdapter, float]]


def embedded_base(device: str = "auto", dtype: str = "auto") -> SharedBase:
    """The base that comes with the app."""
    return load_base(find_base("embedded", ASSETS / "base"), probe(device, dtype))


def examples(name: str, root: Path = ASSETS / "examples") -> list[Example]:
    """An example set: PNG files with captions beside them."""
    return [
        Example(path, _sha256(path), path.with_suffix(".txt").read_text("utf-8").strip())
        for path in sorted((root / name).glob("*.png"))
    ]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def drive(base: SharedBase, job: Generator[Any, Any, Any], seen: Callable[[Any], None] = lambda want: None) -> Any:
    """Run one job alone to its end, as the arbiter would; `seen` is shown every want."""
    stack, inbox = [job], None
    while True:
        try:
            want = stack[-1].send(inbox)
        except StopIteration as end:
            stack.pop()
            inbox = end.value
            if not stack:
                return end.value
            continue
        seen(want)
        inbox = None
        if isinstance(want, ModelCall):
            inbox = base.predict(want)
        elif isinstance(want, NeedPreview):
            stack.append(generate(base, want.requests, no_adapter, live=want.live))


@dataclass
class Studio:
    """A base with what was drawn and learnt on it."""

    base: SharedBase = field(default_factory=embedded_base)
    cache: MemoryCache = field(default_factory=MemoryCache)

    def teach(
        self, learn: Sequence[Example], config: TrainConfig, seen: Callable[[Any], None] = lambda want: None
    ) -> TrainingResult:
        """Train one adapter."""
        result: TrainingResult = drive(self.base, train(self.base, learn, config, Controls(cache=self.cache)), seen)
        return result

    def read(self, path: Path) -> CanonicalAdapter:
        """An adapter's file."""
        return admit(path, _sha256(path), self.base.layers, self.base.info.sha256)[0]

    def draw(self, prompts: Sequence[str], mix: Mix = (), seed: int = 1000, **changes: Any) -> NDArray[np.uint8]:
        """Pictures (N, H, W, 3), one of each prompt, at the base's defaults; picture i uses seed + i."""
        adapters = tuple(AdapterWeight(adapter.key, "adapter", weight) for adapter, weight in mix)
        known = {adapter.key: adapter for adapter, _ in mix}
        requests = [self._request(text, seed + i, adapters=adapters, **changes) for i, text in enumerate(prompts)]
        return self._made(requests, known)

    def draw_weights(
        self, prompt: str, adapter: CanonicalAdapter, weights: Sequence[float], seed: int, **changes: Any
    ) -> NDArray[np.uint8]:
        """Pictures (N, H, W, 3) of one prompt and seed in one job, one for each weight of an adapter."""
        requests = [
            self._request(prompt, seed, adapters=(AdapterWeight(adapter.key, "adapter", weight),), **changes)
            for weight in weights
        ]
        return self._made(requests, {adapter.key: adapter})

    def _request(self, prompt: str, seed: int, **changes: Any) -> GenerateRequest:
        defaults = self.base.info.defaults
        settings: dict[str, Any] = {
            "width": defaults.width,
            "height": defaults.height,
            "num_inference_steps": defaults.num_inference_steps,
            "guidance_scale": defaults.guidance_scale,
            "guidance_rescale": defaults.guidance_rescale,
            "sampler": defaults.sampler,
        }
        return GenerateRequest(prompt=prompt, seed=seed, **(settings | changes))

    def _made(self, requests: Sequence[GenerateRequest], known: Mapping[str, CanonicalAdapter]) -> NDArray[np.uint8]:
        pictures = drive(self.base, generate(self.base, requests, known.__getitem__, glimpses=False))
        return np.stack([np.asarray(Image.open(io.BytesIO(p.png)).convert("RGB")) for p in pictures])


def no_adapter(sha256: str) -> CanonicalAdapter:
    """For jobs that may name no adapter."""
    raise KeyError(f"a preview named the adapter {sha256}, and there is no library here")
