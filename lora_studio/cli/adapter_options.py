"""What can be given to `adapter ...`: one frozen dataclass per command, as in `options`.

Ranges, choices and help come from the requests of `lora_studio.types.workbench` that the options fill. `--dtype` is the
number format of the file that is written, not the setting of that name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from lora_studio.cli.options import JSON, LORA_FOLDERS, OFFLINE, choice, number, setting, spec_of, switch, text
from lora_studio.types.workbench import (
    DTYPES,
    ELECTIONS,
    LAYOUTS,
    METHODS,
    BakeRequest,
    CombineRequest,
    ConvertRequest,
    InspectRequest,
    MetaRequest,
    RankRule,
)

FILE = typer.Argument(metavar="FILE", help="A LoRA file, a folder of peft's, or the name of a LoRA of the library.")
FILES = typer.Argument(
    metavar="NAME_OR_FILE[:W]...", help="The LoRAs, each with what it counts behind a colon, 1 if left out."
)
BEFORE = typer.Argument(
    metavar="BEFORE", help="The first model: a diffusers folder, a .safetensors file or the name of a base."
)
AFTER = typer.Argument(metavar="AFTER", help="The model that was trained further, of the same layout.")
WITH = text("--with", "OTHER", "A second LoRA: what both have in common and whether they would conflict.")
OUT = text("--out", "F.safetensors", "The file to write (peft: a folder).")
FORCE = switch("--force", "Replace what stands at --out.")
NAME = text("--name", "N", "Enter the result into the library too, under this name.")
DETAILS = switch("--details", spec_of(InspectRequest, "details").doc)
BASE = setting("base", "B")
DEVICE = setting("device")
THREADS = setting("threads", "N")
WORKSPACE = setting("workspace", "DIR")
SET = text("--set", "KEY=VALUE", "Set a key of the metadata; repeatable.")
REMOVE = text("--remove", "KEY", "Remove a key of the metadata; repeatable.")
THUMBNAIL = text("--thumbnail", "PICTURE", "Put a small copy of a picture into modelspec.thumbnail.")

TO = choice("--to", ConvertRequest, "to", LAYOUTS)
DTYPE = choice("--dtype", ConvertRequest, "dtype", DTYPES)
RANK = number("--rank", "R", spec_of(RankRule, "rank"))
CONV_RANK = number("--conv-rank", "R", spec_of(RankRule, "conv_rank"))
SV_RATIO = number("--sv-ratio", "X", spec_of(RankRule, "sv_ratio"), float)
SV_FRO = number("--sv-fro", "X", spec_of(RankRule, "sv_fro"), float)
SV_CUMULATIVE = number("--sv-cumulative", "X", spec_of(RankRule, "sv_cumulative"), float)


@dataclass(frozen=True)
class AdapterInspectOptions:
    """`adapter inspect`: what a file is."""

    file: Annotated[str | None, FILE] = None
    other: Annotated[str | None, WITH] = None
    details: Annotated[bool, DETAILS] = False
    base: Annotated[str | None, BASE] = None
    device: Annotated[str | None, DEVICE] = None
    threads: Annotated[str | None, THREADS] = None
    lora_folders: Annotated[tuple[Path, ...], LORA_FOLDERS] = ()
    offline: Annotated[bool, OFFLINE] = False
    workspace: Annotated[Path | None, WORKSPACE] = None
    json: Annotated[bool, JSON] = False


@dataclass(frozen=True)
class _Making:
    """What every command that writes a file takes."""

    to: Annotated[str | None, TO] = None
    dtype: Annotated[str | None, DTYPE] = None
    out: Annotated[Path | None, OUT] = None
    force: Annotated[bool, FORCE] = False
    name: Annotated[str | None, NAME] = None
    base: Annotated[str | None, BASE] = None
    device: Annotated[str | None, DEVICE] = None
    threads: Annotated[str | None, THREADS] = None
    lora_folders: Annotated[tuple[Path, ...], LORA_FOLDERS] = ()
    offline: Annotated[bool, OFFLINE] = False
    workspace: Annotated[Path | None, WORKSPACE] = None
    json: Annotated[bool, JSON] = False


@dataclass(frozen=True)
class AdapterConvertOptions(_Making):
    """`adapter convert`: another layout."""

    file: Annotated[str | None, FILE] = None


@dataclass(frozen=True)
class AdapterCombineOptions(_Making):
    """`adapter combine`: several as one."""

    files: Annotated[tuple[str, ...], FILES] = ()
    method: Annotated[str | None, choice("--method", CombineRequest, "method", METHODS)] = None
    rank: Annotated[int | None, number("--rank", "R", spec_of(CombineRequest, "rank"))] = None
    density: Annotated[float | None, number("--density", "X", spec_of(CombineRequest, "density"), float)] = None
    election: Annotated[str | None, choice("--election", CombineRequest, "election", ELECTIONS)] = None
    seed: Annotated[int | None, number("--seed", "S", spec_of(CombineRequest, "seed"))] = None


@dataclass(frozen=True)
class AdapterResizeOptions(_Making):
    """`adapter resize`: another rank."""

    file: Annotated[str | None, FILE] = None
    rank: Annotated[int | None, RANK] = None
    conv_rank: Annotated[int | None, CONV_RANK] = None
    sv_ratio: Annotated[float | None, SV_RATIO] = None
    sv_fro: Annotated[float | None, SV_FRO] = None
    sv_cumulative: Annotated[float | None, SV_CUMULATIVE] = None


@dataclass(frozen=True)
class AdapterExtractOptions(_Making):
    """`adapter extract`: the difference of two models."""

    before: Annotated[str | None, BEFORE] = None
    after: Annotated[str | None, AFTER] = None
    rank: Annotated[int | None, RANK] = None
    conv_rank: Annotated[int | None, CONV_RANK] = None
    sv_ratio: Annotated[float | None, SV_RATIO] = None
    sv_fro: Annotated[float | None, SV_FRO] = None
    sv_cumulative: Annotated[float | None, SV_CUMULATIVE] = None
    unet_only: Annotated[bool, switch("--unet-only", "Leave the text encoders out.")] = False


@dataclass(frozen=True)
class AdapterBakeOptions(_Making):
    """`adapter bake`: a weight becomes weight 1."""

    file: Annotated[str | None, FILE] = None
    scale: Annotated[float | None, number("--scale", "X", spec_of(BakeRequest, "scale"), float)] = None
    text_encoder_scale: Annotated[
        float | None, number("--text-encoder-scale", "X", spec_of(BakeRequest, "text_encoder_scale"), float)
    ] = None


@dataclass(frozen=True)
class AdapterMetaOptions:
    """`adapter meta`: the header's texts."""

    file: Annotated[str | None, FILE] = None
    put: Annotated[tuple[str, ...], SET] = ()
    remove: Annotated[tuple[str, ...], REMOVE] = ()
    strip: Annotated[bool, switch("--strip", spec_of(MetaRequest, "strip").doc)] = False
    hashes: Annotated[bool, switch("--hashes", spec_of(MetaRequest, "hashes").doc)] = False
    thumbnail: Annotated[Path | None, THUMBNAIL] = None
    out: Annotated[Path | None, OUT] = None
    force: Annotated[bool, FORCE] = False
    name: Annotated[str | None, NAME] = None
    lora_folders: Annotated[tuple[Path, ...], LORA_FOLDERS] = ()
    workspace: Annotated[Path | None, WORKSPACE] = None
    json: Annotated[bool, JSON] = False
