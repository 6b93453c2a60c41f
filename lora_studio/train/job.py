"""The train job: settings and examples in, an adapter file out, as a generator of wants.

One optimizer step per turn; pictures are asked for by `NeedPreview`; checkpoints are bytes in a report. A run that
is given a checkpoint goes on from it and ends with the very weights of a run that never stopped.
"""

from __future__ import annotations

import hashlib
import io
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.dataset.examples import Example
from lora_studio.errors import DatasetError, TrainingDiverged
from lora_studio.pipeline.base import SharedBase
from lora_studio.pipeline.calls import Blob, LiveAdapter, NeedPreview, Report, Turn
from lora_studio.pipeline.heap import give_back
from lora_studio.prompt.language import escape
from lora_studio.train.bundle import WordFile, bundle, carries, word_file, word_metadata
from lora_studio.train.data import Batch, TrainingData, prepare
from lora_studio.train.export import FILE_DTYPE, RunFacts, check_change, check_readers, metadata_of, to_file
from lora_studio.train.noise import Draw, NoiseSchedule, adapter_weight, learning_rate
from lora_studio.train.pivotal import Word, open_word
from lora_studio.train.state import Cache, Checkpoint, fingerprint
from lora_studio.train.student import Student
from lora_studio.types import EmbeddingUse, GenerateRequest, TrainConfig
from lora_studio.types.train import check_base

READERS_TOLERANCE = 1e-2
"""diffusers' and peft's own products round otherwise than ours where a device computes in 16 bits."""

_PREVIEWS = 2


@dataclass(frozen=True)
class TrainingResult:
    """What a training came to: the file's bytes, its metadata, and figures; `seconds` is wall-clock time of the run."""

    file: bytes
    metadata: dict[str, str]
    cover: bytes | None
    steps: int
    seconds: float
    final_loss: float
    trainable_parameters: int
    base_parameters: int
    word: WordFile | None = None
    """The word that was learnt with the LoRA, as a file of its own."""


class Paused(Exception):
    """The run was asked to pause and has saved its checkpoint."""


@dataclass(frozen=True)
class Controls:
    """What a run is handed beside its settings.

    Attributes:
        cache: of encoded pictures.
        checkpoint: bytes to go on from, or None.
        ask: asked before each step. `finish` ends the run early and keeps what it has learnt; `pause` saves a
            checkpoint and raises `Paused`.
        admit: reads a finished file back by our own reader (raises when it is refused).
        admit_word: the same for the file of a learnt word.
    """

    cache: Cache
    checkpoint: bytes | None = None
    ask: Callable[[], Literal["go", "finish", "pause"]] = lambda: "go"
    admit: Callable[[bytes], CanonicalAdapter] | None = None
    admit_word: Callable[[bytes], TextEmbedding] | None = None


def train(
    base: SharedBase, examples: Sequence[Example], config: TrainConfig, controls: Controls
) -> Generator[Any, Any, TrainingResult]:
    """Train one adapter.

    Args:
        base: the shared base; nothing of it is changed.
        examples: pictures with captions.
        config: the settings.
        controls: see `Controls`.

    Raises:
        DatasetError: the pictures cannot be trained on.
        InvalidInput: the settings do not fit this base, or the run was begun on another one.
        TrainingDiverged: a loss is no number, or the result does nothing.
    """
    if not examples:
        sentence = "The set holds 0 pictures; add at least one picture to train on."
        raise DatasetError(sentence, code="no_pictures", given="0")
    check_base(config.base, base.info)
    kept = None if controls.checkpoint is None else Checkpoint.from_bytes(controls.checkpoint)
    if kept is not None:
        check_base(kept.base, base.info)
    word = yield from open_word(base, examples, config)
    later = (lambda text: False) if word is None else word.stands_in
    data = yield from prepare(base, examples, config, controls.cache, later)
    give_back()
    run = _Run(base, examples, config, data, word)
    if kept is not None:
        run.restore(kept)
        same = kept.examples in ("", fingerprint(examples))
        kept = None  # its tensors are the run's by now
        yield Report("resumed", {"step": run.step})
        if not same:
            yield Report("warning", _set_changed(run.step))
    try:
        yield from run.steps(controls.ask)
        give_back()
        return (yield from run.result(controls))
    finally:
        give_back()


