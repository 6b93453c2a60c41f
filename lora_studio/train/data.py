"""What a training learns from, encoded once: latents of every picture (and its mirror image), texts of every caption.

Latents are kept by content (picture, bucket, autoencoder), so that a second run of the same pictures encodes
nothing. Captions vary over the steps (shuffled, shortened, left out); each variation is chosen by (seed, picture,
number) and encoded here too, so that no step has to. It does not know the optimizer.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load, save
from torch import Tensor

from lora_studio.dataset.batches import Plan, plan
from lora_studio.dataset.buckets import Bucket, assign, fit
from lora_studio.dataset.captions import variant
from lora_studio.dataset.examples import Example
from lora_studio.pipeline.base import SharedBase
from lora_studio.pipeline.calls import ModelCall, Report, Turn
from lora_studio.pipeline.conditioning import TextCondition, pooled_batch
from lora_studio.train.noise import seed_of
from lora_studio.train.state import Cache
from lora_studio.types import TrainConfig

_VARIANTS_IN_ALL = 512
_VARIANTS_EACH = 16
_TEXTS_AT_ONCE = 32

Text = tuple[TextCondition, str]
"""A caption as the base reads it, on the CPU, and the caption itself, "" where it was left out."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's pictures, on the CPU.

    Attributes:
        latents: (B, C, h, w) float32.
        embeddings: (B, length, width).
        captioned: (B,) bool, False where the caption was left out.
        pooled: (B, pooled width) or None, for families that want it.
        framing: (B, 4), of what picture each is a part; see `ModelCall`.
        texts: the captions themselves, B of them.
    """

    latents: Tensor
    embeddings: Tensor
    captioned: Tensor
    pooled: Tensor | None
    framing: Tensor
    texts: tuple[str, ...] = ()

    def call(self, noisy: Tensor, timesteps: Tensor, rows: Tensor | None = None) -> ModelCall:
        """The call of the UNet for `noisy` latents (B, C, h, w) at `timesteps` (B,); `rows` (B,) bool picks some."""
        some = torch.ones(len(noisy), dtype=torch.bool) if rows is None else rows
        return ModelCall(
            latents=noisy[some],
            timesteps=timesteps[some],
            embeddings=self.embeddings[some],
            mask=None,
            mixes=((),) * int(some.sum()),
            pooled=None if self.pooled is None else self.pooled[some],
            framing=self.framing[some],
        )


class TrainingData:
    """Encoded examples and the order in which they are used, a function of (seed, step)."""

    def __init__(
        self,
        config: TrainConfig,
        latents: list[Tensor],
        texts: list[list[Text]],
        buckets: list[Bucket],
        sizes: Sequence[tuple[int, int]],
    ) -> None:
        """Latents per picture: (1 or 2, C, h, w), the second its mirror image; texts per picture: its variants.

        `sizes` are (width, height) of the whole pictures, in pixels.
        """
        self._config = config
        self._latents = latents
        self._texts = texts
        self._framing = torch.tensor([_framing(size, bucket) for size, bucket in zip(sizes, buckets, strict=True)])
        self._plan: Plan = plan([(b.width, b.height) for b in buckets], config.batch_size, config.seed)

    def batch(self, step: int) -> Batch:
        """The batch of `step` (from 0)."""
        rng = random.Random(seed_of(self._config.seed, "batch", step))
        items = self._plan.batch(step)
        latents = torch.stack([self._latents[i][rng.randrange(len(self._latents[i]))] for i in items])
        texts = [self._texts[i][rng.randrange(len(self._texts[i]))] for i in items]
        return Batch(
            latents,
            torch.stack([condition.embeddings for condition, _ in texts]),
            torch.tensor([text != "" for _, text in texts]),
            pooled_batch([condition for condition, _ in texts]),
            self._framing[items],
            tuple(text for _, text in texts),
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """Every caption that may come, each once, in alphabetical order."""
        return tuple(sorted({text for own in self._texts for _, text in own}))


def _framing(size: tuple[int, int], bucket: Bucket) -> tuple[int, int, int, int]:
    """Height and width of a picture before it was cut, and how much `fit` cuts off at its top and left.

    The cut is counted in pixels of the bucket, the whole in its own, as Stable Diffusion XL was trained (Podell et al.
    2023, arXiv 2307.01952, section 2.2); a mirror image has the same, because `fit` cuts off evenly.
    """
    scale = max(bucket.width / size[0], bucket.height / size[1])
    left, top = (size[0] * scale - bucket.width) / 2, (size[1] * scale - bucket.height) / 2
    return size[1], size[0], round(top), round(left)


def prepare(
    base: SharedBase,
    examples: Sequence[Example],
    config: TrainConfig,
    cache: Cache,
    later: Callable[[str], bool] = lambda text: False,
) -> Generator[Any, Any, TrainingData]:
    """Encode everything, one model call per turn.

    Args:
        later: True for captions that are encoded anew at each step (they hold a word that learns); here the empty
            caption's embeddings stand for them.

    Raises:
        DatasetError: a picture cannot be used, named with the reason.
    """
    side = config.resolution or round((base.info.defaults.width * base.info.defaults.height) ** 0.5)
    sizes = []
    for example in examples:
        with Image.open(example.image) as image:
            sizes.append(image.size)
    buckets = assign(sizes, side, base.info.bucket_step, names=[example.image.name for example in examples])
    latents = []
    for number, (example, bucket) in enumerate(zip(examples, buckets, strict=True)):
        yield Report("progress", {"phase": "encode", "step": number, "steps": len(examples)})
        latents.append((yield from _latents(base, example, bucket, config.flip, cache)))
    texts = yield from _texts(base, examples, config, later)
    return TrainingData(config, latents, texts, buckets, sizes)


def _latents(
    base: SharedBase, example: Example, bucket: Bucket, flip: bool, cache: Cache
) -> Generator[Any, Any, Tensor]:
    """Latents (1 or 2, C, h, w) of one picture, from the cache where it has them."""
    parts = (example.sha256, bucket.width, bucket.height, flip, base.info.sha256, base.precision.name)
    # The picture's hash comes first, so that whoever deletes a picture for good finds what was made of it.
    key = f"{example.sha256}-{hashlib.sha256(':'.join(map(str, parts)).encode()).hexdigest()[:32]}"
    kept = cache.get(key)
    if kept is not None:
        cached: Tensor = load(kept)["latents"]
        return cached
    with Image.open(example.image) as image:
        pixels = torch.from_numpy(np.array(fit(image.convert("RGB"), bucket))).permute(2, 0, 1).float() / 127.5 - 1
    both = [pixels, pixels.flip(-1)] if flip else [pixels]
    latents = base.autoencoder.encode(torch.stack(both)).cpu().contiguous()
    cache.put(key, save({"latents": latents}))
    yield Turn()
    return latents


def _texts(
    base: SharedBase, examples: Sequence[Example], config: TrainConfig, later: Callable[[str], bool]
) -> Generator[Any, Any, list[list[Text]]]:
    """Every variant of every caption."""
    each = max(1, min(_VARIANTS_EACH, _VARIANTS_IN_ALL // len(examples)))
    if config.caption_dropout == 0 and config.caption_shuffle == 0:
        each = 1
    variants = [
        [_variant(example.caption, config, index, number, each) for number in range(each)]
        for index, example in enumerate(examples)
    ]
    every = sorted({text for own in variants for text in own})
    distinct = [text for text in every if not later(text)]
    if len(distinct) < len(every) and "" not in distinct:
        distinct = ["", *distinct]
    encoded: dict[str, TextCondition] = {}
    for start in range(0, len(distinct), _TEXTS_AT_ONCE):
        part = distinct[start : start + _TEXTS_AT_ONCE]
        conditions = base.family.encode_text(part, [()] * len(part))
        encoded |= {text: _on_cpu(condition) for text, condition in zip(part, conditions, strict=True)}
        yield Turn()
    return [[(encoded[text if text in encoded else ""], text) for text in own] for own in variants]


def _on_cpu(condition: TextCondition) -> TextCondition:
    pooled = None if condition.pooled is None else condition.pooled.cpu()
    return replace(condition, embeddings=condition.embeddings.cpu(), pooled=pooled)


def _variant(caption: str, config: TrainConfig, index: int, number: int, each: int) -> str:
    """Variant `number` of `each` of a caption; the shares of dropped and shuffled ones are kept, not left to chance."""
    rng = random.Random(seed_of(config.seed, "caption", index, number))
    place = (number + rng.random()) / each
    if place < config.caption_dropout:
        return ""
    if place < config.caption_dropout + config.caption_shuffle:
        return variant(caption, rng, shuffle=1.0, keep_tokens=1 if config.word else 0)
    return caption
