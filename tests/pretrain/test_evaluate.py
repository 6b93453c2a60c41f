"""The figures of a base: counted as asked, with true labels from the painter, by diffusers' own pipeline."""

from __future__ import annotations

import inspect
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("skia")

from pretrain.drawing import draw, load_pipeline
from pretrain.evaluate import HEADS, Settings, count_right, evaluate, interval, table
from pretrain.hashes import weights_hash
from pretrain.judge import load_judge
from pretrain.machine import Machine
from pretrain.painter import render
from pretrain.prompts import other_prompts, plain_girl
from pretrain.seeds import CHOOSING_SEED, PUBLISHED_SEED
from pretrain.sheets import contact_sheet

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = Machine("cpu", False, False)


def test_the_interval_is_wilsons() -> None:
    assert interval(0, 0) == (0.0, 1.0)
    low, high = interval(81, 90)
    assert (low, high) == pytest.approx((0.8208, 0.9465), abs=1e-3)
    assert interval(0, 200)[1] == pytest.approx(0.0188, abs=1e-3)


def test_true_drawings_are_found_right_and_others_wrong() -> None:
    """The painter's own pictures of the prompts, and the same answers asked of pictures in another order."""
    girls = [plain_girl(random.Random(f"girl-other-0-{number}")) for number in range(24)]
    images = np.stack([render(girl, number / 24, 128) for number, girl in enumerate(girls)])
    asked = [want for _, want in other_prompts("girl", 24)]
    figures = count_right(load_judge(), images, asked)
    for head in ("hair", "eyes", "background", "kind"):
        assert figures[head]["share"] > 0.9, head
    assert figures["animal ears"] == {**figures["animal ears"], "right": 0, "of": 24}
    assert figures["hair"]["of"] == sum("hair" in want for want in asked)
    assert sum(label["of"] for label in figures["hair"]["labels"].values()) == figures["hair"]["of"]
    mixed = count_right(load_judge(), images[::-1].copy(), asked)
    assert mixed["hair"]["share"] < 0.5


def test_a_picture_depends_on_its_seed_not_on_its_batch(tiny_base: Path) -> None:
    pipe = load_pipeline(tiny_base, PLAIN)
    texts = ["1girl, blue hair", "1boy", "no humans, red star"]
    together = draw(pipe, texts, PLAIN, 2, 4.0)
    apart = draw(pipe, texts, PLAIN, 2, 4.0, batch=2)
    assert together.shape == (3, 128, 128, 3)
    assert int(np.abs(together.astype(int) - apart.astype(int)).max()) <= 1
    other = draw(pipe, texts, PLAIN, 2, 4.0, seed=5)
    assert int(np.abs(together.astype(int) - other.astype(int)).max()) > 1


def test_all_figures_stand_in_the_table(tiny_base: Path) -> None:
    settings = Settings(count=3, kinds=("girl", "no humans"), steps=(1, 2), batch=4, renders=3)
    figures = evaluate(tiny_base, settings, PLAIN)
    assert list(figures["steps"]) == ["1", "2"]
    assert figures["prompts"] == 6
    assert 0 < figures["psnr"] <= figures["psnr a picture"] < 40
    text = table(figures)
    for word in (*HEADS, "animal ears", "seconds alone", "1 steps", "2 steps", ">= 90%", "<= 1%", "dB"):
        assert word in text
    assert figures["steps"]["1"]["hair"]["of"] == 3  # things have no hair
    assert figures["steps"]["1"]["animal ears"]["of"] == 6


def test_figures_say_of_what_they_are_and_all_of_them_are_of_that(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts and noise of the seeds asked for; the seconds of one picture alone were of another guidance."""
    drawn = []

    def remember(pipe: Any, prompts: list[str], *given: Any, **named: Any) -> NDArray[np.uint8]:
        call = inspect.signature(draw).bind(pipe, prompts, *given, **named).arguments
        drawn.append((tuple(prompts), call.get("seed"), call["rescale"]))
        return np.zeros((len(prompts), 128, 128, 3), np.uint8)

    monkeypatch.setattr("pretrain.evaluate.draw", remember)
    figures = evaluate(tiny_base, Settings(count=2, steps=(1,), rescale=0.7, prompt_seed=4, seed=9, renders=1), PLAIN)
    texts = tuple(text for text, _ in other_prompts("girl", 2, 4))
    assert drawn == [(texts, 9, 0.7), (texts[:1], None, 0.7), (texts[:1], None, 0.7)]
    assert (figures["prompt_seed"], figures["seed"], figures["rescale"]) == (4, 9, 0.7)
    assert figures["sampler"] == "DPMSolverMultistepScheduler"
    assert figures["base_sha256"] == weights_hash(tiny_base)
    assert "DPMSolverMultistepScheduler, prompt seed 4" in table(figures)
    assert Settings().prompt_seed == PUBLISHED_SEED != CHOOSING_SEED


def test_a_sheet_has_every_picture_in_its_place() -> None:
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 4, 3), np.uint8)
    sheet = contact_sheet(images, columns=2)
    assert sheet.shape == (4, 8, 3)
    assert (sheet[:2, 4:] == 1).all()
    assert (sheet[2:, :4] == 2).all()
    assert (sheet[2:, 4:] == 255).all()
    assert torch.equal(torch.from_numpy(sheet[:2, :4]), torch.zeros(2, 4, 3, dtype=torch.uint8))
