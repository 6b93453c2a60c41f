"""The prompts and the noise of a trial reach every picture that is counted, and its result says which they were."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("skia")

from benchmarks import effect, long_prompts, samplers
from benchmarks.trial import Trial, add_options, trial_of
from pretrain.judge import Judge, load_judge
from pretrain.prompts import combined_prompts, effect_prompts, other_prompts
from pretrain.seeds import CHOOSING_NOISE, CHOOSING_SEED, PUBLISHED_NOISE, PUBLISHED_SEED

TRIAL = Trial(count=6, prompt_seed=3, noise_seed=77)


class Drawn:
    """Draws nothing and remembers what it was asked."""

    def __init__(self) -> None:
        defaults = SimpleNamespace(sampler="euler_a")
        self.base = SimpleNamespace(info=SimpleNamespace(sha256="0" * 64, defaults=defaults))
        self.asked: list[tuple[str, ...]] = []
        self.seeds: set[int] = set()

    def read(self, path: object) -> object:
        return path

    def draw(self, prompts: Sequence[str], mix: Any = (), seed: int = 1000, **changes: Any) -> NDArray[np.uint8]:
        self.asked.append(tuple(prompts))
        self.seeds.add(seed)
        return np.zeros((len(prompts), 128, 128, 3), np.uint8)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return load_judge()


def test_what_is_claimed_is_not_measured_on_what_was_chosen_by() -> None:
    usual = Trial()
    assert (usual.prompt_seed, usual.noise_seed) == (PUBLISHED_SEED, PUBLISHED_NOISE)
    assert usual.prompt_seed != CHOOSING_SEED
    assert abs(usual.noise_seed - CHOOSING_NOISE) > 1000  # picture i takes seed + i
    for kind in ("girl", "boy", "no humans"):
        one, other = (set(dict(other_prompts(kind, seed=seed))) for seed in (CHOOSING_SEED, PUBLISHED_SEED))
        assert len(one & other) <= 1


def test_a_command_takes_a_trial() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    assert trial_of(parser.parse_args([])) == Trial()
    given = ["--count", "6", "--prompt-seed", "3", "--noise-seed", "77"]
    assert trial_of(parser.parse_args(given)) == TRIAL


@pytest.mark.parametrize("benchmark", [samplers, long_prompts])
def test_accuracy_is_of_the_trials_prompts(benchmark: Any, judge: Judge) -> None:
    studio = Drawn()
    figures = benchmark.measure(studio, judge, TRIAL)
    assert {name: figures[name] for name in ("count", "prompt_seed", "noise_seed")} == TRIAL.as_dict()
    assert studio.asked[0] == tuple(text for text, _ in other_prompts("girl", 6, 3))
    assert studio.seeds == {77}


def test_effects_are_of_the_trials_prompts(judge: Judge) -> None:
    studio = Drawn()
    figures = effect.measure_samples(studio, judge, TRIAL)  # type: ignore[arg-type]
    assert {name: figures[name] for name in ("count", "prompt_seed", "noise_seed")} == TRIAL.as_dict()
    assert studio.seeds == {77}
    words = ("cat ears", "papercut style", "miko tsuki")
    wanted = {tuple(one[place] for one in effect_prompts(word, 6, 3)) for word in words for place in (0, 1)}
    wanted |= {tuple(text for text, _ in other_prompts(kind, 6, 3)) for kind in ("boy", "no humans")}
    wanted.add(tuple(one[0] for one in combined_prompts("cat ears", "papercut style", 6, 3)))
    assert set(studio.asked) <= wanted
    assert len(set(studio.asked)) == 8
