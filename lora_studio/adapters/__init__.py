"""LoRA and embedding files and what they come to: tensors and files, no pipeline.

`canonical` is the one form that everything becomes, `kohya` reads and writes the key layout that A1111 and
ComfyUI read best, `door` checks a file before anything touches the base. `embedding` is the door of textual-inversion
embeddings, `unpacking` and `unpack` open pickles and pictures for it in a process of their own.
"""

from lora_studio.adapters.canonical import CanonicalAdapter, LayerShape, LowRank
from lora_studio.adapters.door import AdapterReport, admit
from lora_studio.adapters.embedding import EmbeddingReport, TextEmbedding
from lora_studio.adapters.kohya import kohya_name, to_kohya

__all__ = [
    "AdapterReport",
    "CanonicalAdapter",
    "EmbeddingReport",
    "LayerShape",
    "LowRank",
    "TextEmbedding",
    "admit",
    "kohya_name",
    "to_kohya",
]
