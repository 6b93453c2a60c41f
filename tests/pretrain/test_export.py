"""Exports: diffusers loads them, every tensor is the averaged one, the layout is the embedded base's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("skia")

from diffusers import StableDiffusionPipeline
from safetensors import safe_open

from pretrain import autoencoder, checkpoint, diffusion
from pretrain.export import autoencoder_part, diffusion_parts, export, verify, write_base
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


def test_a_tokenizer_can_be_put_in(tiny_base: Path, tmp_path: Path) -> None:
    from pretrain.recipe import Tokenizer
    from pretrain.tokenizer import make

    make(tmp_path / "tokenizer", Tokenizer())
    assert export(tmp_path / "out", tiny_base, tokenizer=tmp_path / "tokenizer") == {}
    written = (tmp_path / "out" / "tokenizer" / "tokenizer.json").read_bytes()
    assert written == (tmp_path / "tokenizer" / "tokenizer.json").read_bytes()
    assert written != (tiny_base / "tokenizer" / "tokenizer.json").read_bytes()


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
