"""A LoRA out of two models: the rank that was put in comes out; folders and single files of SD's own layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.adapters.formats.families import known_layers
from lora_studio.adapters.formats.ldm import LdmNames, diffusers_path
from lora_studio.adapters.workbench.checkpoint import open_checkpoint
from lora_studio.adapters.workbench.extract import extract
from lora_studio.adapters.workbench.ranks import Target
from lora_studio.errors import InvalidInput
from lora_studio.pipeline import ModelCall, SharedBase
from tests.support.tiny import load_tiny, random_adapter, write_tiny_base
from tests.support.workbench import finish, near


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model."""
    return write_tiny_base(tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="module")
def own(before: Path) -> SharedBase:
    """The same, loaded."""
    return load_tiny(before)


def tuned(before: Path, folder: Path, adapter: CanonicalAdapter) -> Path:
    """The model with an adapter added to its weights for good."""
    shutil.copytree(before, folder)
    for component, file in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        path = folder / component / f"{file}.safetensors"
        tensors = load_file(path)
        for key, change in adapter.layers.items():
            part, _, layer = key.partition(".")
            name = next((n for n in (f"{layer}.weight", f"text_model.{layer}.weight") if n in tensors), "")
            if part == component:
                tensors[name] = tensors[name] + change.delta()
        save_file(tensors, path, metadata={"format": "pt"})
    return folder


def test_what_was_put_in_comes_out(before: Path, own: SharedBase, tmp_path: Path) -> None:
    """Rank 3 in, rank 3 out: the same effect, all of the energy, layers that were not changed left out."""
    adapter = random_adapter(own, 1)
    after = tuned(before, tmp_path / "after", adapter)
    found = finish(extract(open_checkpoint(before), open_checkpoint(after), Target(rank=3)))
    assert set(found.made.layers) == set(adapter.layers)
    assert (found.left_out, found.alone) == (0, 0)
    for key, change in found.made.layers.items():
        assert change.rank == 3
        assert near(change.delta(), adapter.layers[key].delta(), 1e-4)
        assert found.made.retained[key] > 1 - 1e-6
    extracted = CanonicalAdapter("extracted", found.made.layers)
    latents, text = torch.randn(1, 4, 16, 16), torch.randn(1, 7, 32)
    call = [ModelCall(latents, torch.tensor([300]), text, None, (((one, 1.0),),)) for one in (adapter, extracted)]
    assert near(own.predict(call[1]), own.predict(call[0]), 1e-4)
    assert near(load_tiny(after).predict(ModelCall(latents, torch.tensor([300]), text, None, ((),))),
                own.predict(call[1]), 1e-4)  # fmt: skip


def test_by_energy_and_without_text_encoders(before: Path, own: SharedBase, tmp_path: Path) -> None:
    adapter = random_adapter(own, 1)
    after = tuned(before, tmp_path / "after", adapter)
    target = Target("sv_fro", 0.8)
    found = finish(extract(open_checkpoint(before), open_checkpoint(after), target, text_encoders=False))
    assert not [key for key in found.made.layers if key.startswith("text")]
    for key, share in found.made.retained.items():
        assert share >= 0.64 - 1e-9
        values = torch.linalg.svdvals(adapter.layers[key].delta().flatten(1).double())
        rank = found.made.layers[key].rank
        assert rank == 1 or float(values[: rank - 1].square().sum() / values.square().sum()) < 0.64


def test_what_no_factors_hold_is_counted(before: Path, own: SharedBase, tmp_path: Path) -> None:
    after = tuned(before, tmp_path / "after", random_adapter(own, 1))
    path = after / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_in.bias"] += 1
    tensors["conv_norm_out.weight"] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    found = finish(extract(open_checkpoint(before), open_checkpoint(after), Target(rank=2)))
    assert found.left_out == 2


def test_refusals(before: Path, tmp_path: Path) -> None:
    wide = write_tiny_base(tmp_path / "wide", width=64)
    with pytest.raises(InvalidInput, match=r"different architectures: the layer text_encoder.* shapes 64x64 and 64x32"):
        finish(extract(open_checkpoint(wide), open_checkpoint(before), Target(rank=2)))
    with pytest.raises(InvalidInput, match="The two models are the same in all"):
        finish(extract(open_checkpoint(before), open_checkpoint(before), Target(rank=2)))
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InvalidInput, match="cannot be read as a model"):
        open_checkpoint(tmp_path / "x.safetensors")
    with pytest.raises(InvalidInput, match="holds no model that is read here"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_names_of_single_files_are_the_inverse_of_the_formats_names(family: str) -> None:
    """Every layer of a published UNet: to its original name by `formats.ldm`, and back by ours."""
    layers = {k: s for k, s in known_layers(family).items() if k.startswith("unet.") and not s.is_norm}
    paths = [key.removeprefix("unet.") for key in layers]
    names = LdmNames(paths)
    assert {path: diffusers_path(names.of(path) or "") for path in paths} == {path: path for path in paths}


def test_a_single_file_of_sd_s_layout(tmp_path: Path) -> None:
    """diffusers' own reading of a UNet is the judge: the names that we find hold the same weights as in its module."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 32, 32, 32), cross_attention_dim=16, attention_head_dim=4, norm_num_groups=8
    )
    state = unet.state_dict()
    layers = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    ldm = LdmNames(layers)
    tensors = {}
    for name, tensor in state.items():
        path, _, part = name.rpartition(".")
        tensors[f"model.diffusion_model.{ldm.of(path)}.{part}"] = tensor.contiguous()
    fused = torch.randn(24, 8)
    tensors["cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight"] = fused
    tensors["cond_stage_model.model.transformer.resblocks.0.mlp.c_fc.weight"] = torch.randn(16, 8)
    save_file(tensors, tmp_path / "one.safetensors")
    found = open_checkpoint(tmp_path / "one.safetensors")
    matrices = {f"unet.{n.removesuffix('.weight')}": t for n, t in state.items() if t.ndim in (2, 4)}
    assert {key for key in found.layers if key.startswith("unet.")} == set(matrices)
    for key, tensor in matrices.items():
        assert torch.equal(found.weight(key), tensor), key
    layer = "text_encoder.encoder.layers.0"
    assert torch.equal(found.weight(f"{layer}.self_attn.k_proj"), fused[8:16])
    assert found.layers[f"{layer}.mlp.fc1"].shape == (16, 8)


def test_an_index_of_other_kinds_is_refused(tmp_path: Path) -> None:
    """Bug: names that are no texts ended the job with a TypeError."""
    (tmp_path / "unet").mkdir()
    index = tmp_path / "unet" / "model.safetensors.index.json"
    for table in ({"a": 3}, [1], 3, {"a": None, "b": "x"}):
        index.write_text(json.dumps({"weight_map": table}))
        with pytest.raises(InvalidInput, match="cannot be read as a model"):
            open_checkpoint(tmp_path)


def test_what_else_differs_is_looked_at_in_turns(before: Path, own: SharedBase, tmp_path: Path) -> None:
    """Bug: biases and norms of two whole models were read in the one turn behind the last layer."""
    after = write_tiny_base(tmp_path / "after", seed=1)
    models = open_checkpoint(before), open_checkpoint(after)
    steps = [done.step for done in extract(*models, Target(rank=1))]
    assert steps == list(range(1, len(models[0].layers) + len(models[0].others) + 1))