class _Run:
    """A run in progress."""

    def __init__(
        self,
        base: SharedBase,
        examples: Sequence[Example],
        config: TrainConfig,
        data: TrainingData,
        word: Word | None = None,
    ) -> None:
        self._base = base
        self._examples = examples
        self._fingerprint = fingerprint(examples)
        self._config = config
        self._data = data
        self._student = Student(base, config)
        self._word = word
        self._word_sha256 = ""
        self._schedule = NoiseSchedule(base.scheduler_config)
        self._losses: list[float] = []
        self._started = time.time()
        self._clock = time.monotonic()
        self._before = 0.0
        self._pace: deque[float] = deque(maxlen=20)
        self.step = 0

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        self._student.load_state_dict(checkpoint.tensors)
        if self._word is not None:
            self._word.load_state_dict(checkpoint.tensors)
        self._losses = list(checkpoint.losses)
        self._before = checkpoint.seconds
        self.step = checkpoint.step

    def steps(self, ask: Callable[[], Literal["go", "finish", "pause"]]) -> Generator[Any, Any, None]:
        """Optimizer steps with previews and checkpoints, until the last one or until `ask` says so."""
        config = self._config
        if self.step == 0 and config.preview_every:
            yield from self._preview()
        while self.step < config.steps:
            wish = ask()
            if wish == "pause":
                yield self._checkpoint_report()
                raise Paused
            if wish == "finish" and self.step > 0:
                return
            loss, rate = yield from self._one_step()
            yield Turn()
            yield Report("step", self._figures(loss, rate))
            last = self.step == config.steps
            if config.checkpoint_every and self.step % config.checkpoint_every == 0 and not last:
                yield self._checkpoint_report()
            if config.preview_every and self.step % config.preview_every == 0 and not last:
                yield from self._preview()

    def result(self, controls: Controls) -> Generator[Any, Any, TrainingResult]:
        """Round, show, write, and prove the file."""
        yield self._checkpoint_report()
        yield Report("progress", {"phase": "export", "step": 0, "steps": 3})
        self._student.round_to(FILE_DTYPE)
        live = self._live()
        check_change(live.adapter, alone=self._word is None or not self._word.changed)
        tail = self._losses[-max(1, math.ceil(len(self._losses) / 10)) :]
        facts = RunFacts(self.step, self._started, sum(tail) / len(tail))
        metadata = metadata_of(self._base, self._config, self._examples, facts)
        word = self._export_word(metadata)
        more = {key: rows for one in self._live().embeddings for key, rows in bundle(one).items()}
        file = to_file(self._base, live.adapter, self._config, metadata, more)
        yield Report("progress", {"phase": "export", "step": 1, "steps": 3})
        yield from self._prove(file, live.adapter)
        cover = yield from self._last_preview(file, word, controls)
        return TrainingResult(
            file=file,
            metadata=metadata,
            cover=cover,
            steps=self.step,
            seconds=self._before + time.monotonic() - self._clock,
            final_loss=facts.final_loss,
            trainable_parameters=self._student.parameter_count
            + (0 if self._word is None else self._word.parameter_count),
            base_parameters=self._base.info.parameters,
            word=word,
        )

    def _export_word(self, metadata: dict[str, str]) -> WordFile | None:
        """The learnt word as a file, if there is one; `metadata` of the LoRA gains what it says of it."""
        if self._word is None:
            return None
        self._word.check()
        steps = min(self.step, self._word.steps)
        word = word_file(self._word.embedding(), self._base, steps)
        self._word_sha256 = hashlib.sha256(word.data).hexdigest()
        metadata |= word_metadata(self._config, self._word_sha256, steps, self._word.rate)
        return word

    def _one_step(self) -> Generator[Any, Any, tuple[float, float]]:
        """One optimizer step; returns the loss and the rate it was made with."""
        config, began = self._config, time.monotonic()
        batch = self._data.batch(self.step)
        if self._word is not None:
            batch = yield from self._word.begin(batch, self.step, self._data.texts)
        draw = self._schedule.draw(config.seed, self.step, tuple(batch.latents.shape))
        noisy = self._schedule.noisy(batch.latents, draw)
        target, weights = yield from self._wanted(batch, draw, noisy)
        self._student.weigh(adapter_weight(config.seed, self.step, config.least_weight, config.most_weight))
        prediction = self._student.predict(batch.call(noisy, draw.timesteps))
        losses = (prediction - target.to(prediction.device)).pow(2).mean(dim=(1, 2, 3)) * weights.to(prediction.device)
        if not bool(torch.isfinite(losses).all()):
            raise TrainingDiverged(
                f"The loss of step {self.step + 1} is no number; train again with a lower learning rate than "
                f"{config.learning_rate:g} (this run, continued, would come there again).",
                code="loss_not_finite",
                given=str(self.step + 1),
                rate=f"{config.learning_rate:g}",
            )
        rate = learning_rate(self.step, config.steps, config.learning_rate, config.warmup_steps, config.lr_scheduler)
        loss = self._student.step(losses, rate)
        if self._word is not None:
            self._word.step(self.step)
        self._losses.append(loss)
        self.step += 1
        self._pace.append(began)
        return loss, rate

    def _wanted(self, batch: Batch, draw: Draw, noisy: Tensor) -> Generator[Any, Any, tuple[Tensor, Tensor]]:
        """What the model shall predict (B, C, h, w), and how much each row weighs (B,).

        With `keep_unprompted` rows without a caption shall be predicted as the base itself does. Guidance draws
        u + g·(c - u): an adapter that changes u as it changes c is not amplified, has to be learnt stronger for the
        same effect, and three of them together then break the picture (dev/LOG.md). The base is asked in a call of
        its own, so that a cancel may come between that and the step.
        """
        config = self._config
        target = self._schedule.target(batch.latents, draw)
        weights = self._schedule.weights(draw.timesteps, config.min_snr_gamma, config.snr_floor)
        kept = ~batch.captioned
        if config.keep_unprompted and bool(kept.any()):
            own = yield batch.call(noisy, draw.timesteps, kept)
            target = target.clone()
            target[kept] = own.to(target)
            weights[kept] = 1.0  # min-SNR would make those of much noise the lightest of all
        return target, weights

    def _figures(self, loss: float, rate: float) -> dict[str, Any]:
        """What a step event tells; the pace is wall-clock, so that others' turns count too."""
        pace = (time.monotonic() - self._pace[0]) / len(self._pace)
        return {
            "step": self.step,
            "steps": self._config.steps,
            "loss": round(loss, 6),
            "learning_rate": rate,
            "seconds_left": round(pace * (self._config.steps - self.step), 1),
            "seconds": round(self._before + time.monotonic() - self._clock, 2),
        }

    def _checkpoint_report(self) -> Report:
        seconds = self._before + time.monotonic() - self._clock
        state = self._student.state_dict() | ({} if self._word is None else self._word.state_dict())
        made_of = (self._base.info.sha256, self._fingerprint)
        data = Checkpoint(self.step, tuple(self._losses), seconds, state, *made_of).to_bytes()
        return Report("checkpoint", {"step": self.step, "sha256": Blob(data, ".safetensors")})

    def _live(self) -> LiveAdapter:
        """What has been learnt so far."""
        words = () if self._word is None else (self._word.embedding(self._word_sha256),)
        return LiveAdapter(self._student.adapter(f"live:{id(self)}:{self.step}"), embeddings=words)

    def _requests(self, words: Sequence[TextEmbedding]) -> tuple[GenerateRequest, ...]:
        """What previews show: the prompts that were asked for, else the first captions; always the same seeds.

        A caption is no prompt: its brackets are words to the training, and so they are to the preview. `words` are
        those that learn.
        """
        defaults = self._base.info.defaults
        prompts = self._config.preview_prompts or tuple(
            dict.fromkeys(escape(example.caption) for example in self._examples if example.caption)
        )
        return tuple(
            GenerateRequest(
                prompt=prompt,
                width=defaults.width,
                height=defaults.height,
                num_inference_steps=defaults.num_inference_steps,
                guidance_scale=defaults.guidance_scale,
                guidance_rescale=defaults.guidance_rescale,
                sampler=defaults.sampler,
                seed=self._config.seed % 2**32 + index,
                embeddings=tuple(EmbeddingUse(word.name, word.sha256) for word in words),
            )
            for index, prompt in enumerate(prompts[:_PREVIEWS])
        )

    def _preview(self) -> Generator[Any, Any, list[Any]]:
        """Show what it has learnt so far."""
        live = self._live()
        pictures = yield NeedPreview(self._requests(live.embeddings), live)
        for picture in pictures:
            told = {"step": self.step, "prompt": picture.request.prompt, "seed": picture.seed}
            yield Report("preview", told | {"sha256": Blob(picture.png, ".png")})
        return list(pictures)

    def _prove(self, file: bytes, live: CanonicalAdapter) -> Generator[Any, Any, None]:
        """Let other readers read the file."""
        difference = check_readers(self._base, file, live)
        yield Turn()
        if not difference <= READERS_TOLERANCE:
            raise TrainingDiverged(
                f"The file does not read back as what was trained (difference {difference:.2g}, at most "
                f"{READERS_TOLERANCE:g} is allowed); continue the run and report this as a fault.",
                code="readers_differ",
                given=f"{difference:.2g}",
            )

    def _last_preview(
        self, file: bytes, word: WordFile | None, controls: Controls
    ) -> Generator[Any, Any, bytes | None]:
        """The last preview, made from the live weights, and the same picture made from the files."""
        pictures = yield from self._preview()
        if not pictures:
            return None
        if controls.admit is not None:
            words = self._words_of(word, controls)
            read_back = replace(controls.admit(file), key=f"file:{id(self)}", live=True)
            again = yield NeedPreview(self._requests(words)[:1], LiveAdapter(read_back, embeddings=words))
            if not carries(file, words) or _largest_difference(again[0].png, pictures[0].png) > 1:
                raise TrainingDiverged(
                    "The file draws another picture than the weights it was written from; continue the run and report "
                    "this as a fault.",
                    code="file_differs",
                )
        cover: bytes = pictures[0].png
        return cover

    def _words_of(self, word: WordFile | None, controls: Controls) -> tuple[TextEmbedding, ...]:
        """The learnt word as our own reader finds it in its file."""
        if word is None:
            return ()
        return self._live().embeddings if controls.admit_word is None else (controls.admit_word(word.data),)


def _set_changed(step: int) -> dict[str, Any]:
    """The remark on a run that goes on after somebody edited its set."""
    message = f"The set was changed since step {step}: from here on the run learns from it as it is now."
    return {"code": "set_changed", "message": message, "values": {"step": step}}


def _largest_difference(a: bytes, b: bytes) -> int:
    """Largest difference of two PNGs of one size, in 8-bit levels."""
    one, two = (np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=np.int16) for data in (a, b))
    return int(np.abs(one - two).max())
