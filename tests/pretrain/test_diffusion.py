"""Training of UNet and text encoder: the formulas, captions, growing, learning, and that a kill changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("skia")

from diffusers import DDPMScheduler
from transformers import CLIPTokenizer

from pretrain import checkpoint
from pretrain.diffusion import DiffusionJob, train
from pretrain.diffusion.captions import TagTokens, variant
from pretrain.diffusion.job import loss_weights, timesteps
from pretrain.diffusion.models import grow, load_models, noise_schedule
from pretrain.machine import Machine
from pretrain.pictures import PictureSet
from pretrain.randomness import generator, numbers
from pretrain.recipe import Captions, Recipe, RecipeError, TextEncoder
from pretrain.tags import is_head, split
from pretrain.trainer import Trainer
from tests.pretrain.conftest import ASSETS, TINY, RecipeOf, assert_equal

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = Machine("cpu", False, False)
CAPTION = "best quality, comic style, 1girl, blue hair, long hair, closed mouth, red dress, smile, white background"


# ---------------------------------------------------------------- formulas
def test_the_target_and_the_weights_are_those_of_the_papers(drawn: Path, recipe_of: RecipeOf) -> None:
    """The loss of a step, computed again with diffusers' own noise scheduler and the definition of SNR."""
    recipe = recipe_of("diffusion.gamma=3", "diffusion.floor=0.25", "diffusion.captions.dropped=0")
    job = DiffusionJob(recipe, PictureSet(drawn, recipe.pictures), PLAIN)
    batch = next(job.batches(2))
    config = json.loads((ASSETS / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    scheduler = DDPMScheduler.from_config(config)
    x = job._latents.take(batch.indices, batch.mirrored) * job._vae.config.scaling_factor
    t = timesteps(4, 1, 2)
    noise = torch.randn(x.shape, generator=generator(1, 2, "noise"))
    unet, words = job.modules()["unet"], job.modules()["text_encoder"]
    with torch.no_grad():
        found = unet(scheduler.add_noise(x, noise, t), t, words(batch.ids)[0]).sample
        error = (found - scheduler.get_velocity(x, noise, t)).square().mean((1, 2, 3)).double()
        snr = scheduler.alphas_cumprod[t].double() / (1 - scheduler.alphas_cumprod[t].double())
        wanted = (error * (snr.clamp(max=3) / (snr + 1) + 0.25)).mean()
        assert float(job.loss(batch, 2)) == pytest.approx(float(wanted), rel=1e-5)


def test_weights_are_finite_where_all_is_noise_or_signal() -> None:
    assert loss_weights(torch.tensor([0.0, 1.0, 0.5]), 5.0, 0.2).tolist() == pytest.approx([0.2, 0.2, 0.7])


def test_timesteps_lie_in_equal_parts() -> None:
    t = timesteps(50, 0, 7).sort().values
    assert (t // 20).tolist() == list(range(50))
    assert not torch.equal(timesteps(50, 0, 8), timesteps(50, 0, 7))
    assert float(timesteps(1000, 0, 0, shift=3).float().mean()) > 600
    assert int(timesteps(1000, 0, 0, shift=3).max()) <= 999


def test_the_schedule_ends_in_noise() -> None:
    signal_share = noise_schedule(ASSETS)
    assert signal_share.shape == (1000,)
    assert float(signal_share[-1]) == pytest.approx(0, abs=1e-6)


def test_the_models_learn_in_the_mode_in_which_they_draw(drawn: Path, recipe_of: RecipeOf) -> None:
    """Neither has dropout nor statistics of a batch, so the mode changes no number, and the other one is slower."""
    recipe = recipe_of()
    job = DiffusionJob(recipe, PictureSet(drawn, recipe.pictures), PLAIN)
    batch = next(job.batches(0))
    assert not any(module.training for model in job.modules().values() for module in model.modules())
    found = job.loss(batch, 0)
    for model in job.modules().values():
        model.train()
    assert torch.equal(found, job.loss(batch, 0))


# ---------------------------------------------------------------- captions
def test_tags_put_together_are_the_text_as_the_tokenizer_reads_it() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(ASSETS / "tokenizer")
    tokens = TagTokens(tokenizer, [CAPTION, "no humans, red star"])
    tags = ["long_hair", "1girl", "comic style", "red dress"]
    for given in (split(CAPTION), tags, []):
        text = ", ".join(given)
        assert tokens.row(given) == tokenizer(text, padding="max_length", truncation=True).input_ids
    assert len(tokens.row(split(CAPTION) * 9)) == 77


def test_captions_are_changed_in_the_shares_asked_for() -> None:
    tags = split(CAPTION)
    recipe = Captions(dropped=0.1, few=0.2, shortened=0.3, shuffled=0.1, underscores=0.0)
    found = [variant(tags, np.random.default_rng(k), recipe) for k in range(2000)]
    share = {
        "dropped": sum(not one for one in found),
        "written": sum(one == tags for one in found),
        "shuffled": sum(len(one) == len(tags) and one[:3] != tags[:3] for one in found),
    }
    assert share["dropped"] == pytest.approx(200, abs=40)
    assert share["written"] == pytest.approx(600, abs=80)
    assert share["shuffled"] == pytest.approx(200, abs=40)
    shorter = [one for one in found if 0 < len(one) < len(tags)]
    assert all([tag for tag in one if is_head(tag)] == tags[:3] == one[:3] for one in shorter)
    few = [one for one in shorter if len(one) in (5, 6)]
    assert len(few) > 350
    assert all(set(one) <= set(tags) for one in found)


def test_few_things_are_two_or_three_and_differ() -> None:
    recipe = Captions(dropped=0, few=1, shortened=0, shuffled=0, underscores=0)
    found = [variant(split(CAPTION), np.random.default_rng(k), recipe) for k in range(50)]
    assert {len(one) for one in found} == {5, 6}
    assert {tag for one in found for tag in one} == set(split(CAPTION))
    bare = Captions(dropped=0, few=1, shortened=0, shuffled=0, underscores=1, keep_head=False)
    found = [variant(split(CAPTION), np.random.default_rng(k), bare) for k in range(50)]
    assert {len(one) for one in found} == {2, 3}
    assert not any(" " in tag for one in found for tag in one)


def test_a_steps_captions_are_its_own(drawn: Path, recipe_of: RecipeOf) -> None:
    recipe = recipe_of("diffusion.captions.few=0.4")
    job = DiffusionJob(recipe, PictureSet(drawn, recipe.pictures), PLAIN)
    walked = list(job.batches(0))
    assert len(walked) == 6
    assert torch.equal(next(job.batches(4)).ids, walked[4].ids)
    assert not torch.equal(walked[3].ids, walked[4].ids)
    assert numbers(0, 1, "a").random() != numbers(0, 1, "b").random()


# ---------------------------------------------------------------- growing
def _says(words: Any) -> torch.Tensor:
    ids = torch.arange(24).reshape(2, 12) * 7
    with torch.no_grad():
        return words.eval()(ids)[0]  # type: ignore[no-any-return]


def test_a_grown_text_encoder_says_the_same_and_all_of_it_learns(recipe_of: RecipeOf, tiny_base: Path) -> None:
    recipe = recipe_of().diffusion
    unet, words = load_models(tiny_base, recipe.unet, recipe.text_encoder, 0)
    same, larger = grow(unet, words, TextEncoder(16, 3, 2, 48), 0)
    assert same is unet
    assert larger.config.num_hidden_layers == 3
    torch.testing.assert_close(_says(larger), _says(words), rtol=1e-5, atol=1e-5)
    larger(torch.arange(12)[None])[0].square().sum().backward()
    added = {name: p.grad for name, p in larger.named_parameters() if "layers.2" in name and "out_proj.weight" in name}
    assert len(added) == 1
    assert all(float(grad.abs().max()) > 0 for grad in added.values() if grad is not None)


def test_another_width_keeps_the_rest_of_the_unet(recipe_of: RecipeOf, tiny_base: Path) -> None:
    recipe = recipe_of().diffusion
    unet, words = load_models(tiny_base, recipe.unet, recipe.text_encoder, 0)
    wider, larger = grow(unet, words, TextEncoder(24, 1, 2, 32), 0)
    assert wider.config.cross_attention_dim == larger.config.hidden_size == 24
    old, new = unet.state_dict(), wider.state_dict()
    changed = {name for name in old if not (old[name].shape == new[name].shape and torch.equal(old[name], new[name]))}
    assert changed
    assert all(".attn2.to_k" in name or ".attn2.to_v" in name for name in changed)


def test_what_cannot_be_continued_is_told(drawn: Path, recipe_of: RecipeOf) -> None:
    for change, told in (
        ("diffusion.unet.channels=[16, 48]", "keeps its sizes"),
        ("diffusion.text_encoder.feed_forward=16", "it may grow"),
        ("diffusion.text_encoder.heads=4", "as many heads"),
    ):
        recipe = recipe_of(change)
        with pytest.raises(RecipeError, match=told):
            DiffusionJob(recipe, PictureSet(drawn, recipe.pictures), PLAIN)


# ---------------------------------------------------------------- training
@pytest.fixture
def whole(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> tuple[Path, list[float]]:
    """A run of six steps without a stop, with its losses."""
    folder = tmp_path / "whole"
    return folder, [step.loss for step in train(recipe_of(), drawn, folder)]


@pytest.mark.slow
def test_two_runs_of_one_seed_are_equal_and_of_two_are_not(
    drawn: Path, recipe_of: RecipeOf, tmp_path: Path, whole: tuple[Path, list[float]]
) -> None:
    again = [step.loss for step in train(recipe_of(), drawn, tmp_path / "again")]
    assert again == whole[1]
    assert_equal(tmp_path / "again", whole[0])
    other = [step.loss for step in train(recipe_of("diffusion.seed=5"), drawn, tmp_path / "other")]
    assert all(a != b for a, b in zip(other, again, strict=True))


@pytest.mark.slow
def test_a_stopped_training_ends_as_one_that_was_not(
    drawn: Path, recipe_of: RecipeOf, tmp_path: Path, whole: tuple[Path, list[float]]
) -> None:
    """Stopped after three steps by its time, and abandoned a step after a checkpoint, as a kill does."""
    left = iter([9.0, 9.0, 0.0])
    parts = [step.loss for step in train(recipe_of(), drawn, tmp_path / "parts", lambda: next(left))]
    assert len(parts) == 3
    running = train(recipe_of(), drawn, tmp_path / "parts")
    next(running)
    running.close()  # step 4 is lost
    parts += [step.loss for step in train(recipe_of(), drawn, tmp_path / "parts")]
    assert parts == whole[1]
    assert_equal(tmp_path / "parts", whole[0])
    rows = (tmp_path / "parts" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert list(train(recipe_of(), drawn, tmp_path / "parts")) == []


@pytest.mark.slow
def test_a_stopped_training_in_bf16_ends_as_one_that_was_not(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    """In the numbers, layout and attention that real trainings have on this kind of machine; long prompts too."""
    recipe = recipe_of('numbers="bf16"', "diffusion.captions.long=0.5", "diffusion.captions.chunks=2")
    whole = [step.loss for step in train(recipe, drawn, tmp_path / "whole")]
    left = iter([9.0, 9.0, 0.0])
    parts = [step.loss for step in train(recipe, drawn, tmp_path / "parts", lambda: next(left))]
    parts += [step.loss for step in train(recipe, drawn, tmp_path / "parts")]
    assert parts == whole
    assert_equal(tmp_path / "parts", tmp_path / "whole")
    state = checkpoint.load(tmp_path / "whole")
    assert state is not None
    assert state["machine"]["bf16"]
    kernel = state["modules"]["unet"]["down_blocks.0.resnets.0.conv1.weight"]
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert not kernel.is_contiguous()


@pytest.mark.slow
def test_worker_processes_change_nothing(
    drawn: Path, recipe_of: RecipeOf, tmp_path: Path, whole: tuple[Path, list[float]]
) -> None:
    recipe = recipe_of("diffusion.workers=1")
    assert [step.loss for step in train(recipe, drawn, tmp_path / "workers")] == whole[1]


@pytest.mark.slow
def test_the_loss_falls(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    recipe = recipe_of("diffusion.steps=24", "diffusion.start=new")
    losses = [step.loss for step in train(recipe, drawn, tmp_path)]
    assert sum(losses[-6:]) < 0.8 * sum(losses[:6])


def test_a_frozen_text_encoder_stays(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    recipe = recipe_of("diffusion.text_encoder.trained=false", "diffusion.steps=2")
    before = DiffusionJob(recipe, PictureSet(drawn, recipe.pictures), PLAIN).modules()
    list(train(recipe, drawn, tmp_path))
    state = checkpoint.load(tmp_path)
    assert state is not None
    words, unet = before["text_encoder"].state_dict(), before["unet"].state_dict()
    assert all(torch.equal(value, words[name]) for name, value in state["modules"]["text_encoder"].items())
    assert not torch.equal(state["modules"]["unet"]["conv_in.weight"], unet["conv_in.weight"])


@pytest.mark.slow
def test_a_run_keeps_its_recipe_and_its_latents(
    drawn: Path, recipe_of: RecipeOf, tmp_path: Path, whole: tuple[Path, list[float]], tiny_base: Path
) -> None:
    changed = recipe_of("diffusion.floor=0.5", "diffusion.steps=8")
    with pytest.raises(ValueError, match=r"other values of diffusion\.floor; a run keeps"):
        next(train(changed, drawn, whole[0]))
    assert [step.number for step in train(changed, drawn, whole[0], accept_changes=True)] == [7, 8]
    longer = recipe_of("diffusion.floor=0.5", "diffusion.steps=9", "diffusion.cadence.log_seconds=1")
    assert [step.number for step in train(longer, drawn, whole[0])] == [9]  # a longer one needs no leave
    larger = recipe_of("diffusion.floor=0.5", "diffusion.steps=10", "diffusion.batch=8")
    assert [step.samples for step in train(larger, drawn, whole[0], accept_changes=True)] == [9 * 4 + 8]
    grown = recipe_of("diffusion.text_encoder.layers=2")
    with pytest.raises(ValueError, match=r"text_encoder\.layers; what is trained cannot change"):
        next(train(grown, drawn, whole[0], accept_changes=True))


def test_another_encoder_is_refused(
    drawn: Path, recipe_of: RecipeOf, tmp_path: Path, whole: tuple[Path, list[float]]
) -> None:
    state = checkpoint.load(whole[0])
    assert state is not None
    state["identity"]["encoder"] = "0" * 64
    checkpoint.save(whole[0], state)
    with pytest.raises(ValueError, match="latents of another encoder"):
        next(train(recipe_of("diffusion.steps=7"), drawn, whole[0]))


def test_a_loss_that_is_no_number_changes_nothing(drawn: Path, recipe_of: RecipeOf) -> None:
    recipe = recipe_of()
    job = DiffusionJob(recipe, PictureSet(drawn, recipe.pictures), PLAIN)
    trainer = Trainer(job.modules(), job.optimizer, job.steps, {}, PLAIN)
    before = [p.detach().clone() for p in trainer.parameters]
    with pytest.raises(FloatingPointError, match="must be finite"):
        trainer.update(trainer.parameters[0].sum() * float("nan"))
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.parameters, strict=True))
    assert trainer.step == 0


@pytest.mark.slow
def test_sheets_and_kept_exports_are_of_the_average(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    from PIL import Image
    from safetensors.torch import load_file

    recipe = recipe_of(
        "diffusion.steps=3",
        "diffusion.cadence.sheet_steps=2",
        "diffusion.cadence.keep_steps=3",
        "diffusion.sheet_steps=2",
    )
    plain = [step.loss for step in train(recipe_of("diffusion.steps=3"), drawn, tmp_path / "plain")]
    drawing = [step.loss for step in train(recipe, drawn, tmp_path / "drawing")]
    assert drawing == plain  # drawing takes no random number and no weight from the training
    sheets = sorted((tmp_path / "drawing" / "sheets").iterdir())
    assert [sheet.name for sheet in sheets] == ["step-0000002.png", "step-0000003.png"]
    with Image.open(sheets[0]) as sheet:
        assert sheet.size == (8 * 128, 2 * 128)
    state = checkpoint.load(tmp_path / "drawing")
    assert state is not None
    kept = load_file(tmp_path / "drawing" / "kept" / "step-0000003" / "unet" / "diffusion_pytorch_model.safetensors")
    place = state["trained"]["unet"].index("conv_in.weight")
    assert torch.equal(kept["conv_in.weight"], state["average"][place].half())


# ---------------------------------------------------------------- a real kill
@pytest.mark.slow
def test_a_killed_process_goes_on_as_if_it_had_not_been(
    drawn: Path, recipe_of: RecipeOf, tmp_path: Path, tiny_base: Path
) -> None:
    """kill -9 while steps and checkpoints are being made."""
    extra = ("diffusion.steps=300", "diffusion.cadence.checkpoint_minutes=0", "diffusion.optimizer.decay=0")
    changes = [*TINY, f'base="{tiny_base}"', *extra]
    command = [
        sys.executable,
        "-m",
        "pretrain",
        "diffusion",
        "--pictures",
        str(drawn),
        "--run",
        str(tmp_path / "killed"),
    ]
    command += ["--threads", str(torch.get_num_threads()), *(part for change in changes for part in ("--set", change))]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, env=os.environ.copy())
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "killed" / "checkpoint.pt").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    state = checkpoint.load(tmp_path / "killed")
    assert state is not None
    assert 0 < state["step"] < 300
    ends = f"diffusion.steps={state['step'] + 4}"
    _finish(recipe_of(*extra[1:], ends), drawn, tmp_path / "killed")
    _finish(recipe_of(*extra[1:], ends), drawn, tmp_path / "never")
    assert_equal(tmp_path / "killed", tmp_path / "never")


def _finish(recipe: Recipe, pictures: Path, folder: Path) -> None:
    """Trains to the last step."""
    assert list(train(recipe, pictures, folder))[-1].number == recipe.diffusion.steps
