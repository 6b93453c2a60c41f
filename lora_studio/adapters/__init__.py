"""LoRA and embedding files and what they come to: tensors and files, no pipeline.

`canonical` is the one form that everything becomes, `binding` what of it depends on a base's weight, `formats` reads
every layout, `kohya` writes the one that A1111 and ComfyUI read best, `door` checks a file before anything touches the
base and reports on it. `embedding` is the door of textual-inversion embeddings, `unpacking` and `unpack` open pickles
and pictures in a process of their own.
"""

from lora_studio.adapters.canonical import CanonicalAdapter, Dense, LayerShape, LowRank
from lora_studio.adapters.door import admit, inspect
from lora_studio.adapters.embedding import EmbeddingReport, TextEmbedding
from lora_studio.adapters.kohya import kohya_name, to_kohya
from lora_studio.adapters.report import AdapterReport

__all__ = [
    "AdapterReport",
    "CanonicalAdapter",
    "Dense",
    "EmbeddingReport",
    "LayerShape",
    "LowRank",
    "TextEmbedding",
    "admit",
    "inspect",
    "kohya_name",
    "to_kohya",
]
