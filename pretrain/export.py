"""Trained weights as a diffusers folder in half precision, in the layout of the base that they come from.

The averaged weights of a checkpoint are taken. What was not trained is copied, so `lora_studio.json`, `words.json`
and the card stay; `training.json` tells what the base was trained by. Everything is written beside the folder and read
again before the first file is replaced; then diffusers' own pipeline must load the folder and give the same numbers.
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

from pretrain import checkpoint, trainings
from pretrain.files import sync_folder
from pretrain.hashes import schedule_of, tokenizer_hash
from pretrain.latents import encoder_hash, scaling_factor
from pretrain.machine import Machine
from pretrain.pictures import unseen
from pretrain.trainer import averaged_modules

PRIVATE = ("_name_or_path",)  # keys of configurations that tell where a model lay
PREFIX = "text_model."  # of a text encoder's tensors; transformers dropped it in 5.23, all other programs look for it
MEASURED = 64  # unseen pictures whose latents give a new encoder's scaling factor


def write_base(
    out: Path,
    like: Path,
    parts: dict[str, nn.Module],
    tokenizer: Path | None = None,
    texts: dict[str, str] | None = None,
    without: tuple[str, ...] = (),
) -> None:
    """Writes the parts (unet, text_encoder, vae) in half precision and takes all else from `like`.

    `out` may be `like` itself; what it has besides stays.

    Args:
        tokenizer: a folder in place of that of `like`. texts: further files by name, with what stands in them.
        without: folders and files of `like` that are not taken.

    Raises:
        ValueError: a tensor that half precision does not hold, or that was written otherwise; `out` is as it was.
    """
    partial = out.parent / f"{out.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, module in parts.items():
            _write_part(partial / name, module)
        if tokenizer is not None:
            shutil.copytree(tokenizer, partial / "tokenizer")
        for name, text in (texts or {}).items():
            (partial / name).write_text(text, encoding="utf-8")
        here = {file.name for file in partial.iterdir()}
        for file in sorted(like.rglob("*")):
            target = file.relative_to(like)
            if file.is_file() and target.parts[0] not in (*here, *without) and out.resolve() != like.resolve():
                (partial / target).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, partial / target)
        _put_in_place(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_part(folder: Path, module: nn.Module) -> None:
    """One module in half precision, read again."""
    half: Any = copy.deepcopy(module).cpu().half().eval()
    for _, value in half.named_parameters():
        value.data = value.data.contiguous()
    half.save_pretrained(folder)
    _forget_places(folder / "config.json")
    if folder.name == "text_encoder":
        _with_prefix(folder / "model.safetensors")
    found: dict[str, Tensor] = {}
    for file in folder.glob("*.safetensors"):
        found |= {name.removeprefix(PREFIX): value for name, value in load_file(file).items()}
    for name, value in module.state_dict().items():
        mine = _half(value)
        if not bool(mine.isfinite().all()):
            raise ValueError(
                f"{name} of the {folder.name} has numbers that half precision does not hold; nothing was replaced; "
                "export an earlier checkpoint."
            )
        written = found.get(name.removeprefix(PREFIX))
        if written is None or not torch.equal(written, mine):
            raise ValueError(
                f"{name} of the {folder.name} was written otherwise than it is; nothing was replaced; look at the disk "
                "and export again."
            )


def _half(value: Tensor) -> Tensor:
    """A tensor as it is stored."""
    return value.cpu().half() if value.is_floating_point() else value.cpu()


def _put_in_place(partial: Path, out: Path) -> None:
    """Moves every file into `out`: all are on disk before the first is, so that a kill hardly finds a mixture."""
    files = [file for file in sorted(partial.rglob("*")) if file.is_file()]
    for file in files:
        (out / file.relative_to(partial)).parent.mkdir(parents=True, exist_ok=True)
        file.chmod(0o644)  # safetensors writes files for their owner alone
        with file.open("rb") as written:
            os.fsync(written.fileno())
    for file in files:
        os.replace(file, out / file.relative_to(partial))
    for folder in sorted({(out / file.relative_to(partial)).parent for file in files}):
        sync_folder(folder)


def _forget_places(config: Path) -> None:
    """Takes the folder that a model was loaded from out of its configuration."""
    table = json.loads(config.read_text(encoding="utf-8"))
    kept = {name: value for name, value in table.items() if name not in PRIVATE}
    config.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _with_prefix(file: Path) -> None:
    """Tensor names with `PREFIX`."""
    tensors = {PREFIX + name.removeprefix(PREFIX): value for name, value in load_file(file).items()}
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

    A tokenizer other than that of `like` comes without UNet and text encoder: they would read wrong rows by it.

    Args:
        out: the folder to write; may be `like`. like: a base folder that gives all that is not trained here.

    Raises:
        ValueError: nothing to export, a folder without a checkpoint or of another training, or parts that were not
            trained with each other's latents, words or schedule.
    """
    if diffusion and text:
        raise ValueError(
            "A diffusion brings its own text encoder; export the text first, and train the diffusion on that base."
        )
    folders = {"diffusion": diffusion, "text": text, "autoencoder": autoencoder}
    states = {name: _state(folder, name) for name, folder in folders.items() if folder}
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
    for name in ("diffusion", "text"):
        if name in states:
            _check_words(states[name]["identity"], tokenizer, like)
    if "diffusion" in states:
        _check_latents(states["diffusion"]["identity"], parts.get("vae"), like)
    left_out = () if "text_encoder" in parts else _strangers(tokenizer, like, out)
    told = trainings.with_these([*states.values()], like)
    if left_out:
        told = [one for one in told if one["kind"] == "autoencoder"]
    texts = {trainings.NAME: trainings.text(told)} if told else {}
    write_base(out, like, parts, tokenizer, texts, left_out)
    if not left_out:
        verify(out, parts)
    return {name: state["step"] for name, state in states.items()}


