"""Training of the autoencoder: the decoder alone leaves the latents, all of it learns, stopping changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("skia")

from diffusers import AutoencoderKL

from pretrain import checkpoint
from pretrain.autoencoder import AutoencoderJob, train
from pretrain.autoencoder.job import new_autoencoder
from pretrain.autoencoder.loss import mean_psnr, picture_loss, psnr
from pretrain.latents import encode, scaling_factor
from pretrain.machine import Machine
from pretrain.pictures import PictureSet, unseen
from pretrain.recipe import AutoencoderLoss, AutoencoderModel, RecipeError
from pretrain.sheets import from_pixels
from tests.pretrain.conftest import RecipeOf, assert_equal

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = Machine("cpu", False, False)
ALL = ('autoencoder.start="new"', 'autoencoder.train="all"', "autoencoder.model.channels=[8, 8, 8, 8]")


def test_psnr_is_the_definition() -> None:
    true = torch.zeros(2, 3, 4, 4)
    assert psnr(true + 0.2, true) == pytest.approx(20.0)  # an error of 0.1 of the range
    assert psnr(true, true) == float("inf")
    assert psnr(true + 3, true + 1) == float("inf")  # as saved, 3 is 1
    two = torch.zeros(2, 3, 4, 4)
    errors = torch.tensor([0.2, 0.02]).view(2, 1, 1, 1)
    assert mean_psnr(two + errors, two) == pytest.approx(30.0)
    assert psnr(two + errors, two) == pytest.approx(22.967, abs=1e-3)  # of the mean of the squares


def test_each_part_of_the_loss_sees_its_own_error() -> None:
    none = {"absolute": 0.0, "squared": 0.0, "gradient": 0.0, "chroma": 0.0, "pooled": 0.0, "latent": 0.0}
    true = torch.zeros(1, 3, 16, 16)

    def part(name: str, error: torch.Tensor) -> float:
        return float(picture_loss(true + error, true, AutoencoderLoss(**{**none, name: 1.0})))

    grey = torch.full((1, 3, 16, 16), 0.5)
    assert part("absolute", grey) == pytest.approx(0.5)
    assert part("squared", grey) == pytest.approx(0.25)
    assert part("gradient", grey) == 0
    assert part("chroma", grey) == pytest.approx(0, abs=1e-6)
    checks = (torch.arange(16)[:, None] + torch.arange(16)[None]).remainder(2).mul(2.0).sub(1.0)
    assert part("pooled", checks.expand(1, 3, 16, 16)) == pytest.approx(0, abs=1e-6)
    assert part("gradient", checks.expand(1, 3, 16, 16)) == pytest.approx(4.0)
    red = torch.zeros(1, 3, 16, 16)
    red[:, 0] = 1.0
    assert part("chroma", red) == pytest.approx(0.299 + 0.701)


def test_the_decoder_alone_leaves_every_latent(
    drawn: Path, recipe_of: RecipeOf, tiny_base: Path, tmp_path: Path
) -> None:
    steps = list(train(recipe_of(), drawn, tmp_path))
    assert [step.samples for step in steps] == [2, 4, 6, 8, 10, 12]
    state = checkpoint.load(tmp_path)
    assert state is not None
    old = AutoencoderKL.from_pretrained(tiny_base / "vae", dtype=torch.float32).state_dict()
    new = state["modules"]["vae"]
    changed = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"decoder", "post_quant_conv"}


@pytest.mark.parametrize("changes", [("autoencoder.crop=32",), ("autoencoder.crop=0",), (*ALL, "autoencoder.crop=64")])
def test_a_stopped_training_ends_as_one_that_was_not(
    drawn: Path, recipe_of: RecipeOf, tmp_path: Path, changes: tuple[str, ...]
) -> None:
    recipe = recipe_of(*changes, "autoencoder.steps=4")
    whole = [step.loss for step in train(recipe, drawn, tmp_path / "whole")]
    left = iter([1.0, 0.0])
    parts = [step.loss for step in train(recipe, drawn, tmp_path / "parts", lambda: next(left))]
    parts += [step.loss for step in train(recipe, drawn, tmp_path / "parts")]
    assert parts == whole
    assert_equal(tmp_path / "parts", tmp_path / "whole")


def test_a_cut_larger_than_the_pictures_is_told(drawn: Path, recipe_of: RecipeOf) -> None:
    recipe = recipe_of("autoencoder.crop=256")
    with pytest.raises(
        RecipeError, match=r"crop is 256 and the pictures have 128 pixels a side; allowed are multiples"
    ):
        AutoencoderJob(recipe, PictureSet(drawn, recipe.pictures), PLAIN)


@pytest.mark.slow
def test_the_loss_falls(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    recipe = recipe_of(*ALL, "autoencoder.crop=32", "autoencoder.steps=60", "autoencoder.batch=8")
    losses = [step.loss for step in train(recipe, drawn, tmp_path)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_cuts_are_the_same_place_of_pictures_and_latents(drawn: Path, recipe_of: RecipeOf) -> None:
    """A constant picture's place cannot be told, so each cut is looked up in the whole pictures and latents."""
    recipe = recipe_of("autoencoder.crop=32")
    pictures = PictureSet(drawn, recipe.pictures)
    job = AutoencoderJob(recipe, pictures, PLAIN)
    indices, mirrored = torch.tensor([3, 5]), torch.tensor([0, 1])
    images = pictures.take(indices.numpy())
    images[1] = images[1][:, ::-1]
    assert job._latents is not None
    whole = job._latents.take(indices, mirrored)
    places = set()
    for step in range(6):
        true, latents = job._cut(images, indices, mirrored, step)
        assert latents is not None
        found = [
            (top, left)
            for top in range(13)
            for left in range(13)
            if torch.equal(whole[:, :, top : top + 4, left : left + 4], latents)
        ]
        assert len(found) == 1
        top, left = (8 * number for number in found[0])
        assert torch.equal(true, from_pixels(images[:, top : top + 32, left : left + 32]))
        places.add(found[0])
    assert len(places) > 2


def test_a_sheet_measures_on_unseen_pictures(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    recipe = recipe_of()
    job = AutoencoderJob(recipe, PictureSet(drawn, recipe.pictures), PLAIN, measured=3)
    assert job.figures() == {}
    job.sheet(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").exists()
    assert 0 < job.figures()["psnr"] < 40


def test_a_new_one_begins_alike_and_its_scale_is_measured() -> None:
    recipe = AutoencoderModel((8, 8, 8, 8), 4, 2, 1)
    a, b = new_autoencoder(recipe, 128, seed=1), new_autoencoder(recipe, 128, seed=1)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    images = unseen(4)
    with torch.no_grad():
        spread = a.encode(from_pixels(images[:1])).latent_dist.std
    assert float(spread.max()) < 0.1  # nearly no noise
    factor = scaling_factor(a.eval(), images, PLAIN)
    assert float((encode(a, images, PLAIN) * factor).std()) == pytest.approx(1, rel=1e-4)
    assert np.isfinite(factor)
