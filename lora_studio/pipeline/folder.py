"""Bases in diffusers' layout: a folder per part, each loaded by its own library, and a hash over all weights.

It knows which folders a kind of pipeline has; what differs between kinds when they are used is the families' business.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lora_studio.adapters.tensors import read_index
from lora_studio.pipeline.autoencoder import dtype_of
from lora_studio.pipeline.device import Precision
from lora_studio.pipeline.parts import Parts, TextPart
from lora_studio.pipeline.source import VARIANT, WEIGHTS, BaseSource, half_weights, plain_weights
from lora_studio.types import Tag


def load_folder(source: BaseSource, precision: Precision) -> Parts:
    """Load every module of a folder once, on the CPU.

    Raises:
        OSError, ValueError, RuntimeError, KeyError: a file is missing, damaged or not safetensors.
    """
    folder = source.path
    _check_numbers(folder)
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    options = {"use_safetensors": True, "local_files_only": True}
    unet = UNet2DConditionModel.from_pretrained(
        folder, subfolder="unet", torch_dtype=precision.weights, variant=_variant(folder / "unet"), **options
    )
    numbers = dtype_of(json.loads((folder / "vae" / "config.json").read_text(encoding="utf-8")), precision)
    vae = AutoencoderKL.from_pretrained(
        folder, subfolder="vae", torch_dtype=numbers, variant=_variant(folder / "vae"), **options
    )
    texts = [_text(folder, "text_encoder", "tokenizer", CLIPTextModel, precision)]
    if (folder / "text_encoder_2").is_dir():
        texts.append(_text(folder, "text_encoder_2", "tokenizer_2", CLIPTextModelWithProjection, precision))
        if texts[0].tokenizer.get_vocab() != texts[1].tokenizer.get_vocab():
            # One list of tokens serves both encoders.
            raise ValueError("its two tokenizers know different words")
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    whole, unet_file = _hash_weights(folder)
    return Parts(
        unet,
        vae,
        tuple(texts),
        config,
        title=str(source.card.get("title", folder.name)),
        sha256=whole,
        file_sha256=unet_file,
        zeros_for_empty=bool(index.get("force_zeros_for_empty_prompt", False)),
        remarks=(_prediction(config), *_halves(folder)),
        words=_words(folder),
    )


def _text(folder: Path, model: str, tokenizer: str, kind: Any, precision: Precision) -> TextPart:
    """One text encoder with its tokenizer."""
    options = {"local_files_only": True}
    encoder = kind.from_pretrained(
        folder,
        subfolder=model,
        dtype=precision.weights,
        use_safetensors=True,
        local_files_only=True,
        variant=_variant(folder / model),
    )
    return TextPart(encoder, CLIPTokenizer.from_pretrained(folder, subfolder=tokenizer, **options))


def _prediction(config: dict[str, Any]) -> dict[str, Any]:
    given = str(config.get("prediction_type", "epsilon"))
    return {
        "code": "base_prediction_config",
        "message": f"Its scheduler says that it predicts {given}.",
        "values": {"given": given},
    }


def _variant(part: Path) -> str | None:
    """What the files of a part that has no other weights are called by the libraries; None for the plain ones."""
    return VARIANT if not plain_weights(part) and half_weights(part) else None


def _halves(folder: Path) -> tuple[dict[str, Any], ...]:
    """What is said of parts that have weights in 16 bits alone."""
    parts = ", ".join(part for part in WEIGHTS if _variant(folder / part))
    if not parts:
        return ()
    message = f"It has its weights in 16 bits alone (fp16: {parts}), and these are read."
    return ({"code": "base_variant", "message": message, "values": {"variant": VARIANT, "parts": parts}},)


def _hash_weights(folder: Path) -> tuple[str, str]:
    """sha256 over all weights, whatever files they lie in, and sha256 of the UNet's (first) file.

    Over each tensor's component, name, dtype, shape and bytes in order of name, so that sharding a file or writing
    its header anew changes nothing.
    """
    whole = hashlib.sha256()
    for component in sorted(WEIGHTS):
        entries = []
        for path in _weight_files(folder / component):
            with path.open("rb") as file:
                length = struct.unpack("<Q", file.read(8))[0]
                header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            entries += [(name, path, 8 + length, entry) for name, entry in header.items()]
        for name, path, start, entry in sorted(entries, key=lambda e: e[0]):
            whole.update(f"{component}/{name}:{entry['dtype']}:{entry['shape']}\n".encode())
            first, last = entry["data_offsets"]
            with path.open("rb") as file:
                file.seek(start + first)
                _update(whole, file, last - first)
    unet = hashlib.sha256()
    for path in _weight_files(folder / "unet")[:1]:
        with path.open("rb") as file:
            _update(unet, file, path.stat().st_size)
    return whole.hexdigest(), unet.hexdigest()


def _check_numbers(folder: Path) -> None:
    """Raise `ValueError` for 8-bit weights with scales beside them, which the libraries would leave out unsaid."""
    for path in (path for component in WEIGHTS for path in _weight_files(folder / component)):
        with path.open("rb") as file:
            index = read_index(file, path.stat().st_size)
        if index.scales:
            raise ValueError(
                f"{path.parent.name}/{path.name} holds 8-bit weights with scales, which are read from single "
                ".safetensors files alone"
            )


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files that diffusers and transformers read: without a variant where there are both."""
    return plain_weights(folder) or half_weights(folder)


def _update(digest: Any, file: Any, length: int) -> None:
    """Feed `length` bytes of `file` in pieces."""
    while length > 0:
        piece = file.read(min(length, 2**22))
        if not piece:
            return
        digest.update(piece)
        length -= len(piece)


def _words(folder: Path) -> tuple[Tag, ...]:
    """The base's own word list, most frequent first; empty without a `words.json`."""
    path = folder / "words.json"
    if not path.is_file():
        return ()
    return tuple(Tag(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))
