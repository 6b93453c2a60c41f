"""Loading a base: where it comes from, what is refused, and that nothing is held twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file

from lora_studio.errors import BaseUnavailable
from lora_studio.pipeline import load_base
from lora_studio.pipeline.source import find_base
from lora_studio.pipeline.twin import training_tree
from tests.support.tiny import ASSETS, EXACT, load_tiny, write_tiny_base, write_tiny_xl


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("tiny"))


def test_defaults_come_from_the_base(folder: Path) -> None:
    """Size from the UNet's native one times the autoencoder's factor, bucket step from both down factors."""
    base = load_tiny(folder)
    assert (base.info.defaults.width, base.info.defaults.height) == (32, 32)
    assert (base.info.size_step, base.info.bucket_step) == (2, 4)
    assert base.info.prediction_type == "epsilon"
    assert not base.info.small


def test_the_embedded_base_speaks_for_itself() -> None:
    card = find_base("embedded", ASSETS / "base").card
    assert card["small"] is True
    assert not card["architecture"].startswith("stable-diffusion")


def test_the_hash_is_of_weights_not_of_files(folder: Path, tmp_path: Path) -> None:
    """Writing a file's header anew, or splitting it, is the same base; one changed number is another."""
    before = load_tiny(folder).info.sha256
    again = shutil.copytree(folder, tmp_path / "again")
    path = again / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    save_file(tensors, path, metadata={"format": "pt", "note": "another header"})
    assert load_tiny(again).info.sha256 == before
    tensors["conv_in.bias"][0] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    assert load_tiny(again).info.sha256 != before


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("/nowhere/at/all", "/nowhere/at/all"),
        ("./relative", "./relative"),
        ("one two three", "one two three"),
    ],
)
def test_a_base_that_is_not_there(ref: str, said: str, folder: Path) -> None:
    with pytest.raises(BaseUnavailable, match="not there") as caught:
        find_base(ref, folder)
    assert said in caught.value.message


def test_a_hub_id_without_network(folder: Path) -> None:
    """One sentence, whether the network is off by a switch or simply not there."""
    for offline in (True, False):
        with pytest.raises(BaseUnavailable, match="cannot be reached") as caught:
            find_base("some-owner/some-model", folder, offline)
        assert "some-owner/some-model" in caught.value.message


def test_what_is_fetched_of_a_hub_repository(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All safetensors files were: of SDXL's repository 7 GB of weights in 16 bits and two more autoencoders."""
    there = [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "text_encoder_2/model-00001-of-00002.safetensors",
        "tokenizer/merges.txt",
        "tokenizer_2/vocab.json",
        "scheduler/scheduler_config.json",
        "safety_checker/model.safetensors",
        "vae_1_0/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.bin",
        "sd_xl_base_1.0.safetensors",
    ]
    fetched: list[str] = []

    def snapshot(ref: str, allow_patterns: list[str], ignore_patterns: list[str], local_files_only: bool) -> str:
        fetched.extend(filter_repo_objects(there, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert find_base("owner/model", tmp_path).path == folder
    assert fetched == [there[i] for i in (0, 1, 2, 5, 6, 7, 8)]


def halves(folder: Path, root: Path) -> Path:
    """A copy of a base that has its weights in 16 bits alone, as several repositories of SDXL's children have."""
    copy = shutil.copytree(folder, root / "halves")
    for path in copy.glob("*/*.safetensors"):
        save_file(
            {name: t.half() if t.is_floating_point() else t for name, t in load_file(path).items()},
            path.with_suffix(".fp16.safetensors"),
            metadata={"format": "pt"},
        )
        path.unlink()
    return copy


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_weights_in_sixteen_bits_alone(folder: Path, tmp_path: Path, kind: str) -> None:
    """They are the base's rounded numbers, and it is said; plain weights come first where there are both."""
    whole = folder if kind == "sd" else write_tiny_xl(tmp_path / "whole")
    copy = halves(whole, tmp_path)
    base, plain = load_tiny(copy), load_tiny(whole)
    assert base.unet.dtype == torch.float32
    for name, module in base.modules.items():
        for key, tensor in module.state_dict().items():
            assert torch.equal(tensor, plain.modules[name].state_dict()[key].half().float())
    told = next(one for one in base.info.remarks if one["code"] == "base_variant")
    assert "unet" in told["values"]["parts"]
    assert ("text_encoder_2" in told["values"]["parts"]) == (kind == "xl")
    assert base.info.sha256 != plain.info.sha256
    shutil.copytree(whole, copy, dirs_exist_ok=True)
    both = load_tiny(copy)
    assert both.info.sha256 == plain.info.sha256
    assert "base_variant" not in [one["code"] for one in both.info.remarks]


def test_sixteen_bits_are_fetched_of_parts_that_have_no_others(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub repository whose UNet has no plain weights; what is missing is fetched, and nothing else."""
    remote, local = halves(folder, tmp_path), tmp_path / "cache"
    shutil.copy(folder / "vae" / "diffusion_pytorch_model.safetensors", remote / "vae")
    fetched: list[str] = []

    def snapshot(ref: str, allow_patterns: list[str], ignore_patterns: list[str], local_files_only: bool) -> str:
        there = [path.relative_to(remote).as_posix() for path in remote.rglob("*") if path.is_file()]
        for name in filter_repo_objects(there, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns):
            fetched.append(name)
            (local / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(remote / name, local / name)
        return str(local)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    base = load_base(find_base("owner/model", tmp_path), EXACT)
    weights = sorted(name for name in fetched if name.endswith(".safetensors"))
    assert weights == [
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    told = next(one for one in base.info.remarks if one["code"] == "base_variant")
    assert told["values"]["parts"] == "unet, text_encoder"


@pytest.mark.parametrize(
    "damage",
    ["no unet", "torn unet", "bad json", "another pipeline", "pickle only", "torn index"],
)
def test_a_damaged_base_is_refused_in_one_sentence(damage: str, folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    if damage == "no unet":
        shutil.rmtree(copy / "unet")
    elif damage == "torn unet":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif damage == "bad json":
        (copy / "unet" / "config.json").write_text("{")
    elif damage == "another pipeline":
        (copy / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    elif damage == "pickle only":
        torch.save(load_file(weights), weights.with_suffix(".bin"))
        weights.unlink()
    else:
        (copy / "model_index.json").write_text("{")
    with pytest.raises(BaseUnavailable) as caught:
        load_tiny(copy)
    assert str(copy) in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("kind", ["sd", "xl"])
def test_the_training_tree_is_the_same_tensors(folder: Path, tmp_path: Path, kind: str) -> None:
    base = load_tiny(folder if kind == "sd" else write_tiny_xl(tmp_path))
    names = [name for name, _ in base.unet.named_parameters()]
    tree = training_tree(base.unet)
    theirs = dict(tree.named_parameters())
    for name, parameter in base.unet.named_parameters():
        assert theirs[name] is parameter
    assert [name for name, _ in base.unet.named_parameters()] == names
    assert not base.unet.training
    assert tree.training
