"""The shared base: every module of it once, owned by one thread.

It loads, predicts, encodes text and pictures, and hands out training trees. It knows no jobs and no users.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from lora_studio.adapters.canonical import LayerShape
from lora_studio.errors import BaseUnavailable
from lora_studio.pipeline.autoencoder import Autoencoder
from lora_studio.pipeline.calls import ModelCall
from lora_studio.pipeline.device import Precision
from lora_studio.pipeline.families import Family, family_of
from lora_studio.pipeline.slots import AdapterSlots
from lora_studio.pipeline.source import BaseSource
from lora_studio.pipeline.tokens import token_reader
from lora_studio.pipeline.twin import training_tree
from lora_studio.types import BaseInfo, Tag

_WEIGHT_FOLDERS = ("text_encoder", "unet", "vae")


class SharedBase:
    """One loaded base.

    Attributes:
        unet: the serving tree; its names, hooks and flags never change.
        family: what differs between kinds of base.
        slots: adapter slots of the UNet and the text encoder.
        autoencoder: pictures to latents and back.
        tokenize: words to tokens with their places, safe in any thread.
        scheduler_config: the noise schedule, as diffusers writes it.
    """

    def __init__(
        self,
        modules: tuple[UNet2DConditionModel, AutoencoderKL, CLIPTextModel, CLIPTokenizer],
        scheduler_config: Mapping[str, Any],
        precision: Precision,
        source: BaseSource,
    ) -> None:
        unet, vae, text_encoder, tokenizer = modules
        for module in (unet, vae, text_encoder):
            module.requires_grad_(False).eval()
        self.unet = unet
        self.text_encoder = text_encoder
        self.precision = precision
        self.scheduler_config = dict(scheduler_config)
        self.slots = AdapterSlots({"unet": unet, "text_encoder": text_encoder})
        self.autoencoder = Autoencoder(vae, precision)
        self.family: Family = family_of(unet, vae, (tokenizer, text_encoder), self.slots, precision, source.card)
        self.tokenize = token_reader(tokenizer)
        self.info = self._describe(source)
        self.vocabulary = _words(source.folder)

    @property
    def layers(self) -> Mapping[str, LayerShape]:
        """The layers that an adapter may change."""
        return self.slots.shapes

    @property
    def text_widths(self) -> dict[str, int]:
        """Width of the token vectors of each text encoder, as embeddings must have them."""
        return {"clip_l": int(self.text_encoder.config.hidden_size)}

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return int(self.unet.config.in_channels)

    def predict(self, call: ModelCall) -> Tensor:
        """The UNet's prediction (rows, channels, height, width) float32 for `call`."""
        size = tuple(side * self.autoencoder.factor for side in call.latents.shape[-2:])
        device, dtype = self.unet.device, self.unet.dtype
        arguments = self.family.unet_arguments(
            call.embeddings.to(device, dtype), None if call.mask is None else call.mask.to(device), (size[0], size[1])
        )
        with self.precision.inference(), self.slots.active(call.mixes):
            latents, timesteps = call.latents.to(device, dtype), call.timesteps.to(device)
            out: Tensor = self.unet(latents, timesteps, **arguments, return_dict=False)[0]
        return out.float()

    def training_tree(self) -> UNet2DConditionModel:
        """A second UNet object over the very same tensors, for one training."""
        return training_tree(self.unet)

    def _describe(self, source: BaseSource) -> BaseInfo:
        modules = (self.unet, self.autoencoder.vae, self.text_encoder)
        whole, unet_file = _hash_weights(source.folder)
        return BaseInfo(
            ref=source.ref,
            title=str(source.card.get("title", source.folder.name)),
            sha256=whole,
            unet_file_sha256=unet_file,
            family=self.family.name,
            size_step=self.family.size_step,
            bucket_step=self.family.bucket_step,
            parameters=sum(p.numel() for module in modules for p in module.parameters()),
            prediction_type=str(self.scheduler_config.get("prediction_type", "epsilon")),
            defaults=self.family.defaults,
            recipes={str(kind): dict(changes) for kind, changes in source.card.get("recipes", {}).items()},
            text_widths=self.text_widths,
            small=bool(source.card.get("small", False)),
        )


def load_base(source: BaseSource, precision: Precision) -> SharedBase:
    """Load every module of a base once.

    Raises:
        BaseUnavailable: a file is missing, damaged or not safetensors.
    """
    folder = source.folder
    try:
        options = {"torch_dtype": precision.weights, "use_safetensors": True, "local_files_only": True}
        unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **options)
        vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", **options)
        text_encoder = CLIPTextModel.from_pretrained(
            folder, subfolder="text_encoder", dtype=precision.weights, use_safetensors=True, local_files_only=True
        )
        tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer", local_files_only=True)
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BaseUnavailable(
            f"The base {source.ref!r} cannot be loaded: {why}; fetch it again or choose another base.",
            code="base_damaged",
            given=source.ref,
            why=why,
        ) from error
    modules = tuple(module.to(precision.device) for module in (unet, vae, text_encoder))
    return SharedBase((*modules, tokenizer), config, precision, source)


def _hash_weights(folder: Path) -> tuple[str, str]:
    """sha256 over all weights, whatever files they lie in, and sha256 of the UNet's (first) file.

    Over each tensor's component, name, dtype, shape and bytes in order of name, so that sharding a file or writing
    its header anew changes nothing.
    """
    whole = hashlib.sha256()
    for component in _WEIGHT_FOLDERS:
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


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors files that diffusers and transformers read: without a variant where there are both."""
    files = sorted(folder.glob("*.safetensors"))
    plain = [path for path in files if path.name.count(".") == 1]
    return plain or files


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


def release(base: SharedBase) -> None:
    """Let go of a base's memory before another is loaded; `base` must not be used afterwards."""
    base.slots.forget()
    for module in (base.unet, base.autoencoder.vae, base.text_encoder):
        module.to("meta")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
