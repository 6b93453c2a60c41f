"""Whatever else happens between its turns, each job's result is bit-equal to running it alone (hypothesis)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load

from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.dataset.examples import Example
from lora_studio.engine.arbiter import Arbiter, Outcome, Running
from lora_studio.generate import generate
from lora_studio.pipeline import ModelCall, NeedPreview, Report, SharedBase
from lora_studio.train import Controls, MemoryCache, train
from lora_studio.types import AdapterWeight, GenerateRequest, TrainConfig
from tests.support.tiny import load_tiny, random_adapter, write_tiny_base

WITH_WORD = 6
TRAININGS = (0, 1, WITH_WORD)


@dataclass
class Desk:
    """A performer on a tiny base, and the adapters that jobs may name."""

    base: SharedBase
    adapters: dict[str, CanonicalAdapter]

    def predict(self, call: ModelCall) -> torch.Tensor:
        return self.base.predict(call)

    def publish(self, job: Running, report: Report) -> None:
        return

    def preview(self, want: NeedPreview) -> Generator[Any, Any, Any]:
        return generate(self.base, want.requests, self.adapters.__getitem__, live=want.live)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    base = load_tiny(write_tiny_base(tmp_path_factory.mktemp("tiny"), "v_prediction", zero_snr=True))
    return Desk(base, {f"random-{seed}": random_adapter(base, seed) for seed in range(3)})


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder, rng, found = tmp_path_factory.mktemp("set"), np.random.default_rng(0), []
    for number in range(3):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
        found.append(Example(path, str(number), f"cat ears, number {number}"))
    return found


def open_job(desk: Desk, examples: list[Example], kind: int) -> Generator[Any, Any, Any]:
    """One of seven jobs: three trainings (with previews, without, and with a word that learns), four pictures with
    other mixes and samplers."""
    if kind in TRAININGS:
        config = TrainConfig(
            name="x",
            dataset="x",
            steps=4,
            rank=2,
            batch_size=2,
            seed=kind,
            preview_every=2 * (kind % 5),
            checkpoint_every=2,
            learning_rate=1e-2,
            embedding="cat" if kind == WITH_WORD else "",
            embedding_rate=1e-2,
        )
        return train(desk.base, examples, config, Controls(cache=MemoryCache()))
    mix = [(), (("random-0", 0.8),), (("random-0", 0.3), ("random-1", -0.6)), (("random-2", 1.5),)][kind - 2]
    wanted = GenerateRequest(
        prompt=f"1girl {kind}",
        width=32,
        height=32,
        num_inference_steps=3,
        guidance_scale=4.0,
        sampler=["dpmpp_2m", "euler_a", "ddim", "dpmpp_2m_karras"][kind - 2],
        seed=kind,
        adapters=tuple(AdapterWeight(key, key, weight) for key, weight in mix),
    )
    return generate(desk.base, [wanted], desk.adapters.__getitem__)


def result_of(outcome: Outcome) -> Any:
    """What must be equal: a file's tensors, or a picture's bytes."""
    assert outcome.state == "done", outcome.error
    value = outcome.value
    if isinstance(value, list):
        return [picture.png for picture in value]
    return {name: tensor.numpy().tobytes() for name, tensor in load(value.file).items()}


@pytest.fixture(scope="module")
def alone(desk: Desk, examples: list[Example]) -> list[Any]:
    found = []
    for kind in range(7):
        arbiter = Arbiter(desk)
        arbiter.add(Running("only", "ann", "generate", [open_job(desk, examples, kind)]))
        outcome = None
        while outcome is None:
            outcome = arbiter.turn()
        found.append(result_of(outcome))
    return found


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["ann", "bob"]), st.booleans()), min_size=2, max_size=6),
    st.lists(st.integers(0, 40), max_size=6),
)
def test_any_order_leaves_every_job_as_if_alone(
    desk: Desk,
    examples: list[Example],
    alone: list[Any],
    jobs: list[tuple[int, str, bool]],
    disturbances: list[int],
) -> None:
    """Jobs of two users, some of them cancelled on the way; at random turns joined adapters are dropped, another
    adapter is read, and the global random state is moved."""
    clock = iter(range(10**9))
    arbiter = Arbiter(desk, lambda: float(next(clock)))
    for number, (kind, owner, _) in enumerate(jobs):
        job_kind = "train" if kind in TRAININGS else "generate"
        arbiter.add(Running(str(number), owner, job_kind, [open_job(desk, examples, kind)]))
    outcomes: dict[str, Outcome] = {}
    turn = 0
    while arbiter.running:
        if turn in disturbances:
            desk.base.slots.forget()
            torch.manual_seed(turn)
            random_adapter(desk.base, turn)
            victims = [job for job in arbiter.running if jobs[int(job.id)][2]]
            if victims:
                victims[0].cancelled = True
        outcome = arbiter.turn()
        if outcome is not None:
            outcomes[outcome.job.id] = outcome
        turn += 1
    assert len(outcomes) == len(jobs)
    for number, (kind, _, may_end) in enumerate(jobs):
        outcome = outcomes[str(number)]
        if outcome.state == "cancelled":
            assert may_end
        else:
            assert result_of(outcome) == alone[kind]
