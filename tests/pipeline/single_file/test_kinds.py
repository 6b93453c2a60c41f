"""What is no base that can be read is refused by name, in one sentence, and quickly."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lora_studio.errors import BaseUnavailable
from tests.support.ldm import write_both, write_file
from tests.support.tiny import load_tiny

UNET, TEXT, VAE = "model.diffusion_model.", "cond_stage_model.", "first_stage_model."


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    return write_both(tmp_path_factory.mktemp("sd1"), "sd1")


def refusal(path: Path) -> BaseUnavailable:
    """The error of loading `path`, which must be one line that names the file."""
    began = time.monotonic()
    with pytest.raises(BaseUnavailable) as caught:
        load_tiny(path)
    assert time.monotonic() - began < 10
    assert "\n" not in caught.value.message
    assert str(path) in caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("left_out", "part"),
    [(UNET, "UNet"), (TEXT, "text encoder"), (VAE, "autoencoder"), (VAE + "encoder.", "autoencoder")],
)
def test_an_incomplete_file_says_what_is_missing(
    whole: dict[str, Tensor], tmp_path: Path, left_out: str, part: str
) -> None:
    rest = {name: t for name, t in whole.items() if not name.startswith(left_out)}
    error = refusal(write_file(rest, tmp_path / "part.safetensors"))
    assert (error.code, error.values["part"]) == ("base_incomplete", part)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale"], "Flux"),
        (["double_blocks.0.img_attn.norm.key_norm.scale"], "Flux"),
        (["model.diffusion_model.joint_blocks.0.context_block.adaLN_modulation.1.bias"], "Stable Diffusion 3"),
        (["model.diffusion_model.head.modulation"], "Wan"),
        (["distilled_guidance_layer.in_proj.bias", "double_blocks.0.img_attn.qkv.weight"], "Chroma"),
        (["control_model.time_embed.0.weight"], "ControlNet"),
        (["emb_params"], "embedding"),
        (["edm_mean", UNET + "input_blocks.0.0.weight"], "Playground 2.5"),
    ],
)
def test_other_families_are_named(tmp_path: Path, names: list[str], said: str) -> None:
    error = refusal(write_file({name: torch.zeros(4, 4) for name in names}, tmp_path / "other.safetensors"))
    assert (error.code, error.values["family"]) == ("base_architecture", said)


def test_a_video_model_of_five_dimensions_is_named(tmp_path: Path) -> None:
    tensors = {"head.modulation": torch.zeros(1), "patch_embedding.weight": torch.zeros(1, 1, 1, 2, 2)}
    assert "Wan" in refusal(write_file(tensors, tmp_path / "wan.safetensors")).message


def test_a_lora_is_no_base(tmp_path: Path) -> None:
    tensors = {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": torch.zeros(4, 4)}
    assert refusal(write_file(tensors, tmp_path / "lora.safetensors")).code == "base_is_lora"


def test_one_part_of_a_folder(tmp_path: Path) -> None:
    tensors = {"down_blocks.0.resnets.0.conv1.weight": torch.zeros(4, 4, 3, 3)}
    assert refusal(write_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors")).code == "base_part"


@pytest.mark.parametrize(("channels", "task"), [(9, "inpainting"), (8, "InstructPix2Pix"), (5, "depth")])
def test_other_tasks_are_named(whole: dict[str, Tensor], tmp_path: Path, channels: int, task: str) -> None:
    name = UNET + "input_blocks.0.0.weight"
    wide = torch.zeros(32, channels, 3, 3)
    error = refusal(write_file(whole | {name: wide}, tmp_path / "task.safetensors"))
    assert (error.code, error.values["task"]) == ("base_channels", task)
    assert f"takes {channels} channels" in error.message


def test_a_refiner_is_named(whole: dict[str, Tensor], tmp_path: Path) -> None:
    tensors = {name: t for name, t in whole.items() if not name.startswith(TEXT)}
    tensors["conditioner.embedders.0.model.ln_final.weight"] = torch.zeros(4)
    assert "refiner" in refusal(write_file(tensors, tmp_path / "refiner.safetensors")).message


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    for name in ("model.ckpt", "model.PT", "missing.ckpt"):
        path = tmp_path / name
        if "missing" not in name:
            torch.save({"state_dict": {"x": torch.zeros(1)}}, path)
        assert refusal(path).code == "base_pickle"
    disguised = tmp_path / "model.safetensors"
    torch.save({"state_dict": {"x": torch.zeros(1)}}, disguised)
    assert refusal(disguised).code == "base_damaged"


def test_files_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" * 10)
    assert refusal(path).code == "base_file_kind"
    assert refusal(tmp_path / "nowhere.safetensors").code == "base_missing"
    (tmp_path / "empty.safetensors").write_bytes(b"")
    assert refusal(tmp_path / "empty.safetensors").code == "base_damaged"


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.999])
def test_a_cut_file_is_told_at_once(whole: dict[str, Tensor], tmp_path: Path, keep: float) -> None:
    path = write_file(whole, tmp_path / "cut.safetensors")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    error = refusal(path)
    assert error.code == "base_damaged"
    assert "cut off" in error.message


def test_a_missing_weight_a_wrong_shape_and_no_number(whole: dict[str, Tensor], tmp_path: Path) -> None:
    name = UNET + "middle_block.0.in_layers.2.weight"
    rest = {key: t for key, t in whole.items() if key != name}
    assert "mid_block.resnets.0.conv1.weight" in refusal(write_file(rest, tmp_path / "a.safetensors")).message
    assert "shape" in refusal(write_file(whole | {name: torch.zeros(2, 2, 3, 3)}, tmp_path / "b.safetensors")).message
    broken = whole[name].clone()
    broken[0, 0, 0, 0] = float("nan")
    assert "no numbers" in refusal(write_file(whole | {name: broken}, tmp_path / "c.safetensors")).message
    whole_numbers = whole | {name: torch.zeros(whole[name].shape, dtype=torch.int8)}
    assert "I8" in refusal(write_file(whole_numbers, tmp_path / "d.safetensors")).message


def test_another_vocabulary(whole: dict[str, Tensor], tmp_path: Path) -> None:
    """A token beyond the table would end in an index error in the middle of a job."""
    name = TEXT + "transformer.text_model.embeddings.token_embedding.weight"
    error = refusal(write_file(whole | {name: whole[name][:1000]}, tmp_path / "words.safetensors"))
    assert "vocab_size 1000" in error.message


def test_hostile_headers(tmp_path: Path) -> None:
    """Names twice, shapes that are none, places beyond the file, too many tensors: our own sentence, at once."""
    good = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    headers = [
        {"a": good | {"shape": "x"}},
        {"a": good | {"shape": [-1]}},
        {"a": good | {"data_offsets": [0, 2**40]}},
        {"a": good | {"data_offsets": None}},
        {"a": good | {"data_offsets": ["0", "4"]}},
        {"a": 7},
        {f"t{n}": good for n in range(20_001)},
        [],
    ]
    for number, given in enumerate(headers):
        raw = json.dumps(given).encode()
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(len(raw).to_bytes(8, "little") + raw + b"\0" * 4)
        assert refusal(path).code in ("base_damaged", "base_incomplete"), given


def test_a_folder_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLInpaintPipeline"}))
    assert "StableDiffusionXLInpaintPipeline" in refusal(tmp_path).message
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    error = refusal(tmp_path)
    assert (error.code, error.values["folder"]) == ("base_lacks_folder", "unet")
    assert "lacks the folder unet" in error.message
