"""The reader of tags: what it asks, that it learns, that it resumes, and what it tells a diffusion."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip("skia")

from pretrain import diffusion
from pretrain.diffusion import DiffusionJob
from pretrain.latents import encoder_hash
from pretrain.machine import Machine
from pretrain.pictures import PictureSet
from pretrain.randomness import generator
from pretrain.reader import Reader, labels_of, load_reader, reading_loss, train
from pretrain.reader.labels import Answers, questions
from pretrain.reader.network import spoiled
from pretrain.recipe import Recipe
from pretrain.tags import split
from tests.pretrain.conftest import RecipeOf, assert_equal

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = Machine("cpu", False, False)
CAPTIONS = ["best quality, 1girl, red t-shirt, blue hair", "1girl, blue t-shirt", "no humans, red star"]


def small(recipe_of: RecipeOf, *changes: str) -> Recipe:
    return recipe_of("reader.steps=4", "reader.batch=4", "reader.least=2", "reader.widths=[8, 16]", *changes)


def test_a_coloured_thing_is_asked_for_with_and_without_its_colour() -> None:
    assert questions(split(CAPTIONS[0])) == ["1girl", "red t-shirt", "blue hair", "t-shirt", "hair"]
    assert labels_of(CAPTIONS, 2) == ["1girl", "t-shirt"]
    answers = Answers(CAPTIONS, ["1girl", "red t-shirt", "star", "t-shirt"])
    assert answers.take(torch.tensor([2, 0])).tolist() == [[0, 0, 1, 0], [1, 1, 0, 1]]


def test_reading_is_the_divergence_of_two_answers() -> None:
    """Against torch's own Bernoulli distributions; nothing for equal latents, no gradient to the true ones."""
    reader = Reader(4, 5, (8, 16)).requires_grad_(False)
    found = torch.randn(3, 4, 8, 8, generator=generator(1, 1, "found"), requires_grad=True)
    true = torch.randn(3, 4, 8, 8, generator=generator(1, 1, "true"), requires_grad=True)
    loss = reading_loss(reader, found, true)
    pair = [torch.distributions.Bernoulli(logits=reader(one)) for one in (true, found)]
    wanted = torch.distributions.kl_divergence(*pair).sum(1)
    assert torch.allclose(loss, wanted, rtol=1e-4, atol=1e-6)
    assert float(reading_loss(reader, true, true).detach().abs().max()) < 1e-6
    torch.autograd.backward(loss.sum())
    assert true.grad is None
    assert found.grad is not None
    assert float(found.grad.abs().max()) > 0


def test_reading_calls_nothing_that_cuda_refuses_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entropy of the true answer was taken by `binary_cross_entropy`: the first step on a GPU was an error."""

    def refused(*given: object, **named: object) -> torch.Tensor:
        raise RuntimeError("binary_cross_entropy is unsafe to autocast")

    monkeypatch.setattr(torch.nn.functional, "binary_cross_entropy", refused)
    reader = Reader(4, 5, (8, 16)).requires_grad_(False)
    latents = torch.randn(2, 4, 8, 8, generator=generator(1, 1, "latents"))
    with torch.autocast("cpu", torch.bfloat16):
        assert bool(reading_loss(reader, latents, -latents).isfinite().all())


def test_spoiling_leaves_half_of_the_latents_as_they_are() -> None:
    latents = torch.randn(200, 2, 4, 4, generator=generator(1, 1, "latents"))
    same = (spoiled(latents, generator(1, 2, "spoiled")) == latents).flatten(1).all(1)
    assert 70 <= int(same.sum()) <= 130


def test_it_learns_and_goes_on_where_it_was_stopped(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    recipe = small(recipe_of, "reader.steps=60", "reader.cadence.log_seconds=0")
    whole = [step.loss for step in train(recipe, drawn, tmp_path / "whole")]
    assert len(whole) == 60
    assert sum(whole[-5:]) < 0.8 * sum(whole[:5])
    first = [step.loss for step in train(recipe, drawn, tmp_path / "parts", iter([None, None, 0.0]).__next__)]
    rest = [step.loss for step in train(recipe, drawn, tmp_path / "parts")]
    assert len(first) == 3
    assert first + rest == whole
    assert_equal(tmp_path / "parts", tmp_path / "whole")


def test_the_diffusion_listens_to_it(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    """The loss of a step is the one without a reader and the weight times what the reader says of the prediction."""
    folder = tmp_path / "reader"
    for _ in train(small(recipe_of), drawn, folder):
        pass
    listening = recipe_of("diffusion.reading.weight=0.5", f'diffusion.reading.folder="{folder}"')
    job = DiffusionJob(listening, PictureSet(drawn, listening.pictures), PLAIN)
    plain = DiffusionJob(recipe_of(), PictureSet(drawn, listening.pictures), PLAIN)
    batch = next(job.batches(0))
    loss = job.loss(batch, 0)
    figures = job.figures()
    assert figures["velocity"] == pytest.approx(plain.loss(batch, 0).item(), abs=1e-5)
    assert figures["reading"] > 0
    assert loss.item() == pytest.approx(figures["velocity"] + 0.5 * figures["reading"], rel=1e-3)
    assert plain.figures() == {}
    torch.autograd.backward(loss)
    assert all(p.grad is not None for p in job.modules()["unet"].parameters())


def test_a_reader_that_learnt_on_is_another_one(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    """It changes the loss; a run took whatever reader lay in its folder and compared its latents alone."""
    for _ in train(small(recipe_of, "reader.steps=2"), drawn, tmp_path / "reader"):
        pass
    listening = ("diffusion.reading.weight=0.5", f'diffusion.reading.folder="{tmp_path / "reader"}"')
    for _ in diffusion.train(recipe_of(*listening, "diffusion.steps=1"), drawn, tmp_path / "run"):
        pass
    again = recipe_of(*listening, "diffusion.steps=2")
    for _ in train(small(recipe_of), drawn, tmp_path / "reader"):
        pass
    with pytest.raises(ValueError, match="listened to another reader"):
        next(diffusion.train(again, drawn, tmp_path / "run"))
    assert [step.number for step in diffusion.train(again, drawn, tmp_path / "run", accept_changes=True)] == [2]


def test_a_reader_of_other_latents_is_refused(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no reader"):
        load_reader(tmp_path, "0" * 64)
    recipe = small(recipe_of)
    for _ in train(recipe, drawn, tmp_path):
        pass
    with pytest.raises(ValueError, match="reads the latents of encoder"):
        load_reader(tmp_path, "0" * 64)
    job = DiffusionJob(recipe, PictureSet(drawn, recipe.pictures), PLAIN)
    assert not load_reader(tmp_path, encoder_hash(job._vae)).training
    for _ in diffusion.train(recipe_of("diffusion.steps=1"), drawn, tmp_path / "diffusion"):
        pass
    with pytest.raises(ValueError, match="of a training of 'diffusion', and 'reader' is asked for"):
        load_reader(tmp_path / "diffusion", "0" * 64)
    shutil.rmtree(tmp_path)
