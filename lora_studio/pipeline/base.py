"""The shared base: every module of it once, owned by one thread.

It loads, predicts, encodes text and pictures, and hands out training trees. It knows no jobs and no users.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from lora_studio.adapters.canonical import LayerShape
from lora_studio.errors import BaseUnavailable
from lora_studio.pipeline.autoencoder import Autoencoder
from lora_studio.pipeline.calls import ModelCall
from lora_studio.pipeline.device import Precision, lacks_memory
from lora_studio.pipeline.families import Family, family_of
from lora_studio.pipeline.folder import load_folder
from lora_studio.pipeline.heap import give_back, settle
from lora_studio.pipeline.parts import Parts, with_choice
from lora_studio.pipeline.single_file import load_file
from lora_studio.pipeline.slots import AdapterSlots
from lora_studio.pipeline.source import BaseSource
from lora_studio.pipeline.tokens import token_reader
from lora_studio.pipeline.twin import training_tree
from lora_studio.types import BaseChoice, BaseInfo


class SharedBase:
    """One loaded base.

    Attributes:
        unet: the serving tree; its names, hooks and flags never change.
        family: what differs between kinds of base.
        slots: adapter slots of the UNet and the text encoders.
        autoencoder: pictures to latents and back.
        text_encoders: by name, text_encoder and with Stable Diffusion XL text_encoder_2.
        tokenize: words to tokens with their places, safe in any thread.
        scheduler_config: the noise schedule, as diffusers writes it.
        vocabulary: the base's own word list.
    """

    def __init__(self, parts: Parts, precision: Precision, source: BaseSource) -> None:
        """Take over `parts`, which must lie on the device of `precision`."""
        for module in parts.modules.values():
            module.requires_grad_(False).eval()
        self.unet = parts.unet
        self.text_encoders = dict(parts.text_encoders)
        self.precision = precision
        self.scheduler_config = dict(parts.scheduler)
        self.slots = AdapterSlots({"unet": parts.unet} | self.text_encoders)
        self.autoencoder = Autoencoder(parts.vae, precision)
        self.family: Family = family_of(parts, self.slots, precision, source.card)
        self.tokenize = token_reader(parts.texts[0].tokenizer)
        self.info = self._describe(parts, source)
        self.vocabulary = parts.words

    @property
    def text_encoder(self) -> torch.nn.Module:
        """The first text encoder."""
        return self.text_encoders["text_encoder"]

    @property
    def modules(self) -> dict[str, torch.nn.Module]:
        """Every module that holds weights, by its name among the components."""
        return {"unet": self.unet, "vae": self.autoencoder.vae} | self.text_encoders

    @property
    def layers(self) -> Mapping[str, LayerShape]:
        """The layers that an adapter may change."""
        return self.slots.shapes

    @property
    def text_widths(self) -> dict[str, int]:
        """Width of the token vectors of each text encoder, as embeddings must have them."""
        return self.family.text_widths

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return int(self.unet.config.in_channels)

    def predict(self, call: ModelCall) -> Tensor:
        """The UNet's prediction (rows, channels, height, width) float32 for `call`."""
        with self.precision.inference(), self.slots.active(call.mixes):
            out: Tensor = self.unet(**self.unet_arguments(call), return_dict=False)[0]
        return out.float()

    def unet_arguments(self, call: ModelCall) -> dict[str, Any]:
        """The arguments of a UNet's forward for `call`, on the base's device and in its numbers."""
        device, dtype = self.unet.device, self.unet.dtype
        latents = {"sample": call.latents.to(device, dtype), "timestep": call.timesteps.to(device)}
        return latents | self.family.unet_arguments(call, device, dtype)

    def training_tree(self) -> UNet2DConditionModel:
        """A second UNet object over the very same tensors, for one training."""
        return training_tree(self.unet)

    def _describe(self, parts: Parts, source: BaseSource) -> BaseInfo:
        return BaseInfo(
            ref=source.ref,
            title=parts.title,
            sha256=parts.sha256,
            unet_file_sha256=parts.file_sha256,
            family=self.family.name,
            size_step=self.family.size_step,
            bucket_step=self.family.bucket_step,
            parameters=sum(p.numel() for module in self.modules.values() for p in module.parameters()),
            prediction_type=str(self.scheduler_config.get("prediction_type", "epsilon")),
            defaults=self.family.defaults,
            recipes={str(kind): dict(changes) for kind, changes in source.card.get("recipes", {}).items()},
            blocks=self.slots.blocks,
            text_widths=self.text_widths,
            small=bool(source.card.get("small", False)),
            zero_terminal_snr=bool(self.scheduler_config.get("rescale_betas_zero_snr", False)),
            remarks=tuple(dict(told) for told in parts.remarks),
        )


def load_base(source: BaseSource, precision: Precision, choice: BaseChoice | None = None) -> SharedBase:
    """Load every module of a base once.

    Args:
        choice: what a person chose of how the base is read; what its files say where it is left out.

    Raises:
        BaseUnavailable: a file is missing, damaged or not safetensors.
        OutOfMemoryError, RuntimeError: the device has too little memory; what was loaded is let go of.
    """
    settle()
    modules: list[torch.nn.Module] = []
    try:
        parts = load_file(source, precision) if source.path.is_file() else load_folder(source, precision)
        modules = list(parts.modules.values())
        for module in modules:
            module.to(precision.device)
        return SharedBase(parts if choice is None else with_choice(parts, choice), precision, source)
    except (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        _empty(modules)  # the error holds this frame, and whoever catches it may want to load another base
        if lacks_memory(error):
            raise
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BaseUnavailable(
            f"The base {source.ref!r} cannot be loaded: {why}; fetch it again or choose another base.",
            code="base_damaged",
            given=source.ref,
            why=why,
        ) from error


def release(base: SharedBase) -> None:
    """Let go of a base's memory before another is loaded; `base` must not be used afterwards."""
    base.slots.forget()
    _empty(base.modules.values())


def _empty(modules: Iterable[torch.nn.Module]) -> None:
    """Give back the memory of modules that nobody uses any more, whoever still holds them."""
    for module in modules:
        module.to("meta")
    give_back()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
