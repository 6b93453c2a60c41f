"""Shares and newcomers, on a virtual clock."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.engine.arbiter import COST_OF_A_SECOND, PAUSE, Arbiter, Running
from lora_studio.engine.fair import FairQueue
from lora_studio.pipeline.calls import ModelCall, Report, Turn, WaitElsewhere


class Clock:
    """Time that passes only when a job says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Nobody:
    """A performer for jobs that want nothing but turns."""

    def predict(self, call: ModelCall) -> None:
        raise AssertionError("no job here calls a model")

    def publish(self, job: Running, report: Report) -> None:
        return

    def preview(self, want: object) -> None:
        raise AssertionError("no job here wants a preview")


def worker(clock: Clock, cost: float, turns: int, log: list[str], name: str):
    for _ in range(turns):
        clock.now += cost
        log.append(name)
        yield Turn()


def run(arbiter: Arbiter, turns: int) -> None:
    for _ in range(turns):
        if arbiter.running:
            arbiter.turn()


def test_two_users_share_the_clock_within_ten_percent() -> None:
    """One user's turns are five times as long and she runs three jobs at once; both get half of the time."""
    clock, log = Clock(), []
    arbiter = Arbiter(Nobody(), clock)
    for job in range(3):
        arbiter.add(Running(f"a{job}", "ann", "generate", [worker(clock, 0.05, 10_000, log, "ann")]))
    arbiter.add(Running("b", "bob", "generate", [worker(clock, 0.01, 10_000, log, "bob")]))
    run(arbiter, 3000)
    count = Counter(log)
    ann, bob = count["ann"] * 0.05, count["bob"] * 0.01
    assert 0.9 <= ann / bob <= 1.1


def test_a_newcomer_is_served_within_one_round() -> None:
    """Plain "least served" let old debts starve a newcomer behind six jobs."""
    clock, log = Clock(), []
    arbiter = Arbiter(Nobody(), clock)
    for job in range(6):
        arbiter.add(Running(f"a{job}", "ann", "train", [worker(clock, 0.2, 10_000, log, "ann")]))
    run(arbiter, 500)
    log.clear()
    arbiter.add(Running("b", "bob", "generate", [worker(clock, 0.04, 50, log, "bob")]))
    run(arbiter, 2)
    assert "bob" in log


def test_a_training_gets_a_third_beside_pictures() -> None:
    clock, log = Clock(), []
    arbiter = Arbiter(Nobody(), clock)
    arbiter.add(Running("t", "ann", "train", [worker(clock, 0.2, 10_000, log, "train")]))
    arbiter.add(Running("g", "bob", "generate", [worker(clock, 0.04, 100_000, log, "picture")]))
    run(arbiter, 4000)
    count = Counter(log)
    train, picture = count["train"] * 0.2, count["picture"] * 0.04
    assert train / (train + picture) == pytest.approx(1 / (1 + COST_OF_A_SECOND["train"]), abs=0.02)


def test_leaving_and_returning_wipes_out_no_debt() -> None:
    """Whoever asks for many short things one after the other gets no more than whoever asks for one long thing."""
    queue: FairQueue[str] = FairQueue()
    served: Counter[str] = Counter()
    queue.join("steady")
    for _ in range(1000):
        queue.join("hopper")
        key = queue.pick()
        served[key] += 1
        queue.charge(key, 1.0)
        queue.leave("hopper")
    assert abs(served["steady"] - served["hopper"]) <= 2


def test_who_waits_for_something_else_takes_no_time_from_others() -> None:
    """A download slept through two thirds of a training's time, and was charged for it as for computing."""
    clock, log = Clock(), []
    asked: list[float] = []

    def download():
        while True:
            asked.append(clock.now)
            yield WaitElsewhere()

    arbiter = Arbiter(Nobody(), clock, clock.sleep)
    arbiter.add(Running("t", "ann", "train", [worker(clock, 0.2, 10_000, log, "train")]))
    arbiter.add(Running("d", "bob", "download_adapter", [download()]))
    arbiter.add(Running("e", "ann", "import_embedding", [download()]))
    run(arbiter, 900)
    assert len(log) * 0.2 > 0.99 * clock.now
    assert len(asked) > len(log), "and is asked all the same, between any two turns"
    training, first, _ = arbiter.running
    arbiter.remove(training)
    began, before = clock.now, len(asked)
    run(arbiter, 100)
    assert 49 * PAUSE <= clock.now - began <= 51 * PAUSE, "where all wait it sleeps"
    assert len(asked) - before == 100
    first.cancelled = True
    outcomes = [arbiter.turn() for _ in range(4)]
    assert [one.state for one in outcomes if one is not None] == ["cancelled"]


@given(st.lists(st.integers(1, 20), min_size=2, max_size=6), st.integers(0, 2**32))
def test_shares_are_fair_for_any_costs(costs: list[int], seed: int) -> None:
    """Between two flows that always have work, the difference of service never exceeds one turn of each."""
    queue: FairQueue[int] = FairQueue()
    rng = random.Random(seed)
    served = [0.0] * len(costs)
    for key in range(len(costs)):
        queue.join(key)
    for _ in range(300):
        key = queue.pick()
        cost = rng.uniform(0.5, 1.0) * costs[key]
        served[key] += cost
        queue.charge(key, cost)
    for a in range(len(costs)):
        for b in range(a):
            assert abs(served[a] - served[b]) <= costs[a] + costs[b] + 1e-6


def test_a_failure_stays_in_its_job() -> None:
    clock, log = Clock(), []
    arbiter = Arbiter(Nobody(), clock)

    def bad():
        yield Turn()
        raise MemoryError("no memory")

    arbiter.add(Running("bad", "ann", "generate", [bad()]))
    arbiter.add(Running("good", "ann", "generate", [worker(clock, 0.1, 5, log, "good")]))
    outcomes = []
    while arbiter.running:
        outcomes.append(arbiter.turn())
    ended = {o.job.id: o for o in outcomes if o}
    assert ended["bad"].state == "failed"
    assert isinstance(ended["bad"].error, MemoryError)
    assert ended["good"].state == "done"
    assert log == ["good"] * 5


def test_cancel_ends_before_the_next_turn() -> None:
    clock, log = Clock(), []
    arbiter = Arbiter(Nobody(), clock)
    job = Running("a", "ann", "generate", [worker(clock, 0.1, 5, log, "a")])
    arbiter.add(job)
    arbiter.turn()
    job.cancelled = True
    outcome = arbiter.turn()
    assert outcome is not None
    assert outcome.state == "cancelled"
    assert log == ["a"]
