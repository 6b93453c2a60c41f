"""Aspect buckets: the few sizes that pictures of any size and orientation are cut to, so that a batch is one tensor.

Every bucket's sides are multiples of the base's bucket step and its area is at most resolution^2. Of all such sizes a
picture gets the one that keeps most of it: the product of the share of the picture that is not cropped away and of
the bucket's linear size. (kohya-ss' trainer takes the nearest aspect among the largest sizes only, which crops a
fifth of a 4:3 picture at 128 pixels with step 32; 128 x 96 crops nothing.) It does not know what the step comes from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from lora_studio.dataset.intake import MAX_ASPECT, aspect_refusal
from lora_studio.errors import InvalidInput


@dataclass(frozen=True, order=True)
class Bucket:
    """A size in pixels."""

    width: int
    height: int


def assign(
    sizes: Sequence[tuple[int, int]],
    resolution: int,
    step: int,
    max_aspect: float = MAX_ASPECT,
    names: Sequence[str] | None = None,
) -> list[Bucket]:
    """The bucket of each picture.

    Args:
        sizes: (width, height) in pixels.
        resolution: side of a square picture's bucket, in pixels.
        step: both sides of a bucket are multiples of it, in pixels.
        max_aspect: longest side over shortest side that is allowed.
        names: what the pictures are called in an error.

    Raises:
        DatasetError: a picture is longer than `max_aspect`; the sentence names it.
        InvalidInput: the resolution is smaller than the step.
    """
    offered = _offered(resolution, step, max_aspect)
    chosen: dict[tuple[int, int], Bucket] = {}
    for index, (width, height) in enumerate(sizes):
        if max(width, height) > max_aspect * min(width, height):
            raise aspect_refusal(names[index] if names else f"picture {index + 1}", width, height, max_aspect)
        if (width, height) not in chosen:
            chosen[width, height] = max(offered, key=lambda bucket: _kept((width, height), bucket, resolution))
    return [chosen[width, height] for width, height in sizes]


def crop_loss(size: tuple[int, int], bucket: Bucket) -> float:
    """Share (0 to 1) of a picture's area that `fit` cuts away."""
    picture, wanted = size[0] / size[1], bucket.width / bucket.height
    return 1.0 - min(picture, wanted) / max(picture, wanted)


def fit(image: Image.Image, bucket: Bucket) -> Image.Image:
    """The picture scaled to cover the bucket, what juts out cut off evenly on both sides (LANCZOS; small ones grow)."""
    scale = max(bucket.width / image.width, bucket.height / image.height)
    width, height = bucket.width / scale, bucket.height / scale
    left, top = (image.width - width) / 2, (image.height - height) / 2
    box = (max(0.0, left), max(0.0, top), min(image.width, left + width), min(image.height, top + height))
    return image.resize((bucket.width, bucket.height), Image.Resampling.LANCZOS, box=box)


def _offered(resolution: int, step: int, max_aspect: float) -> list[Bucket]:
    """Every allowed size, largest area first, so that equals go to the larger."""
    if resolution < step:
        raise InvalidInput(
            f"The resolution was given as {resolution}; this base needs at least {step} pixels; raise it.",
            code="resolution_too_small",
            given=str(resolution),
            allowed=str(step),
        )
    most = resolution * resolution // step
    found = [
        Bucket(width, height)
        for width in range(step, most + 1, step)
        for height in range(step, resolution * resolution // width + 1, step)
        if max(width, height) <= max_aspect * min(width, height)
    ]
    return sorted(found, key=lambda bucket: (-bucket.width * bucket.height, abs(bucket.width - bucket.height), bucket))


def _kept(size: tuple[int, int], bucket: Bucket, resolution: int) -> float:
    """How much of a picture a bucket keeps: uncropped share times linear size (1 at resolution^2)."""
    return (1.0 - crop_loss(size, bucket)) * math.sqrt(bucket.width * bucket.height) / resolution
