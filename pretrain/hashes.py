"""Names of what a base consists of: its weights, its tokenizer, any network by sha256 in hex, and its noise schedule.

`weights_hash` gives what the app calls the base's hash (tested), so that a figure can say which weights it is of. It
reads files; `pretrain.latents.encoder_hash` names latents.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import torch
from torch import nn

WEIGHTS = ("text_encoder", "unet", "vae")
TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt")  # those that are there
SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "rescale_betas_zero_snr",
    "prediction_type",
)


def weights_hash(base: Path) -> str:
    """Of all tensors of a base folder: component, name, dtype, shape and bytes in order of name."""
    digest = hashlib.sha256()
    for component in WEIGHTS:
        entries = []
        for path in sorted((base / component).glob("*.safetensors")):
            data = path.read_bytes()
            start = 8 + struct.unpack("<Q", data[:8])[0]
            for name, entry in json.loads(data[8:start]).items():
                if name != "__metadata__":
                    first, last = entry["data_offsets"]
                    entries.append((name, entry, data[start + first : start + last]))
        for name, entry, bytes_ in sorted(entries, key=lambda one: one[0]):
            digest.update(f"{component}/{name}:{entry['dtype']}:{entry['shape']}\n".encode())
            digest.update(bytes_)
    return digest.hexdigest()


def tokenizer_hash(folder: Path) -> str:
    """Of the files of a tokenizer that say which number a word has."""
    digest = hashlib.sha256()
    for name in TOKENIZER:
        if (folder / name).exists():
            digest.update(name.encode())
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def network_hash(network: nn.Module) -> str:
    """Of a network's numbers and their names, as float32 on the CPU."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def schedule_of(base: Path) -> dict[str, Any]:
    """What decides a base's noise schedule, as diffusers names it."""
    from diffusers import DDPMScheduler

    config = json.loads((base / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    whole = DDPMScheduler.from_config(config).config
    return {name: whole[name] for name in SCHEDULE}
