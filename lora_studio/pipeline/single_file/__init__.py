"""Bases in one file."""

from lora_studio.pipeline.device import Precision
from lora_studio.pipeline.parts import Parts
from lora_studio.pipeline.source import BaseSource


def load_file(source: BaseSource, precision: Precision) -> Parts:
    raise ValueError
