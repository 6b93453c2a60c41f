"""Bases in one `.safetensors` file: Stable Diffusion 1.x, 2.x and XL in the layout of their makers.

contents    the header: names, shapes, metadata
kinds       which kind of base it is, or what it is instead
shapes      configs from shapes
prediction  epsilon or v, and why
load        the parts of a base
"""

from lora_studio.pipeline.single_file.load import load_file

__all__ = ["load_file"]
