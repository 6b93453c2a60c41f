"""The generate job: requests in, pictures out, as a generator of wants.

Order: check against the base, read the adapters, encode each distinct text once (`texts`), denoise in batches, decode
one picture per turn. It does not know the store, the arbiter or who asked; training's previews come this same way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.errors import InvalidInput, NotFound
from lora_studio.generate.denoise import PictureTask, denoise
from lora_studio.generate.picture import Picture, glimpse_uri, to_png
from lora_studio.generate.samplers import make_scheduler
from lora_studio.generate.texts import ReadEmbedding, Said, encode_texts
from lora_studio.pipeline.base import SharedBase
from lora_studio.pipeline.calls import Blob, LiveAdapter, Mix, ModelCall, Report, Turn, Weight
from lora_studio.pipeline.heap import give_back
from lora_studio.prompt.infotext import ModelFacts
from lora_studio.types import AdapterWeight, GenerateRequest

Resolve = Callable[[str], CanonicalAdapter]
"""The adapter of a file's sha256; raises `NotFound` or `AdapterRefused`."""


@dataclass(frozen=True, eq=False)
class _Wanted:
    """One picture to make: of which request, which of its pictures, and its texts.

    `mixes` is what acts in the UNet from which step on; it begins with step 1 (`PictureTask.changes`).
    """

    request: GenerateRequest
    index: int
    mixes: tuple[tuple[int, Mix], ...]
    said: Said


def no_embeddings(sha256: str) -> TextEmbedding:
    """Reads no embedding: for jobs whose requests name none."""
    raise NotFound(
        f"There is no embedding {sha256[:10]!r} here; add its file again, or take its name out of the text.",
        code="embedding_gone",
        given=sha256[:10],
    )


def generate(
    base: SharedBase,
    requests: Sequence[GenerateRequest],
    resolve: Resolve,
    live: LiveAdapter | None = None,
    glimpses: bool = True,
    embedding: ReadEmbedding = no_embeddings,
    known_as: Callable[[str], str] | None = None,
    keep: bool = True,
) -> Generator[Any, Any, list[Picture]]:
    """Make the pictures of `requests`, in order.

    Args:
        base: the shared base.
        requests: complete requests; each picture i of one uses its seed + i.
        resolve: reads the adapters that the requests name.
        live: an adapter in training, mixed into every picture at its weight, and the embeddings learnt with it.
        glimpses: report a small look at every step.
        embedding: reads the textual-inversion embeddings that the requests name.
        known_as: the 12 hex digits by which other programs know the adapter file of a sha256, for the pictures' texts;
            the first of the sha256 itself where it is left out.
        keep: whether the pictures that are returned hold their bytes; where the reports are stored these are enough.

    Returns:
        The pictures in the order of the requests.

    Raises:
        InvalidInput: a request does not fit this base, in one sentence.
    """
    for request in requests:
        check_fits(base, request)
    mixes = [_mixes(request, resolve, live) for request in requests]
    asked = [(request, text_mix) for request, (_, text_mix) in zip(requests, mixes, strict=True)]
    texts = yield from encode_texts(base, asked, _reader(embedding, live))
    wanted = [
        _Wanted(request, index, by_step, said)
        for request, (by_step, _), said in zip(requests, mixes, texts, strict=True)
        for index in range(request.num_images)
    ]
    base.autoencoder.fit_look()
    yield Turn()
    facts = ModelFacts(base.info.title, base.info.unet_file_sha256[:10], _hashes(requests, known_as))
    pictures: list[Picture] = []
    progress = _Progress(wanted)
    try:
        for group in _groups(wanted, base.info.defaults.batch_size):
            latents = yield from _sample(base, group, progress, glimpses)
            for one, latent in zip(group, latents, strict=True):
                pixels = yield from _decoded(base, latent, progress)
                picture = to_png(pixels, one.request, one.index, facts)
                told = {"index": len(pictures), "seed": picture.seed, "sha256": Blob(picture.png, ".png")}
                pictures.append(picture if keep else replace(picture, png=b""))
                yield Report("picture", told)
    finally:
        give_back()
    return pictures


def _decoded(base: SharedBase, latent: Tensor, progress: _Progress) -> Generator[Any, Any, Tensor]:
    """Pixels (3, H, W) in -1..1 of a latent (C, h, w); says once in a job that there are some without numbers."""
    pixels = base.autoencoder.decode(latent[None])[0]
    yield Turn()
    if not progress.black and not bool(pixels.isfinite().all()):
        progress.black = True
        yield Report("warning", _not_finite(base.precision.name))
    return pixels


