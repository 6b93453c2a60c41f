"""Textual-inversion embeddings that lie in a LoRA file (`bundle_emb.<name>.<part>`): checked, and as their own files.

It does not know prompts or the library.
Source: AUTOMATIC1111/stable-diffusion-webui 1.10 extensions-builtin/Lora/networks.py (`bundle_embeddings`);
Nerogar/OneTrainer (`bundle_emb.<placeholder>.clip_l`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor

from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.adapters.formats.source import damaged
from lora_studio.adapters.unpack import PARAMETERS
from lora_studio.headers.bundled import MOST
from lora_studio.headers.embeddings import MAX_VECTORS
from lora_studio.headers.reasons import reason, shown


def embeddings_of(given: str, bundled: Mapping[str, Mapping[str, Tensor]]) -> dict[str, TextEmbedding]:
    """The embeddings by name, float32 (n, width).

    Args:
        given: how sentences name the file.
        bundled: name to {clip_l, clip_g: vectors}.

    Raises:
        AdapterRefused: there are too many, or vectors of a shape that no text encoder reads.
    """
    if len(bundled) > MOST:
        raise damaged(given, reason("vectors_many", count=len(bundled), allowed=MOST))
    found = {}
    for name, parts in bundled.items():
        vectors = {key: tensor.float() for key, tensor in sorted(parts.items(), reverse=True)}
        flat = all(tensor.dim() == 2 and tensor.shape[1] for tensor in vectors.values())
        counts = {tensor.shape[0] for tensor in vectors.values()} if flat else set()
        if len(counts) != 1 or not 1 <= next(iter(counts)) <= MAX_VECTORS:
            shapes = ", ".join(" x ".join(map(str, tensor.shape)) or "1" for tensor in vectors.values())
            raise damaged(given, reason("vectors", name=shown(name), found=shapes))
        digest = hashlib.sha256()
        for key, tensor in vectors.items():
            digest.update(key.encode() + tensor.contiguous().numpy().tobytes())
        found[name] = TextEmbedding(name, digest.hexdigest(), vectors)
    return found


def file_of(embedding: TextEmbedding) -> bytes:
    """The embedding as a safetensors file that `embedding.admit` reads."""
    both = dict(embedding.vectors)
    data: bytes = save(both if "clip_g" in both else {PARAMETERS: both["clip_l"]})
    return data
