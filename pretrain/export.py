"""Trained weights as a diffusers folder in half precision, in the layout of the base that they come from.

The averaged weights of a checkpoint are taken. What was not trained is copied, so `lora_studio.json`, `words.json`
and the card stay. Files are replaced one by one when all are written; then diffusers' own pipeline must load them and
give the same numbers.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pretrain import checkpoint
from pretrain.files import sync_folder
from pretrain.latents import encoder_hash, scaling_factor
from pretrain.machine import Machine
from pretrain.pictures import unseen
from pretrain.trainer import averaged_modules

PRIVATE = ("_name_or_path",)  # keys of configurations that tell where a model lay
MEASURED = 64  # unseen pictures whose latents give a new encoder's scaling factor


def write_base(out: Path, like: Path, parts: dict[str, nn.Module], tokenizer: Path | None = None) -> None:
    """Writes the parts (unet, text_encoder, vae) in half precision and takes all else from `like`.

    `out` may be `like` itself; what it has besides stays. tokenizer: a folder in its place.
    """
    partial = out.parent / f"{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    for name, module in parts.items():
        half: Any = copy.deepcopy(module).cpu().half().eval()
        for _, value in half.named_parameters():
            value.data = value.data.contiguous()
        half.save_pretrained(partial / name)
        _forget_places(partial / name / "config.json")
    if "text_encoder" in parts:
        _with_prefix(partial / "text_encoder" / "model.safetensors")
    if tokenizer is not None:
        shutil.copytree(tokenizer, partial / "tokenizer")
    for file in sorted(like.rglob("*")):
        target = file.relative_to(like)
        replaced = target.parts[0] in parts or (tokenizer is not None and target.parts[0] == "tokenizer")
        if file.is_file() and not replaced and out.resolve() != like.resolve():
            (partial / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, partial / target)
    for file in sorted(partial.rglob("*")):
        if file.is_file():
            target = out / file.relative_to(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            file.chmod(0o644)  # safetensors writes files for their owner alone
            with file.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(file, target)
            sync_folder(target.parent)
    shutil.rmtree(partial)


def _forget_places(config: Path) -> None:
    """Takes the folder that a model was loaded from out of its configuration."""
    table = json.loads(config.read_text(encoding="utf-8"))
    kept = {name: value for name, value in table.items() if name not in PRIVATE}
    config.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _with_prefix(file: Path) -> None:
    """Tensor names with `text_model.`, which transformers dropped in 5.23 and all other programs look for."""
    prefix = "text_model."
    tensors = {prefix + name.removeprefix(prefix): value for name, value in load_file(file).items()}
    save_file(tensors, file, {"format": "pt"})


def diffusion_parts(state: dict[str, Any]) -> dict[str, nn.Module]:
    """UNet and text encoder of a checkpoint with the averaged weights, float32."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_config(state["identity"]["unet"])
    unet.load_state_dict(averaged_modules(state, state["trained"])["unet"])
    return {"unet": unet, "text_encoder": text_part(state)}


def text_part(state: dict[str, Any]) -> nn.Module:
    """The text encoder of a checkpoint with the averaged weights, float32."""
    from transformers import CLIPTextConfig, CLIPTextModel

    words: nn.Module = CLIPTextModel(CLIPTextConfig(**state["identity"]["text_encoder"])).float()
    words.load_state_dict(averaged_modules(state, state["trained"])["text_encoder"])
    return words


def autoencoder_part(state: dict[str, Any]) -> nn.Module:
    """The autoencoder of a checkpoint with the averaged weights, float32; a new encoder gets its scaling factor."""
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_config(state["identity"]["vae"])
    vae.load_state_dict(averaged_modules(state, state["trained"])["vae"])
    if not state["identity"]["encoder"]:
        factor = scaling_factor(vae.eval(), unseen(MEASURED), Machine("cpu", False, False))
        vae.register_to_config(scaling_factor=factor)
    return vae  # type: ignore[no-any-return]


def export(
    out: Path,
    like: Path,
    diffusion: Path | None = None,
    autoencoder: Path | None = None,
    tokenizer: Path | None = None,
    text: Path | None = None,
) -> dict[str, int]:
    """Writes a base folder from trainings' folders; returns the steps of each.

    Args:
        out: the folder to write; may be `like`. like: a base folder that gives all that is not trained here.

    Raises:
        ValueError: nothing to export, a folder without a checkpoint, or an autoencoder whose latents are not those
            that the diffusion was trained on.
    """
    folders = {"diffusion": diffusion, "text": text, "autoencoder": autoencoder}
    states = {name: _state(folder) for name, folder in folders.items() if folder}
    if "diffusion" in states and "text" in states:
        raise ValueError(
            "A diffusion brings its own text encoder; export the text first, and train the diffusion on that base."
        )
    parts: dict[str, nn.Module] = {}
    if "text" in states:
        parts["text_encoder"] = text_part(states["text"])
    if "diffusion" in states:
        parts |= diffusion_parts(states["diffusion"])
    if "autoencoder" in states:
        parts["vae"] = autoencoder_part(states["autoencoder"])
    if not parts and tokenizer is None:
        raise ValueError(
            "There is nothing to export; name a folder with --diffusion, --text, --autoencoder or --tokenizer."
        )
    if "diffusion" in states:
        _check_latents(states["diffusion"]["identity"]["encoder"], parts.get("vae"), like)
    write_base(out, like, parts, tokenizer)
    verify(out, parts)
    return {name: state["step"] for name, state in states.items()}


def _state(folder: Path) -> dict[str, Any]:
    state = checkpoint.load(folder)
    if state is None:
        raise ValueError(f"{folder} has no checkpoint; name the folder that a training was run in.")
    return state


def _check_latents(wanted: str, vae: nn.Module | None, like: Path) -> None:
    """Refuses a pair of UNet and autoencoder that do not speak of the same latents."""
    from diffusers import AutoencoderKL

    found = encoder_hash(vae or AutoencoderKL.from_pretrained(like / "vae", dtype=torch.float32))
    if found != wanted:
        raise ValueError(
            f"The diffusion was trained on the latents of encoder {wanted[:12]} and the autoencoder has {found[:12]}; "
            "both must be the same; name the autoencoder, or the base, that it was trained with."
        )


def verify(out: Path, parts: dict[str, nn.Module]) -> None:
    """Loads the folder as anybody would and compares every tensor with what was to be written.

    Raises:
        ValueError: a tensor that differs.
    """
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(out, dtype=torch.float16, local_files_only=True)
    for name, module in parts.items():
        found: dict[str, Tensor] = getattr(pipe, name).state_dict()
        for tensor, value in module.state_dict().items():
            mine = value.cpu().half() if value.is_floating_point() else value.cpu()
            if tensor not in found or not torch.equal(found[tensor], mine):
                raise ValueError(f"{out / name} does not give back {tensor}; remove the folder and export again.")
