"""The text encoder alone: what it must name, that it learns it near to the base, that it resumes, its export."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("skia")

from transformers import CLIPTextModel, CLIPTokenizer

from pretrain import checkpoint
from pretrain.export import export
from pretrain.machine import Machine
from pretrain.pictures import PictureSet
from pretrain.text import TextJob, train
from pretrain.text.job import tokens_of_tag
from tests.pretrain.conftest import ASSETS, RecipeOf, assert_equal

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = Machine("cpu", False, False)


def test_every_place_names_its_tag_so_far_and_the_comma_all_of_it() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(ASSETS / "tokenizer")
    texts = ["light brown hair, blue eyes", "smile"]
    ids = tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt").input_ids
    comma = tokenizer(",", add_special_tokens=False).input_ids[0]
    wanted, places = tokens_of_tag(ids, comma, tokenizer.bos_token_id, tokenizer.eos_token_id, len(tokenizer))
    named = [set(tokenizer.convert_ids_to_tokens(row.nonzero().flatten().tolist())) for row in wanted]
    hair = {"light</w>", "brown</w>", "hair</w>"}
    assert places.sum(1).tolist() == [6, 1]
    assert named[:3] == [{"light</w>"}, {"light</w>", "brown</w>"}, hair]
    assert named[3:] == [hair, {"blue</w>"}, {"blue</w>", "eyes</w>"}, {"smile</w>"}]


@pytest.mark.slow
def test_it_learns_and_goes_on_where_it_was_stopped(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    recipe = recipe_of("text.steps=60", "text.batch=4", "text.optimizer.warmup=1", "text.cadence.log_seconds=0")
    whole = [step.loss for step in train(recipe, drawn, tmp_path / "whole")]
    assert sum(whole[-5:]) < 0.6 * sum(whole[:5])
    first = [step.loss for step in train(recipe, drawn, tmp_path / "parts", iter([None, None, 0.0]).__next__)]
    rest = [step.loss for step in train(recipe, drawn, tmp_path / "parts")]
    assert len(first) == 3
    assert first + rest == whole
    assert_equal(tmp_path / "parts", tmp_path / "whole")


def test_the_anchor_keeps_it_near_to_the_base(drawn: Path, recipe_of: RecipeOf) -> None:
    """At first the distance is nothing; without words to name, an anchored encoder would stay."""
    recipe = recipe_of("text.batch=4")
    job = TextJob(recipe, PictureSet(drawn, recipe.pictures), PLAIN)
    batch = next(job.batches(0))
    job.loss(batch, 0)
    assert job.figures()["distance"] == 0
    with torch.no_grad():
        for p in job.modules()["text_encoder"].parameters():
            p.add_(0.5)
    job.loss(batch, 0)
    assert job.figures()["distance"] > 0.1


def test_its_export_is_a_base_with_that_text_encoder(
    drawn: Path, recipe_of: RecipeOf, tiny_base: Path, tmp_path: Path
) -> None:
    recipe = recipe_of("text.steps=2", "text.batch=4")
    for _ in train(recipe, drawn, tmp_path / "text"):
        pass
    assert export(tmp_path / "base", tiny_base, text=tmp_path / "text") == {"text": 2}
    state = checkpoint.load(tmp_path / "text")
    assert state is not None
    names = state["trained"]["text_encoder"]
    average = dict(zip(names, state["average"], strict=False))
    written = CLIPTextModel.from_pretrained(tmp_path / "base" / "text_encoder").state_dict()
    for name, value in average.items():
        assert torch.equal(written[name], value.half()), name
    with pytest.raises(ValueError, match="brings its own text encoder"):
        export(tmp_path / "base", tiny_base, diffusion=tmp_path / "text", text=tmp_path / "text")


def test_a_run_keeps_its_captions_and_sizes(drawn: Path, recipe_of: RecipeOf, tmp_path: Path) -> None:
    """They stand in the diffusion's section, and a training of the text alone went on with others without a word."""
    for _ in train(recipe_of("text.steps=1", "text.batch=4"), drawn, tmp_path):
        pass
    more = ("text.steps=2", "text.batch=4")
    for change, told in (
        ("diffusion.captions.few=0.3", r"other values of diffusion\.captions\.few; a run keeps its recipe"),
        ("diffusion.text_encoder.layers=2", r"diffusion\.text_encoder\.layers; what is trained cannot change"),
    ):
        with pytest.raises(ValueError, match=told):
            next(train(recipe_of(*more, change), drawn, tmp_path))
    assert [step.number for step in train(recipe_of(*more, "diffusion.floor=1"), drawn, tmp_path)] == [2]


def test_another_width_is_refused(drawn: Path, recipe_of: RecipeOf) -> None:
    recipe = recipe_of("diffusion.text_encoder.width=32")
    with pytest.raises(ValueError, match="of width 32 and the base's has 16"):
        TextJob(recipe, PictureSet(drawn, recipe.pictures), PLAIN)
