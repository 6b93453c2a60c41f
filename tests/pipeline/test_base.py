"""Loading a base: where it comes from, what is refused, and that nothing is held twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import HTTPError
from huggingface_hub.utils import filter_repo_objects
from safetensors.torch import load_file, save_file

from lora_studio.errors import BaseUnavailable
from lora_studio.pipeline import load_base
from lora_studio.pipeline.source import find_base, find_local
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
        ("my models/sd15", "my models/sd15"),
        ("模型/基础", "模型/基础"),
        ("C:/x", "C:/x"),
        ("a--b/c", "a--b/c"),
        ("owner/model.git", "owner/model.git"),
        ("x" * 300, "x" * 300),
        ("a/" + "x" * 300, "x" * 300),
        ("~nobody-at-all/x", "~nobody-at-all/x"),
        ("half \ud83d", "half"),
        ("nul\0", "nul"),
    ],
)
def test_a_base_that_is_not_there(ref: str, said: str, folder: Path) -> None:
    with pytest.raises(BaseUnavailable, match="not there") as caught:
        find_base(ref, folder)
    assert said in caught.value.message


def test_what_may_not_be_looked_at_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of somebody else's raised an error that no job expects, and ended the worker's only thread."""

    def forbidden(self: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", forbidden)
    with pytest.raises(BaseUnavailable, match="not there or cannot be read"):
        find_base("/root/x.safetensors", folder)


def test_a_base_on_this_machine_is_found_without_the_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever changes bases asks so before he lets go of the present one; a hub id is left to `find_base`."""

    def network(*args: Any, **options: Any) -> str:
        raise AssertionError("nobody asked the hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", network)
    found = find_local(str(folder), folder)
    assert found is not None
    assert found.path == folder
    embedded = find_local("embedded", folder)
    assert embedded is not None
    assert embedded.ref == "embedded"
    assert find_local("owner/model", folder) is None
    for ref in ("/nowhere/at/all", "owner/model.safetensors", "my models/sd15", "owner/model.git"):
        with pytest.raises(BaseUnavailable, match="not there"):
            find_local(ref, folder)


@pytest.mark.parametrize(
    "error",
    [
        HTTPError("the connection broke in the middle"),
        OSError(28, "No space left on device"),
        RuntimeError("data could not be decoded"),
        ValueError("a wrong answer"),
    ],
)
def test_a_download_that_breaks_off_is_told_in_a_sentence(
    error: Exception, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that was lost during gigabytes is no OSError to the hub's client, and ended the worker's thread."""

    def snapshot(*args: Any, **options: Any) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(BaseUnavailable, match="could not be fetched") as caught:
        find_base("owner/model", folder)
    assert (caught.value.code, caught.value.values["given"]) == ("base_fetch", "owner/model")
    assert str(error) in caught.value.message


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
    [
        *("no unet", "torn unet", "bad json", "another pipeline", "pickle only", "torn index"),
        *("list", "deep", "card", "config"),
    ],
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
    elif damage == "config":
        (copy / "unet" / "config.json").write_text("[]")
    elif damage == "card":
        (copy / "lora_studio.json").write_text("5")
    else:
        (copy / "model_index.json").write_text({"list": "[]", "deep": "[" * 100_000}.get(damage, "{"))
    with pytest.raises(BaseUnavailable) as caught:
        load_tiny(copy)
    assert str(copy) in caught.value.message
    assert "\n" not in caught.value.message


def test_a_unet_that_does_not_say_its_size(folder: Path, tmp_path: Path) -> None:
    """diffusers' own default for it is null, at which the defaults of the base failed."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = copy / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sample_size": None}))
    defaults = load_tiny(copy).info.defaults
    assert (defaults.width, defaults.height) == (128, 128)  # 64 latents of 2 pixels


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA"), RuntimeError("not enough memory: 9 GB")])
def test_too_little_memory_is_told_as_that_and_everything_is_let_go(
    error: Exception, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moving a base to a device that is too small ended the worker's thread, or was told as a damaged base; what had
    been moved stayed there as long as the error did."""
    moved: list[torch.nn.Module] = []
    plain = torch.nn.Module.to

    def to(self: torch.nn.Module, *args: Any, **options: Any) -> Any:
        if args and args[0] == EXACT.device:
            moved.append(self)
            if len(moved) == 2:
                raise error
        return plain(self, *args, **options)

    monkeypatch.setattr(torch.nn.Module, "to", to)
    with pytest.raises(type(error)) as caught:
        load_tiny(folder)
    assert caught.value is error
    assert len(moved) == 2
    assert all(parameter.is_meta for module in moved for parameter in module.parameters())


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
