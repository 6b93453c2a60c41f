"""Long prompts of pre-training: their layout is the tokenizer's, nothing of a caption is lost, weights are A1111's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("skia")

from transformers import CLIPTokenizer

from benchmarks.long_prompts import AROUND, AVOID
from lora_studio.pipeline.emphasis import multiplied
from pretrain.diffusion import DiffusionJob
from pretrain.diffusion.captions import TagTokens
from pretrain.diffusion.clutter import STRAY, chunk_count, long_prompt, stray_words, weighted
from pretrain.diffusion.job import Batch
from pretrain.machine import Machine
from pretrain.painter.held_out import HELD_OUT_WORDS
from pretrain.pictures import PictureSet
from pretrain.recipe import Captions
from tests.pretrain.conftest import ASSETS, RecipeOf

pytestmark = pytest.mark.usefixtures("one_thread")
TAGS = ["comic style", "1girl", "blue hair", "long_hair", "red dress"]
KNOWN = [word["tag"] for word in json.loads((ASSETS / "words.json").read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(ASSETS / "tokenizer")


@pytest.fixture(scope="module")
def strays() -> list[str]:
    return stray_words([*KNOWN, *TAGS])


@pytest.fixture(scope="module")
def tokens(tokenizer: CLIPTokenizer, strays: list[str]) -> TagTokens:
    return TagTokens(tokenizer, [", ".join(TAGS)], strays)


def _segments(row: list[int], tokens: TagTokens, tokenizer: CLIPTokenizer) -> list[tuple[int, ...]]:
    """The tokens of every word of a chunk."""
    found: list[tuple[int, ...]] = []
    word: list[int] = []
    for number in row[1 : row.index(tokenizer.eos_token_id)]:
        if [number] == tokens.tag(","):
            found.append(tuple(word))
            word = []
        else:
            word.append(number)
    assert not word  # every word ends with its comma, so none is divided
    return found


def test_stray_words_are_none_of_the_bases_and_none_that_loras_teach(strays: list[str]) -> None:
    assert len(strays) > 250
    assert not set(strays) & set(KNOWN)
    assert not {part for word in STRAY for part in word.split()} & HELD_OUT_WORDS


def test_no_phrase_that_measures_long_prompts_is_one_that_taught_them() -> None:
    """Whole phrases: most of their words stand in taught phrases too, and the texts say so."""
    avoided = re.sub(r"[()\[\]]|:[\d.]+", "", AVOID).split(", ")
    assert len(avoided) > 20
    assert not {*AROUND, *avoided} & {*STRAY, *KNOWN}


@pytest.mark.parametrize("chunks", [1, 2, 3, 4])
def test_every_tag_stands_whole_and_in_its_order_among_strays(
    chunks: int, tokens: TagTokens, tokenizer: CLIPTokenizer, strays: list[str]
) -> None:
    mine = [tuple(tokens.tag(tag)) for tag in TAGS]
    others = {tuple(tokens.tag(word)) for word in strays}
    lengths = set()
    for seed in range(40):
        prompt = long_prompt(TAGS, strays, chunks, tokens, np.random.default_rng(seed), Captions(long=1.0))
        assert [len(row) for row in prompt.ids] == [77] * chunks
        words = [word for row in prompt.ids for word in _segments(row, tokens, tokenizer)]
        assert [word for word in words if word not in others] == mine
        lengths.add(len(words))
    assert len(lengths) > 5


def test_a_chunk_is_what_the_tokenizer_gives_for_its_text(
    tokens: TagTokens, tokenizer: CLIPTokenizer, strays: list[str]
) -> None:
    prompt = long_prompt(TAGS, strays, 1, tokens, np.random.default_rng(3), Captions(long=1.0))
    text = tokenizer.decode(prompt.ids[0], skip_special_tokens=True)
    assert prompt.ids[0] == tokenizer(text, padding="max_length").input_ids


def test_weights_lie_on_whole_words_within_their_bounds(
    tokens: TagTokens, tokenizer: CLIPTokenizer, strays: list[str]
) -> None:
    recipe = Captions(long=1.0, weighted=0.5, heaviest=1.4)
    seen = []
    for seed in range(60):
        prompt = long_prompt(TAGS, strays, 2, tokens, np.random.default_rng(seed), recipe)
        for row, weights in zip(prompt.ids, prompt.weights, strict=True):
            assert len(weights) == 77
            place = 1
            for word in _segments(row, tokens, tokenizer):
                given = set(weights[place : place + len(word)])
                assert len(given) == 1
                seen += given
                assert weights[place + len(word)] == 1.0  # the comma
                place += len(word) + 1
            assert set(weights[place:]) == {1.0} == {weights[0]}
    heavy = [weight for weight in seen if weight != 1.0]
    assert len(heavy) / len(seen) == pytest.approx(0.5, abs=0.06)
    assert 0.6 <= min(heavy) < 0.95 < 1.05 < max(heavy) <= 1.4


def test_half_of_the_prompts_without_a_tag_are_empty_and_half_are_strays_alone(
    tokens: TagTokens, tokenizer: CLIPTokenizer, strays: list[str]
) -> None:
    empty = 0
    for seed in range(200):
        prompt = long_prompt([], strays, 3, tokens, np.random.default_rng(seed), Captions(long=1.0))
        empty += not any(_segments(row, tokens, tokenizer) for row in prompt.ids)
    assert empty == pytest.approx(100, abs=30)


def test_the_share_of_long_steps_and_their_chunks() -> None:
    counts = [chunk_count(np.random.default_rng(k), Captions(long=0.4, chunks=3)) for k in range(1000)]
    assert sum(count > 0 for count in counts) == pytest.approx(400, abs=60)
    assert set(counts) == {0, 1, 2, 3}
    assert not any(chunk_count(np.random.default_rng(k), Captions()) for k in range(100))


def test_weights_do_what_the_prompt_language_does() -> None:
    source = torch.Generator().manual_seed(1)
    states = torch.randn(3, 77, 8, generator=source) + 0.5
    weights = torch.ones(3, 77)
    weights[:, 3:9] = 1.4
    weights[0, 20:30] = 0.7
    for mine, z, w in zip(weighted(states, weights), states, weights, strict=True):
        torch.testing.assert_close(mine, multiplied(z, w, restore_mean=True))


def test_a_mean_next_to_nothing_is_not_restored() -> None:
    states = torch.randn(1, 77, 8, generator=torch.Generator().manual_seed(2))
    states -= states.mean()
    weights = torch.ones(1, 77)
    weights[:, 1:9] = 1.5
    torch.testing.assert_close(weighted(states, weights), states * weights[..., None])


def test_chunks_are_read_each_alone_and_stand_in_a_row(drawn: Path, recipe_of: RecipeOf) -> None:
    recipe = recipe_of("diffusion.captions.long=1", "diffusion.captions.chunks=3", "diffusion.captions.weighted=0")
    job = DiffusionJob(recipe, PictureSet(drawn, recipe.pictures), Machine("cpu", False, False))
    batch = next(one for one in job.batches(0) if one.ids.ndim == 3 and one.ids.shape[1] > 1)
    with torch.no_grad():
        found = job._conditioning(batch)
        words = job.modules()["text_encoder"]
        apart = torch.cat([words(batch.ids[:, k])[0] for k in range(batch.ids.shape[1])], 1)
    torch.testing.assert_close(found, apart, rtol=1e-5, atol=1e-5)
    assert torch.isfinite(job.loss(batch, 0))


def test_a_chunk_that_several_prompts_have_is_read_once(drawn: Path, recipe_of: RecipeOf) -> None:
    """States and gradients are those of reading every chunk by itself."""
    recipe = recipe_of("diffusion.captions.long=1", "diffusion.captions.chunks=3")
    job = DiffusionJob(recipe, PictureSet(drawn, recipe.pictures), Machine("cpu", False, False))
    batch = next(one for one in job.batches(0) if one.ids.ndim == 3 and one.ids.shape[1] > 1)
    ids = batch.ids.clone()
    ids[1] = ids[0]
    ids[2, 1] = ids[0, 0]
    words = job.modules()["text_encoder"]
    parameters, rows = list(words.parameters()), ids.flatten(0, 1)
    read: list[int] = []
    hook = words.register_forward_pre_hook(lambda module, given: read.append(len(given[0])))
    found = job._conditioning(Batch(batch.indices, batch.mirrored, ids))
    hook.remove()
    assert read == [len({tuple(row) for row in rows.tolist()})]
    assert read[0] <= len(rows) - ids.shape[1] - 1
    apart = torch.stack([words(row[None])[0][0] for row in rows]).reshape(found.shape)
    torch.testing.assert_close(found, apart, rtol=1e-5, atol=1e-5)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
    mine, wanted = (torch.autograd.grad((states * weights).sum(), parameters) for states in (found, apart))
    for one, other in zip(mine, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_plain_steps_are_as_they_were(drawn: Path, recipe_of: RecipeOf) -> None:
    plain, mixed = (
        [
            one.ids
            for one in DiffusionJob(recipe, PictureSet(drawn, recipe.pictures), Machine("cpu", False, False)).batches(0)
        ]
        for recipe in (recipe_of(), recipe_of("diffusion.captions.long=0.5"))
    )
    kinds = {one.ndim for one in mixed}
    assert kinds == {2, 3}
    assert all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True) if b.ndim == 2)
