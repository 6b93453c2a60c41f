"""Pictures and captions on their way to a training: intake, captions, aspect buckets, batches. PIL only.

intake     a file of a person -> a plain RGB PNG with remarks, or one sentence
archive    a zip -> its files, or one sentence
captions   texts beside pictures, the trigger word, variants of a caption
buckets    pictures of any size -> a few sizes that one batch can hold
batches    which pictures each step takes, as a function of (seed, step)
examples   what a training is handed
"""

from lora_studio.dataset.batches import Plan, plan
from lora_studio.dataset.buckets import Bucket, assign, crop_loss, fit
from lora_studio.dataset.captions import captions_for, rng_for, variant
from lora_studio.dataset.examples import Example, examples_for
from lora_studio.dataset.intake import Picture, normalise

__all__ = [
    "Bucket",
    "Example",
    "Picture",
    "Plan",
    "assign",
    "captions_for",
    "crop_loss",
    "examples_for",
    "fit",
    "normalise",
    "plan",
    "rng_for",
    "variant",
]