def _state(folder: Path, kind: str) -> dict[str, Any]:
    state = checkpoint.load(folder)
    if state is None:
        raise ValueError(f"{folder} has no checkpoint; name the folder that a training was run in.")
    checkpoint.check_kind(folder, state, kind)
    return state


def _check_latents(identity: dict[str, Any], vae: nn.Module | None, like: Path) -> None:
    """Refuses a UNet with an autoencoder or a schedule that it was not trained with."""
    from diffusers import AutoencoderKL

    wanted = identity["encoder"]
    found = encoder_hash(vae or AutoencoderKL.from_pretrained(like / "vae", dtype=torch.float32))
    if found != wanted:
        raise ValueError(
            f"The diffusion was trained on the latents of encoder {wanted[:12]} and the autoencoder has {found[:12]}; "
            "both must be the same; name the autoencoder, or the base, that it was trained with."
        )
    if "schedule" in identity and identity["schedule"] != schedule_of(like):
        raise ValueError(
            f"The diffusion was trained with the schedule {identity['schedule']} and {like} has {schedule_of(like)}; "
            "both must be the same; name the base that it was trained with by --like."
        )


def _check_words(identity: dict[str, Any], tokenizer: Path | None, like: Path) -> None:
    """Refuses a text encoder with a tokenizer that it was not trained with.

    An old checkpoint does not tell its tokenizer; it is taken to be that of `like`.
    """
    found = tokenizer_hash(tokenizer or like / "tokenizer")
    wanted = identity.get("tokenizer", tokenizer_hash(like / "tokenizer"))
    if found != wanted:
        raise ValueError(
            f"The text encoder was trained on the tokenizer {wanted[:12]} and {tokenizer or like / 'tokenizer'} is "
            f"{found[:12]}, which gives words other numbers; name the one, or the base, that it was trained with."
        )


def _strangers(tokenizer: Path | None, like: Path, out: Path) -> tuple[str, ...]:
    """UNet and text encoder of `like`, where a tokenizer comes that they do not know.

    Raises:
        ValueError: `out` has them already.
    """
    if tokenizer is None or tokenizer_hash(tokenizer) == tokenizer_hash(like / "tokenizer"):
        return ()
    if (out / "unet").exists() or (out / "text_encoder").exists():
        raise ValueError(
            f"{out} has a UNet and a text encoder that were not trained on the tokenizer of {tokenizer}; it gives "
            "words other numbers; choose a new folder, and begin both anew on it."
        )
    return ("unet", "text_encoder")


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
            if tensor not in found or not torch.equal(found[tensor], _half(value)):
                raise ValueError(
                    f"{out / name} holds the new files, and diffusers does not give back {tensor} from them; restore "
                    "the folder from git or from a copy, or export again."
                )
