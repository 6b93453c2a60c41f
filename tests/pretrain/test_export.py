"""Exports: diffusers loads them, every tensor is the averaged one, the layout is the embedded base's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("skia")

from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors import safe_open
from transformers import CLIPTextModel

from pretrain import autoencoder, checkpoint, diffusion, text, trainings
from pretrain.drawing import load_pipeline
from pretrain.export import autoencoder_part, diffusion_parts, export, verify, write_base
from pretrain.hashes import tokenizer_hash
from pretrain.latents import encoder_hash
from pretrain.machine import Machine
from tests.pretrain.conftest import ASSETS, TINY, RecipeOf

pytestmark = pytest.mark.usefixtures("one_thread")
NEW = ('autoencoder.start="new"', 'autoencoder.train="all"', "autoencoder.crop=32", "autoencoder.steps=1")


@pytest.fixture(scope="module")
def trained(drawn: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a diffusion run of a grown text encoder and an autoencoder run, of three steps each."""
    from pretrain.recipe import load_recipe

    folder = tmp_path_factory.mktemp("trained")
    changes = ("diffusion.steps=3", "autoencoder.steps=3", "diffusion.text_encoder.layers=2")
    recipe = load_recipe(changes=(*TINY, f'base="{tiny_base}"', *changes))
    list(diffusion.train(recipe, drawn, folder / "diffusion"))
    list(autoencoder.train(recipe, drawn, folder / "autoencoder"))
    return folder


def test_the_pipeline_loads_it_and_has_the_averaged_weights(trained: Path, tiny_base: Path, tmp_path: Path) -> None:
    steps = export(tmp_path / "out", tiny_base, trained / "diffusion", trained / "autoencoder")
    assert steps == {"diffusion": 3, "autoencoder": 3}
    pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "out", dtype=torch.float16, local_files_only=True)
    for run, parts in (("diffusion", ("unet", "text_encoder")), ("autoencoder", ("vae",))):
        state = checkpoint.load(trained / run)
        assert state is not None
        average = iter(state["average"])
        for part in parts:
            found = getattr(pipe, part).state_dict()
            wanted = {**state["modules"][part], **{name: next(average) for name in state["trained"][part]}}
            assert found.keys() == wanted.keys()
            assert all(torch.equal(found[name], value.half()) for name, value in wanted.items())
            last = state["modules"][part]
            assert any(not torch.equal(wanted[name], last[name]) for name in last)  # the average is not the last
    pipe = pipe.to(torch.float32)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("1girl, blue hair", num_inference_steps=2, output_type="np").images
    assert image.shape == (1, 128, 128, 3)


def test_the_layout_is_that_of_the_embedded_base(trained: Path, tiny_base: Path, tmp_path: Path) -> None:
    export(tmp_path, tiny_base, trained / "diffusion", trained / "autoencoder")
    files = {file.relative_to(ASSETS).as_posix() for file in ASSETS.rglob("*") if file.is_file()}
    assert {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()} == files
    for name in ("lora_studio.json", "words.json", "README.md", "scheduler/scheduler_config.json"):
        assert (tmp_path / name).read_bytes() == (ASSETS / name).read_bytes()
    for part, file in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        mine, real = (
            json.loads((base / part / "config.json").read_text(encoding="utf-8")) for base in (tmp_path, ASSETS)
        )
        assert mine.keys() == real.keys()  # no folder of the person who made it among them
        with safe_open(tmp_path / part / f"{file}.safetensors", "pt") as tensors:
            names = list(tensors.keys())
            assert {tensors.get_tensor(name).dtype for name in names} == {torch.float16}
            assert tensors.metadata() == {"format": "pt"}
        assert (tmp_path / part / f"{file}.safetensors").stat().st_mode & 0o777 == 0o644
        if part == "text_encoder":
            assert all(name.startswith("text_model.") for name in names)


