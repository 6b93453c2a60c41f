"""A learnt word as files: its own textual inversion, and the same vectors inside the LoRA.

Both are what A1111 reads: a `.safetensors` file that is called as the word is, with `emb_params` (SDXL: `clip_l` and
`clip_g`); and in the LoRA's file the keys `bundle_emb.<name>.string_to_param.*` (SDXL: `bundle_emb.<name>.clip_l` ...),
whose last `*` is the term that A1111's embeddings have stood under since their first form. The vectors are float32,
so that a file holds the very numbers that were learnt. It does not know how they were learnt.

Sources: AUTOMATIC1111 stable-diffusion-webui v1.10.1, extensions-builtin/Lora/networks.py (`load_network`, which parts
`bundle_emb` keys at their first full stops) and modules/textual_inversion/textual_inversion.py
(`create_embedding_from_data`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import load, save
from torch import Tensor

from lora_studio import __version__
from lora_studio.adapters.embedding import TextEmbedding
from lora_studio.pipeline.base import SharedBase
from lora_studio.types import TrainConfig

BUNDLE = "bundle_emb."


@dataclass(frozen=True)
class WordFile:
    """A learnt word as a textual inversion: its name, the file's bytes, n vectors of these widths."""

    name: str
    data: bytes
    vectors: int
    widths: dict[str, int]
    metadata: dict[str, str]


def word_file(embedding: TextEmbedding, base: SharedBase, steps: int) -> WordFile:
    """The textual inversion of an embedding that learnt for `steps` steps."""
    metadata = {
        "name": embedding.name,
        "step": str(steps),
        "sd_checkpoint": base.info.unet_file_sha256[:10],
        "sd_checkpoint_name": base.info.title,
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{base.family.architecture}/textual-inversion",
        "modelspec.implementation": f"lora-studio {__version__}",
        "modelspec.title": embedding.name,
        "modelspec.date": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()),
        "lora_studio_base_sha256": base.info.sha256,
    }
    alone = len(embedding.vectors) == 1
    tensors = {"emb_params" if alone else key: _kept(rows) for key, rows in embedding.vectors.items()}
    return WordFile(embedding.name, save(tensors, metadata=metadata), embedding.count, embedding.widths, metadata)


def bundle(embedding: TextEmbedding) -> dict[str, Tensor]:
    """The tensors that carry an embedding inside a LoRA's file."""
    alone = len(embedding.vectors) == 1
    return {
        f"{BUNDLE}{embedding.name}.{'string_to_param.*' if alone else key}": _kept(rows)
        for key, rows in embedding.vectors.items()
    }


def bundled(data: bytes, name: str) -> dict[str, Tensor]:
    """The vectors of the word `name` in a LoRA's file, by text encoder; {} where it has none."""
    start = f"{BUNDLE}{name}."
    found = {key.removeprefix(start): rows for key, rows in load(data).items() if key.startswith(start)}
    return {"clip_l" if key == "string_to_param.*" else key: rows for key, rows in found.items()}


def carries(data: bytes, embeddings: Sequence[TextEmbedding]) -> bool:
    """True where a LoRA's file holds these embeddings, to the last bit."""
    for one in embeddings:
        found = bundled(data, one.name)
        if found.keys() != one.vectors.keys():
            return False
        if not all(torch.equal(rows, one.vectors[key].cpu()) for key, rows in found.items()):
            return False
    return True


def without_bundle(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The LoRA alone, for readers that know no bundles: diffusers refuses the whole file for one."""
    return {key: tensor for key, tensor in tensors.items() if not key.startswith(BUNDLE)}


def word_metadata(config: TrainConfig, sha256: str, steps: int, rate: float) -> dict[str, str]:
    """What the LoRA's file says of the word that was learnt with it.

    Args:
        sha256: of the word's own file.
        steps: in which it learnt.
        rate: largest learning rate of these steps.
    """
    told = {
        "name": config.embedding,
        "vectors": config.embedding_vectors,
        "words": config.embedding_words if config.publish_captions else "",
        "steps": steps,
        "learning_rate": rate,
        "weight_decay": config.embedding_decay,
        "pull": config.embedding_pull,
        "sha256": sha256,
    }
    return {"lora_studio_embedding": json.dumps(told, ensure_ascii=False)}


def _kept(rows: Tensor) -> Tensor:
    """A float32 copy (n, width) on the CPU."""
    return rows.detach().float().cpu().contiguous().clone()
