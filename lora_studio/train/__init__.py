"""A training is a generator: recipe and examples in, one optimizer step per turn, an adapter file out.

It does not know generating; where it wants a picture it yields `NeedPreview`.
"""

from lora_studio.train.job import Controls, Paused, TrainingResult, train
from lora_studio.train.state import Cache, MemoryCache

__all__ = ["Cache", "Controls", "MemoryCache", "Paused", "TrainingResult", "train"]