def test_a_base_can_be_replaced_where_it_stands(trained: Path, tiny_base: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    (base / "README.md").write_text("a card", encoding="utf-8")
    vae = (base / "vae" / "diffusion_pytorch_model.safetensors").read_bytes()
    (tmp_path / "base.partial").mkdir()  # as a killed call leaves it
    export(base, base, trained / "diffusion")
    assert (base / "README.md").read_text(encoding="utf-8") == "a card"
    assert (base / "vae" / "diffusion_pytorch_model.safetensors").read_bytes() == vae
    assert json.loads((base / "text_encoder" / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"] == 2
    assert not (tmp_path / "base.partial").exists()


def test_training_goes_on_from_an_export(
    trained: Path, tiny_base: Path, tmp_path: Path, drawn: Path, recipe_of: RecipeOf
) -> None:
    """With the decoder replaced too: the latents are the same, so nothing is encoded anew."""
    export(tmp_path / "base", tiny_base, trained / "diffusion", trained / "autoencoder")
    latents = {file: file.stat().st_mtime_ns for file in drawn.rglob("latents-*.npy")}
    recipe = recipe_of(f'base="{tmp_path / "base"}"', "diffusion.text_encoder.layers=2", "diffusion.steps=1")
    assert len(list(diffusion.train(recipe, drawn, tmp_path / "run"))) == 1
    assert {file: file.stat().st_mtime_ns for file in drawn.rglob("latents-*.npy")} == latents


@pytest.mark.slow
def test_an_autoencoder_of_other_latents_is_refused(
    trained: Path, tiny_base: Path, drawn: Path, recipe_of: RecipeOf, tmp_path: Path
) -> None:
    list(autoencoder.train(recipe_of(*NEW, "autoencoder.model.channels=[8, 8, 8, 8]"), drawn, tmp_path / "new"))
    with pytest.raises(ValueError, match="both must be the same"):
        export(tmp_path / "out", tiny_base, trained / "diffusion", tmp_path / "new")
    assert not (tmp_path / "out").exists()


def test_a_new_autoencoder_gets_its_own_scale(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    list(autoencoder.train(recipe_of(*NEW, "autoencoder.model.channels=[8, 8, 8, 8]"), drawn, tmp_path))
    state = checkpoint.load(tmp_path)
    assert state is not None
    factor = autoencoder_part(state).config.scaling_factor
    assert factor != state["identity"]["vae"]["scaling_factor"]
    assert 0 < factor < 1000


def test_what_cannot_be_exported_is_told(tmp_path: Path, tiny_base: Path) -> None:
    with pytest.raises(ValueError, match="nothing to export"):
        export(tmp_path / "out", tiny_base)
    with pytest.raises(ValueError, match="has no checkpoint"):
        export(tmp_path / "out", tiny_base, tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"PK no zip")
    with pytest.raises(ValueError, match="is no checkpoint"):
        export(tmp_path / "out", tiny_base, tmp_path)
    torch.save({"format": 99}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match="has the format 99"):
        export(tmp_path / "out", tiny_base, tmp_path)


def test_a_folder_of_another_training_is_told(trained: Path, tiny_base: Path, tmp_path: Path) -> None:
    """The key of the missing module stood there alone."""
    with pytest.raises(ValueError, match="of a training of 'autoencoder', and 'diffusion' is asked for"):
        export(tmp_path / "out", tiny_base, trained / "autoencoder")
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- words
@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another tokenizer than the embedded base's, with as many numbers."""
    from pretrain.recipe import Tokenizer
    from pretrain.tokenizer import make

    folder = tmp_path_factory.mktemp("tokenizers") / "made"
    assert make(folder, Tokenizer()) == 1290
    return folder


def test_a_tokenizer_comes_without_the_models_that_do_not_know_it(
    tiny_base: Path, tokenizer: Path, drawn: Path, recipe_of: RecipeOf, tmp_path: Path
) -> None:
    """A text encoder reads wrong rows by it: pictures were noise, and the export was called equal."""
    out = tmp_path / "out"
    assert export(out, tiny_base, tokenizer=tokenizer) == {}
    assert (out / "tokenizer" / "tokenizer.json").read_bytes() == (tokenizer / "tokenizer.json").read_bytes()
    assert not (out / "unet").exists()
    assert not (out / "text_encoder").exists()
    for change in ("diffusion.steps=1", "text.steps=1"):
        recipe = recipe_of(f'base="{out}"', change)
        train = diffusion.train if change.startswith("diffusion") else text.train
        with pytest.raises(ValueError, match=r"has no \w+ that reads its tokenizer"):
            next(train(recipe, drawn, tmp_path / "no"))
    with pytest.raises(ValueError, match="has no unet"):
        load_pipeline(out, Machine("cpu", False, False))
    list(
        diffusion.train(recipe_of(f'base="{out}"', "diffusion.start=new", "diffusion.steps=1"), drawn, tmp_path / "run")
    )
    assert export(tmp_path / "whole", out, tmp_path / "run") == {"diffusion": 1}
    told = trainings.read(tmp_path / "whole")
    assert [(one["kind"], one["samples"]) for one in told] == [("diffusion", 4)]


def test_a_base_with_models_is_not_given_another_tokenizer(tiny_base: Path, tokenizer: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    before = _bytes(base)
    with pytest.raises(ValueError, match="choose a new folder"):
        export(base, base, tokenizer=tokenizer)
    assert _bytes(base) == before


def test_a_text_encoder_goes_with_its_own_tokenizer_alone(
    trained: Path, tiny_base: Path, tokenizer: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="which gives words other numbers"):
        export(tmp_path / "out", tiny_base, trained / "diffusion", tokenizer=tokenizer)
    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    shutil.copyfile(tokenizer / "tokenizer.json", other / "tokenizer" / "tokenizer.json")
    with pytest.raises(ValueError, match="which gives words other numbers"):
        export(tmp_path / "out", other, trained / "diffusion")
    assert not (tmp_path / "out").exists()
    same = tmp_path / "same"
    shutil.copytree(tiny_base / "tokenizer", same)
    assert export(tmp_path / "out", tiny_base, trained / "diffusion", tokenizer=same) == {"diffusion": 3}


def test_a_unet_goes_with_its_own_schedule_alone(trained: Path, tiny_base: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(tiny_base, other)
    file = other / "scheduler" / "scheduler_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**config, "beta_end": 0.02}), encoding="utf-8")
    with pytest.raises(ValueError, match="was trained with the schedule"):
        export(tmp_path / "out", other, trained / "diffusion")


# ---------------------------------------------------------------- what it was trained by
def test_the_trainings_of_a_base_are_told(
    trained: Path, tiny_base: Path, drawn: Path, recipe_of: RecipeOf, tmp_path: Path
) -> None:
    """Samples add up from base to base; an export of a later step takes the place of an earlier one."""
    base = tmp_path / "base"
    export(base, tiny_base, trained / "diffusion", trained / "autoencoder")
    first = trainings.read(base)
    assert [(one["kind"], one["step"]) for one in first] == [("diffusion", 3), ("autoencoder", 3)]
    assert trainings.samples(first) == 12
    state = checkpoint.load(trained / "diffusion")
    assert state is not None
    assert first[0]["tokenizer"] == state["identity"]["tokenizer"]
    assert first[0]["recipe"]["diffusion"]["optimizer"]["muon_rate"] == 0.02
    assert str(tiny_base) not in (base / "training.json").read_text(encoding="utf-8")
    sizes = (f'base="{base}"', "diffusion.text_encoder.layers=2")
    for steps, rate in ((1, 0.02), (2, 0.01)):
        recipe = recipe_of(*sizes, f"diffusion.steps={steps}", f"diffusion.optimizer.muon_rate={rate}")
        list(diffusion.train(recipe, drawn, tmp_path / "run", accept_changes=True))
        export(base, base, tmp_path / "run")
        told = json.loads((base / "training.json").read_text(encoding="utf-8"))
        assert told["samples"] == 12 + 4 * steps
        assert [one["kind"] for one in told["trainings"]] == ["diffusion", "autoencoder", "diffusion"]
        assert told["trainings"][:2] == first
    values = {"diffusion.optimizer.muon_rate": [0.02, 0.01], "diffusion.steps": [1, 2]}
    assert told["trainings"][2]["changes"] == [{"step": 1, "values": values}]


def test_samples_of_a_run_that_had_no_name_are_counted_once(
    trained: Path, tiny_base: Path, drawn: Path, recipe_of: RecipeOf, tmp_path: Path
) -> None:
    """It began before runs had names, is exported into the base that it began with, and goes on."""
    base, run = tmp_path / "base", tmp_path / "run"
    shutil.copytree(tiny_base, base)
    state = checkpoint.load(trained / "diffusion")
    assert state is not None
    identity = {
        key: value for key, value in state["identity"].items() if key not in ("tokenizer", "schedule", "reader")
    }
    kept = {key: value for key, value in state.items() if key not in ("run", "origin", "changes", "threads", "format")}
    kept["recipe"]["base"] = str(base)
    checkpoint.save(run, {**kept, "identity": identity})
    export(base, base, run)
    assert trainings.samples(trainings.read(base)) == 12
    recipe = recipe_of(f'base="{base}"', "diffusion.text_encoder.layers=2", "diffusion.steps=4")
    assert len(list(diffusion.train(recipe, drawn, run))) == 1
    export(base, base, run)
    assert [(one["kind"], one["samples"]) for one in trainings.read(base)] == [("diffusion", 16)]


def test_the_embedded_base_tells_its_trainings() -> None:
    told = trainings.read(ASSETS)
    assert trainings.text(told) == (ASSETS / "training.json").read_text(encoding="utf-8")
    assert f"{trainings.samples(told):,} samples" in (ASSETS / "README.md").read_text(encoding="utf-8")
    newest = [one for one in told if one["kind"] == "diffusion"][-1]
    vae = AutoencoderKL.from_pretrained(ASSETS / "vae", dtype=torch.float32)
    assert newest["encoder"] == encoder_hash(vae)
    mine = tokenizer_hash(ASSETS / "tokenizer")
    assert newest.get("tokenizer", mine) == mine  # a run from before tokenizers were kept does not tell it


# ---------------------------------------------------------------- whole or not at all
def _bytes(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(("number", "told"), [(float("nan"), "half precision does not hold"), (1e6, "does not hold")])
def test_what_half_precision_does_not_hold_leaves_the_base_whole(
    tiny_base: Path, tmp_path: Path, number: float, told: str
) -> None:
    """The base was overwritten first, and then it was advised to remove the folder."""
    from diffusers import UNet2DConditionModel

    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    before = _bytes(base)
    unet = UNet2DConditionModel.from_pretrained(base / "unet", dtype=torch.float32)
    with torch.no_grad():
        unet.conv_in.weight.view(-1)[3] = number
    with pytest.raises(ValueError, match=told):
        write_base(base, base, {"unet": unet})
    assert _bytes(base) == before
    assert not (tmp_path / "base.partial").exists()


def test_a_file_that_was_written_otherwise_leaves_the_base_whole(
    trained: Path, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    before = _bytes(base)
    save = CLIPTextModel.save_pretrained

    def damaged(self: CLIPTextModel, folder: Path) -> None:
        with torch.no_grad():
            next(self.parameters()).view(-1)[0] += 1
        save(self, folder)

    monkeypatch.setattr(CLIPTextModel, "save_pretrained", damaged)
    with pytest.raises(ValueError, match="was written otherwise than it is"):
        export(base, base, trained / "diffusion")
    assert _bytes(base) == before


def test_a_folder_that_gives_back_something_else_is_noticed(trained: Path, tiny_base: Path, tmp_path: Path) -> None:
    state = checkpoint.load(trained / "diffusion")
    assert state is not None
    parts = diffusion_parts(state)
    write_base(tmp_path, tiny_base, parts)
    verify(tmp_path, parts)
    with torch.no_grad():
        next(parts["unet"].parameters()).view(-1)[0] += 1
    with pytest.raises(ValueError, match="does not give back"):
        verify(tmp_path, parts)
