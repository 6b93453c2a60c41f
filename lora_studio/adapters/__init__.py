"""LoRA files and what they come to: tensors and files, no pipeline.

`canonical` is the one form that everything becomes, `kohya` reads and writes the key layout that A1111 and
ComfyUI read best, `door` checks a file before anything touches the base, `metadata` writes and reads headers.
"""

from lora_studio.adapters.canonical import CanonicalAdapter, LayerShape, LowRank
from lora_studio.adapters.door import AdapterReport, admit
from lora_studio.adapters.kohya import kohya_name, to_kohya

__all__ = ["AdapterReport", "CanonicalAdapter", "LayerShape", "LowRank", "admit", "kohya_name", "to_kohya"]