def _not_finite(numbers: str) -> dict[str, Any]:
    """What is said of a picture that the model left without numbers."""
    return {
        "code": "picture_not_finite",
        "message": f"A picture came out without numbers and is black where that is so: in {numbers} something grew too "
        "large; use smaller weights or less guidance, or start with --dtype float32.",
        "values": {"numbers": numbers},
    }


def _reader(embedding: ReadEmbedding, live: LiveAdapter | None) -> ReadEmbedding:
    """`embedding`, and before it those that are being learnt."""
    learnt = {one.sha256: one for one in live.embeddings} if live is not None else {}
    return lambda sha256: learnt[sha256] if sha256 in learnt else embedding(sha256)


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
    if request.clip_skip > base.family.text_layers:
        raise InvalidInput(
            f"clip_skip was given as {request.clip_skip}, and this base's text encoder has {base.family.text_layers} "
            "layers; use that or less.",
            code="clip_skip_deep",
            field="clip_skip",
            given=str(request.clip_skip),
            allowed=str(base.family.text_layers),
        )
    _check_blocks(base, request)
    if request.init_image is not None or request.mask is not None:
        raise InvalidInput(
            f"The request starts from the picture {(request.init_image or request.mask or '')[:10]}; starting from "
            "noise is all that is possible yet; remove the picture.",
            code="init_image_unsupported",
            given=(request.init_image or request.mask or "")[:10],
        )


def _check_blocks(base: SharedBase, request: GenerateRequest) -> None:
    """Raise `InvalidInput` where an adapter has weights for other blocks than this base's."""
    for chosen in request.adapters:
        if len(chosen.blocks) not in (0, len(base.info.blocks.names)):
            raise InvalidInput(
                f"The block weights of {chosen.name!r} are {len(chosen.blocks)}, and the UNet of {base.info.title} has "
                f"{len(base.info.blocks.names)} blocks; give as many, or take them out.",
                code="blocks_of_another_base",
                name=chosen.name,
                given=str(len(chosen.blocks)),
                allowed=str(len(base.info.blocks.names)),
                title=base.info.title,
            )


def _mixes(
    request: GenerateRequest, resolve: Resolve, live: LiveAdapter | None
) -> tuple[tuple[tuple[int, Mix], ...], Mix]:
    """The adapters of a request at their weights: in the UNet by the step from which they act, and in the text encoder.

    In steps in which one does not act it is left out, as at weight 0.
    """
    unet: list[tuple[AdapterWeight, CanonicalAdapter]] = []
    text: list[tuple[CanonicalAdapter, Weight]] = []
    for chosen in request.adapters:
        words = chosen.weight if chosen.text_encoder_weight is None else chosen.text_encoder_weight
        if chosen.weight or words:
            adapter = resolve(chosen.sha256)
            unet += [(chosen, adapter)] if chosen.weight else []
            text += [(adapter, words)] if words else []
    preview: Mix = ()
    if live is not None and live.weight:
        preview = ((live.adapter, live.weight),)
    by_step: list[tuple[int, Mix]] = []
    acting: list[bool] | None = None
    for step in range(1, request.num_inference_steps + 1):
        now = [chosen.acts_in(step, request.num_inference_steps) for chosen, _ in unet]
        if now != acting:
            acting = now
            mix = tuple((adapter, _weight(chosen)) for (chosen, adapter), acts in zip(unet, now, strict=True) if acts)
            by_step.append((step, mix + preview))
    return tuple(by_step), (*text, *preview)


def _weight(chosen: AdapterWeight) -> Weight:
    """The weight in the UNet, by its blocks where they differ."""
    if all(factor == 1.0 for factor in chosen.blocks):
        return chosen.weight
    return (*(chosen.weight * factor for factor in chosen.blocks), chosen.weight)


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
    """Counts picture-steps over the whole job, and from them the seconds that are left.

    Attributes:
        black: a picture without numbers was told of.
    """

    def __init__(self, wanted: Sequence[_Wanted]) -> None:
        self.total = sum(one.request.num_inference_steps for one in wanted)
        self.done = 0
        self.pictures = len(wanted)
        self.finished = 0
        self.black = False
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
    progress: _Progress,
    glimpses: bool,
) -> Generator[Any, Any, Tensor]:
    """Denoise one batch; returns latents (pictures, C, h, w)."""
    tasks = [
        PictureTask(
            seed=one.request.seed + one.index,
            positive=one.said[0],
            negative=one.said[1],
            guidance=one.request.guidance_scale,
            mix=one.mixes[0][1],
            changes=one.mixes[1:],
            rescale=one.request.guidance_rescale,
        )
        for one in group
    ]
    first = group[0].request
    scheduler = make_scheduler(first.sampler, base.scheduler_config, first.num_inference_steps)
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
