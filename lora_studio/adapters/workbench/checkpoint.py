"""The weights of a whole model on disk, one at a time: a diffusers folder or one `.safetensors` file of SD's layout.

A layer's key is that of a canonical adapter (`unet.<module path>`, `text_encoder...`), whatever the file calls it; the
text encoders' fused projections of OpenCLIP are cut into q, k and v. Nothing is loaded but what is asked for. It does
not know adapters, nor how a model computes.

Sources: CompVis/latent-diffusion ldm/modules/diffusionmodules/openaimodel.py (names of blocks); mlfoundations/open_clip
src/open_clip/transformer.py (names of a text encoder); huggingface/diffusers loaders/single_file_utils.py.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lora_studio.adapters.formats.ldm import diffusers_path
from lora_studio.adapters.tensors import TensorFile, TensorIndex, beside_weights, read_index
from lora_studio.errors import InvalidInput
from lora_studio.headers import header
from lora_studio.headers.reasons import coded, reason

COMPONENTS = ("unet", "transformer", "text_encoder", "text_encoder_2")
_UNET = "model.diffusion_model."
_CLIP = (
    ("cond_stage_model.transformer.", "text_encoder"),
    ("conditioner.embedders.0.transformer.", "text_encoder"),
)
_OPEN_CLIP = (
    ("cond_stage_model.model.", "text_encoder"),
    ("conditioner.embedders.1.model.", "text_encoder_2"),
)
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)")
_OPEN = {"attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}


@dataclass(frozen=True)
class Place:
    """Where one layer's weight lies: file, its index, tensor, shape, and which third of it (None: all)."""

    file: Path
    index: TensorIndex
    tensor: str
    shape: tuple[int, ...]
    third: int | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A model on disk.

    Attributes:
        layers: layer key to its place: matrices and kernels of convolutions.
        others: what else there is by a name of its own: biases, norms, embeddings.
    """

    layers: dict[str, Place]
    others: dict[str, Place]

    def weight(self, key: str) -> Tensor:
        """W of a layer (or another tensor), float32. Raises `InvalidInput` when it cannot be read."""
        place = self.layers.get(key) or self.others[key]
        try:
            with place.file.open("rb") as file:
                tensor = TensorFile(file, place.index).weight(place.tensor).to(torch.float32)
        except (OSError, ValueError) as error:
            clause = error.reason if isinstance(error, header.HeaderDamagedError) else str(error).splitlines()[0]
            raise _damaged(place.file, clause) from error
        if place.third is None:
            return tensor
        size = tensor.shape[0] // 3
        return tensor[place.third * size : (place.third + 1) * size]


def open_checkpoint(path: Path) -> Checkpoint:
    """Find the weights of a model.

    Args:
        path: a folder in diffusers' layout or a `.safetensors` file of Stable Diffusion's.

    Raises:
        InvalidInput: it is neither, or its files are damaged.
    """
    found = Checkpoint({}, {})
    if path.is_file():
        for place in _places(path):
            _single(found, place)
    else:
        for component in COMPONENTS:
            for file in _weight_files(path / component):
                for place in _places(file):
                    _add(found, f"{component}.{_clip_path(component, place.tensor)}", place)
    if not found.layers:
        raise InvalidInput(
            f"{path} holds no model that is read here; give a folder in diffusers' layout or a .safetensors file of "
            "Stable Diffusion 1, 2 or XL.",
            code="workbench_no_checkpoint",
            given=str(path),
        )
    return found


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a component: an index's, else one without or with a variant's name."""
    if not folder.is_dir():
        return []
    plain = any(file.name.count(".") == 1 for file in folder.glob("*.safetensors"))
    indexes = sorted(folder.glob("*.safetensors.index.json")) or sorted(folder.glob("*.safetensors.index.*.json"))
    if plain and indexes and not indexes[0].name.endswith(".safetensors.index.json"):
        indexes = []  # of a variant
    if indexes:
        try:
            table = json.loads(indexes[0].read_text(encoding="utf-8"))["weight_map"]
            return [folder / Path(name).name for name in sorted(set(table.values()))]
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise _damaged(indexes[0], reason("config_json", name=indexes[0].name)) from error
    files = sorted(folder.glob("*.safetensors"), key=lambda file: (file.name.count("."), file.name))
    return files[:1]


def _places(file: Path) -> Iterator[Place]:
    """Each tensor of a file, but for scales that stand beside weights. Raises `InvalidInput`."""
    try:
        with file.open("rb") as opened:
            index = read_index(opened, os.fstat(opened.fileno()).st_size)
    except header.HeaderDamagedError as error:
        raise _damaged(file, error.reason) from None
    except OSError as error:
        raise _damaged(file, error.strerror or str(error)) from error
    for name, entry in index.entries.items():
        if not (index.scales and beside_weights(name)):
            yield Place(file, index, name, tuple(entry["shape"]))


def _damaged(file: Path, clause: str) -> InvalidInput:
    return InvalidInput(
        f"{file} cannot be read as a model: {clause}; give another file.",
        code="workbench_checkpoint_damaged",
        given=str(file),
        why=str(clause),
        **coded(clause),
    )


def _add(found: Checkpoint, name: str, place: Place) -> None:
    """Enter a tensor: a weight of two or four dimensions is a layer, unless it is a table of embeddings."""
    key = name.removesuffix(".weight")
    layer = (
        name.endswith(".weight")
        and len(place.shape) in (2, 4)
        and "embedding." not in f"{key}.".replace("time_embedding.", "").replace("add_embedding.", "")
    )
    (found.layers if layer else found.others)[key if layer else name] = place


def _clip_path(component: str, name: str) -> str:
    """transformers dropped `text_model.` from CLIPTextModel's names; a text encoder with a projection kept it."""
    return name.removeprefix("text_model.") if component == "text_encoder" else name


def _single(found: Checkpoint, place: Place) -> None:
    """Enter a tensor of a single file under its diffusers name."""
    name = place.tensor
    if name.startswith(_UNET):
        path, dot, part = name.removeprefix(_UNET).rpartition(".")
        known = diffusers_path(path)
        _add(found, f"unet.{known or path}{dot}{part}", place)
        return
    for prefix, component in _CLIP:
        if name.startswith(prefix):
            _add(found, f"{component}.{_clip_path(component, name.removeprefix(prefix))}", place)
            return
    for prefix, component in _OPEN_CLIP:
        block = _BLOCK.fullmatch(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if block is not None:
            wrap = "text_model." if component == "text_encoder_2" else ""
            _open_clip(found, f"{component}.{wrap}encoder.layers.{block[1]}", block[2], place)
            return


def _open_clip(found: Checkpoint, layer: str, rest: str, place: Place) -> None:
    """Enter a tensor of one of OpenCLIP's blocks."""
    if rest.startswith("attn.in_proj_"):
        for third, name in enumerate(("q_proj", "k_proj", "v_proj")):
            shape = (place.shape[0] // 3, *place.shape[1:])
            part = rest.removeprefix("attn.in_proj_")
            _add(found, f"{layer}.self_attn.{name}.{part}", replace(place, shape=shape, third=third))
        return
    path, _, part = rest.rpartition(".")
    _add(found, f"{layer}.{_OPEN.get(path, path)}.{part}", place)
