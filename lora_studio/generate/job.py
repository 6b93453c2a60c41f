"""The generate job: requests in, pictures out, as a generator of wants.

Order: check against the base, read the adapters, encode each distinct text once, denoise in batches, decode one
picture per turn. It does not know the store, the arbiter or who asked; training's previews come this same way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.errors import InvalidInput
from lora_studio.generate.denoise import PictureTask, denoise
from lora_studio.generate.picture import Picture, glimpse_uri, to_png
from lora_studio.generate.samplers import make_scheduler
from lora_studio.pipeline.base import SharedBase
from lora_studio.pipeline.calls import Blob, LiveAdapter, Mix, ModelCall, Report, Turn
from lora_studio.pipeline.conditioning import TextCondition, always
from lora_studio.prompt.infotext import ModelFacts
from lora_studio.types import GenerateRequest

Resolve = Callable[[str], CanonicalAdapter]
"""The adapter of a file's sha256; raises `NotFound` or `AdapterRefused`."""

_TEXTS_AT_ONCE = 32


@dataclass(frozen=True, eq=False)
class _Wanted:
    """One picture to make."""

    request: GenerateRequest
    index: int
    mix: Mix


def generate(
    base: SharedBase,
    requests: Sequence[GenerateRequest],
    resolve: Resolve,
    live: LiveAdapter | None = None,
    glimpses: bool = True,
    known_as: Callable[[str], str] | None = None,
) -> Generator[Any, Any, list[Picture]]:
    """Make the pictures of `requests`, in order.

    Args:
        base: the shared base.
        requests: complete requests; each picture i of one uses its seed + i.
        resolve: reads the adapters that the requests name.
        live: an adapter in training, mixed into every picture at its weight.
        glimpses: report a small look at every step.
        known_as: the 12 hex digits by which other programs know the adapter file of a sha256, for the pictures' texts;
            the first of the sha256 itself where it is left out.

    Returns:
        The pictures in the order of the requests.

    Raises:
        InvalidInput: a request does not fit this base, in one sentence.
    """
    for request in requests:
        check_fits(base, request)
    wanted = []
    for request in requests:
        mix: Mix = tuple((resolve(a.sha256), a.weight) for a in request.adapters if a.weight != 0.0)
        if live is not None and live.weight != 0.0:
            mix = (*mix, (live.adapter, live.weight))
        wanted += [_Wanted(request, index, mix) for index in range(request.num_images)]
    texts = yield from _encode(base, wanted)
    base.autoencoder.fit_look()
    yield Turn()
    facts = ModelFacts(base.info.title, base.info.unet_file_sha256[:10], _hashes(requests, known_as))
    pictures: list[Picture] = []
    progress = _Progress(wanted)
    for group in _groups(wanted, base.info.defaults.batch_size):
        latents = yield from _sample(base, group, texts, progress, glimpses)
        for one, latent in zip(group, latents, strict=True):
            pixels = base.autoencoder.decode(latent[None])[0]
            yield Turn()
            picture = to_png(pixels, one.request, one.index, facts)
            pictures.append(picture)
            yield Report(
                "picture", {"index": len(pictures) - 1, "seed": picture.seed, "sha256": Blob(picture.png, ".png")}
            )
    return pictures


