"""Loading a base: where it comes from, what is refused, and that nothing is held twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_studio.errors import BaseUnavailable
from lora_studio.pipeline.source import find_base
from lora_studio.pipeline.twin import training_tree
from tests.support.tiny import ASSETS, load_tiny, write_tiny_base


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


def test_the_training_tree_is_the_same_tensors(folder: Path) -> None:
    base = load_tiny(folder)
    names = [name for name, _ in base.unet.named_parameters()]
    tree = training_tree(base.unet)
    theirs = dict(tree.named_parameters())
    for name, parameter in base.unet.named_parameters():
        assert theirs[name] is parameter
    assert [name for name, _ in base.unet.named_parameters()] == names
    assert not base.unet.training
    assert tree.training
