"""A checkpoint file becomes the parts of a base, without any network.

Configs come from shapes (`shapes`) and from `assets/configs`, the tokenizer from there too; names are converted by
diffusers' own functions. Modules are made on the meta device and given the tensors, so that nothing is held twice: a
part's tensors are read, one at a time, into memory of their own, and each is let go of when it has been turned into the
base's numbers. The file is not mapped, so that whoever truncates it does not end the process.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lora_studio.adapters.tensors import TensorFile, beside_weights
from lora_studio.pipeline.autoencoder import dtype_of
from lora_studio.pipeline.device import Precision, lacks_memory
from lora_studio.pipeline.parts import Parts, TextPart
from lora_studio.pipeline.single_file import shapes
from lora_studio.pipeline.single_file.contents import Contents, damaged, read_contents
from lora_studio.pipeline.single_file.kinds import UNET, Kind, kind_of
from lora_studio.pipeline.single_file.prediction import predicted
from lora_studio.pipeline.source import BaseSource
from lora_studio.settings import default_assets

_PIECE = 2**22


def load_file(source: BaseSource, precision: Precision) -> Parts:
    """Load every module of the file once, on the CPU.

    Raises:
        BaseUnavailable: one sentence that says what the file is instead, what it lacks, or where it is damaged.
    """
    contents = read_contents(source.ref, source.path)
    kind = kind_of(contents)
    sha256 = _sha256(source.path)
    try:
        with source.path.open("rb") as file:
            opened = TensorFile(file, contents.index)
            reading = _Reading(contents, kind, opened, precision, default_assets() / "configs")
            prediction = predicted(contents, kind.name, opened.weight)
            unet, vae, texts = reading.unet(), reading.vae(), reading.texts()
    except (OSError, KeyError, ValueError, IndexError, RuntimeError, ArithmeticError) as error:
        if lacks_memory(error):
            raise
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise damaged(source.ref, f"it lacks {why}" if isinstance(error, KeyError) else why[:200]) from error
    schedule = reading.config("scheduler") | {
        "prediction_type": prediction.kind,
        "rescale_betas_zero_snr": prediction.zero_snr,
    }
    if kind.name == "sd2" and prediction.kind == "epsilon":
        unet.register_to_config(sample_size=64)  # the models that predict epsilon were trained at 512 pixels
    return Parts(
        unet,
        vae,
        texts,
        schedule,
        title=source.path.stem,
        sha256=sha256,
        file_sha256=sha256,
        zeros_for_empty=kind.name == "sdxl",
        remarks=(prediction.remark, *_ignored(contents)),
    )


@dataclass(frozen=True)
class _Reading:
    """An open checkpoint, and what is needed to make modules of it."""

    contents: Contents
    kind: Kind
    opened: TensorFile
    precision: Precision
    configs: Path

    def config(self, name: str) -> dict[str, Any]:
        """A shipped config of this kind."""
        found: dict[str, Any] = json.loads((self.configs / self.kind.name / f"{name}.json").read_text(encoding="utf-8"))
        return found

    def unet(self) -> UNet2DConditionModel:
        """The UNet."""
        pooled = None
        if self.kind.name == "sdxl":
            pooled = self.contents.shapes[self.kind.texts[1] + "text_projection"][1]
        config = shapes.unet_config(self.contents.under(UNET), self.config("unet"), pooled)
        with torch.device("meta"):
            model = UNet2DConditionModel.from_config(config)
        state = convert_ldm_unet_checkpoint(self._tensors(UNET), model.config)
        return self._filled(model, state, self.precision.weights)

    def vae(self) -> AutoencoderKL:
        """The autoencoder."""
        config = shapes.vae_config(self.contents.under(self.kind.vae), self.config("vae"))
        with torch.device("meta"):
            model = AutoencoderKL.from_config(config)
        state = convert_ldm_vae_checkpoint(self._tensors(self.kind.vae, "first_stage_model."), model.config)
        return self._filled(model, state, dtype_of(config, self.precision))

    def texts(self) -> tuple[TextPart, ...]:
        """The text encoders with their tokenizers; OpenCLIP's pad with another token than the end."""
        if self.kind.name == "sd1":
            return (TextPart(self._clip("text_encoder"), self._tokenizer(None)),)
        if self.kind.name == "sd2":
            return (TextPart(self._open_clip("text_encoder", projected=False), self._tokenizer("!")),)
        return (
            TextPart(self._clip("text_encoder"), self._tokenizer(None)),
            TextPart(self._open_clip("text_encoder_2", projected=True), self._tokenizer("!")),
        )

    def _clip(self, name: str) -> CLIPTextModel:
        """CLIP-L, whose names in the file are those of transformers, with or without `text_model.` before them."""
        prefix = self.kind.texts[0]
        plain = {key.removeprefix("text_model."): shape for key, shape in self.contents.under(prefix).items()}
        config = self._checked(shapes.clip_config(plain, self.config(name)))
        with torch.device("meta"):
            model = CLIPTextModel(config)
        state = convert_ldm_clip_checkpoint(self._tensors(prefix))
        state = {key.removeprefix("text_model."): t for key, t in state.items() if not key.endswith("position_ids")}
        return self._filled(model, state, self.precision.weights)

    def _open_clip(self, name: str, projected: bool) -> CLIPTextModel | CLIPTextModelWithProjection:
        """OpenCLIP's text encoder."""
        prefix = self.kind.texts[-1]
        config = self._checked(shapes.open_clip_config(self.contents.under(prefix), self.config(name), projected))
        with torch.device("meta"):
            model = CLIPTextModelWithProjection(config) if projected else CLIPTextModel(config)
        beyond = f"{prefix}transformer.resblocks.{config.num_hidden_layers}."
        state = convert_open_clip_checkpoint(model, self._tensors(prefix, without=beyond), prefix=prefix)
        if not projected:
            state = {key.removeprefix("text_model."): t for key, t in state.items()}
        return self._filled(model, state, self.precision.weights)

    def _checked(self, config: dict[str, Any]) -> CLIPTextConfig:
        """A text encoder's config, if CLIP's tokens fit it."""
        for name, wanted in (("vocab_size", 49_408), ("max_position_embeddings", 77)):
            if config[name] != wanted:
                raise ValueError(f"its text encoder has {name} {config[name]} where CLIP's is {wanted}")
        return CLIPTextConfig(**config)

    def _tokenizer(self, pad: str | None) -> CLIPTokenizer:
        tokenizer = CLIPTokenizer.from_pretrained(self.configs / "clip", model_max_length=77, local_files_only=True)
        if pad is not None:
            # Afterwards: a padding token that the tokenizer is made with is one in texts too, and "!" is a word.
            tokenizer.pad_token = pad
        return tokenizer

    def _tensors(self, prefix: str, named: str = "", without: str = "\0") -> dict[str, Tensor]:
        """The file's weights below `prefix`, under their full names, or behind `named`; not those below `without`."""
        names = [name for name in self.contents.shapes if name.startswith(prefix) and not name.startswith(without)]
        weights = {name: self.opened.weight(name) for name in names if not beside_weights(name)}
        return {named + name[len(prefix) :]: weights.pop(name) for name in list(weights)} if named else weights

    def _filled(self, model: Any, state: dict[str, Tensor], dtype: torch.dtype) -> Any:
        """`model` with the tensors of `state`, which is emptied; every one is checked to hold numbers."""
        own = dict(model.state_dict())
        missing = [name for name in own if name not in state]
        if missing:
            raise ValueError(f"it lacks the weight {missing[0]} ({len(missing)} are missing)")
        for name in own:
            tensor = state.pop(name)
            if tensor.shape != own[name].shape:
                raise ValueError(f"its weight {name} has the shape {tuple(tensor.shape)}")
            own[name] = tensor.to(dtype).contiguous()
            if not bool(torch.isfinite(own[name]).all()):
                raise ValueError(f"its weight {name} holds values that are no numbers, or none in {dtype}")
        model.load_state_dict(own, strict=True, assign=True)
        _fill_buffers(model)
        return model


def _fill_buffers(model: nn.Module) -> None:
    """CLIP's numbers of places, which no file holds, in place of those on the meta device."""
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_meta:
                if name != "position_ids":
                    raise ValueError(f"it lacks the buffer {name}")
                module._buffers[name] = torch.arange(buffer.shape[-1]).expand(buffer.shape)


def _ignored(contents: Contents) -> tuple[dict[str, Any], ...]:
    """What else the file holds and is not read."""
    if not contents.has("model_ema."):
        return ()
    sentence = (
        "The file holds averaged weights (EMA) beside the trained ones; the trained ones are used, as A1111 does."
    )
    return ({"code": "base_ema_unused", "message": sentence, "values": {}},)


def _sha256(path: Path) -> str:
    """sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