def check_fits(base: SharedBase, request: GenerateRequest) -> None:
    """Raise `InvalidInput` where a request cannot be made on this base."""
    step = base.info.size_step
    for side, value in (("width", request.width), ("height", request.height)):
        if value % step:
            low = max(step, value // step * step)
            raise InvalidInput(
                f"The {side} {value} is no multiple of {step} pixels; use {low} or {low + step}.",
                code="size_multiple",
                field=side,
                given=str(value),
                step=step,
                low=low,
                high=low + step,
            )
    if request.base and request.base != base.info.sha256:
        raise InvalidInput(
            f"The request was made for the base {request.base[:10]}, and {base.info.title} ({base.info.sha256[:10]}) "
            "is loaded; load that base, or edit the request for this one.",
            code="base_changed",
            given=request.base[:10],
            loaded=base.info.sha256[:10],
            title=base.info.title,
        )
    if request.init_image is not None or request.mask is not None:
        raise InvalidInput(
            f"The request starts from the picture {(request.init_image or request.mask or '')[:10]}; starting from "
            "noise is all that is possible yet; remove the picture.",
            code="init_image_unsupported",
            given=(request.init_image or request.mask or "")[:10],
        )


def _encode(
    base: SharedBase, wanted: Sequence[_Wanted]
) -> Generator[Any, Any, dict[tuple[str, tuple[tuple[str, float], ...]], TextCondition]]:
    """Encode each distinct text under each distinct mix once, some at a time; tell of texts that are too long."""
    jobs: dict[tuple[str, tuple[tuple[str, float], ...]], Mix] = {}
    for one in wanted:
        for text in (one.request.prompt, one.request.negative_prompt):
            jobs.setdefault((text, _mix_key(one.mix)), one.mix)
    told: set[str] = set()
    for text, _ in jobs:
        count, limit = base.family.count_tokens(text)
        if count > limit and text not in told:
            told.add(text)
            message = f"The text has {count} tokens; this base reads the first {limit}; the rest was not read."
            yield Report(
                "warning", {"code": "text_cut", "message": message, "values": {"given": count, "allowed": limit}}
            )
    keys = list(jobs)
    found: dict[tuple[str, tuple[tuple[str, float], ...]], TextCondition] = {}
    for start in range(0, len(keys), _TEXTS_AT_ONCE):
        part = keys[start : start + _TEXTS_AT_ONCE]
        conditions = base.family.encode_text([text for text, _ in part], [jobs[key] for key in part])
        found |= dict(zip(part, conditions, strict=True))
        yield Turn()
    return found


def _mix_key(mix: Mix) -> tuple[tuple[str, float], ...]:
    return tuple((adapter.key, weight) for adapter, weight in mix if adapter.touches("text_encoder"))


def _groups(wanted: Sequence[_Wanted], batch_size: int) -> list[list[_Wanted]]:
    """Batches of at most `batch_size` neighbours that can be denoised together."""
    groups: list[list[_Wanted]] = []
    for one in wanted:
        if groups and len(groups[-1]) < batch_size and _alike(groups[-1][0].request, one.request):
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _alike(a: GenerateRequest, b: GenerateRequest) -> bool:
    def key(r: GenerateRequest) -> tuple[int, int, int, str]:
        return r.width, r.height, r.num_inference_steps, r.sampler

    return key(a) == key(b)


class _Progress:
    """Counts picture-steps over the whole job, and from them the seconds that are left."""

    def __init__(self, wanted: Sequence[_Wanted]) -> None:
        self.total = sum(one.request.num_inference_steps for one in wanted)
        self.done = 0
        self.pictures = len(wanted)
        self.finished = 0
        self._start = time.monotonic()

    def step(self, pictures: int, step: int, steps: int) -> Report:
        """One step of `pictures` pictures was made."""
        self.done += pictures
        spent = time.monotonic() - self._start
        left = spent / self.done * (self.total - self.done)
        data = {"phase": "sample", "step": step, "steps": steps, "seconds_left": round(left, 2)}
        return Report("progress", data | {"picture": self.finished, "pictures": self.pictures})


def _sample(
    base: SharedBase,
    group: Sequence[_Wanted],
    texts: dict[tuple[str, tuple[tuple[str, float], ...]], TextCondition],
    progress: _Progress,
    glimpses: bool,
) -> Generator[Any, Any, Tensor]:
    """Denoise one batch; returns latents (pictures, C, h, w)."""
    tasks = [
        PictureTask(
            seed=one.request.seed + one.index,
            positive=always(texts[one.request.prompt, _mix_key(one.mix)]),
            negative=always(texts[one.request.negative_prompt, _mix_key(one.mix)]),
            guidance=one.request.guidance_scale,
            mix=one.mix,
        )
        for one in group
    ]
    first = group[0].request
    scheduler = make_scheduler(first.sampler, base.scheduler_config)
    loop = denoise(base, tasks, scheduler, first.num_inference_steps, (first.height, first.width))
    step = 0
    try:
        want = next(loop)
        while True:
            if isinstance(want, ModelCall):
                want = loop.send((yield want))
                continue
            step += 1
            yield progress.step(len(group), step, len(scheduler.timesteps))
            if glimpses:
                yield Report("glimpse", {"image": glimpse_uri(base.autoencoder.look(want)[0]), "step": step})
            want = next(loop)
    except StopIteration as end:
        progress.finished += len(group)
        latents: Tensor = end.value
        return latents


def _hashes(requests: Sequence[GenerateRequest], known_as: Callable[[str], str] | None) -> dict[str, str]:
    """The 12 hex digits by which other programs know each adapter file."""
    used = {a.sha256 for request in requests for a in request.adapters}
    return {sha256: sha256[:12] if known_as is None else known_as(sha256) for sha256 in used}
