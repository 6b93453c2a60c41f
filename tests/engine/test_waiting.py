"""In which order jobs begin: one owner's pictures, changes of base, and what names a base."""

from __future__ import annotations

from typing import Any

from lora_studio.engine.arbiter import Running
from lora_studio.engine.waiting import Waiting, named_base
from lora_studio.types import JobKind, JobSpec

HERE, THERE = "a" * 64, "b" * 64


def spec(job_id: str, kind: JobKind = "generate", owner: str = "ann", base: str = "") -> JobSpec:
    payload: dict[str, Any] = {"request": {"prompt": "x", "base": base}}
    if kind == "train":
        payload = {"config": {"base": base}}
    if kind == "load_base":
        payload = {"base": base or "other"}
    return JobSpec(job_id, kind, owner, payload)


class Desk:
    """Jobs that wait and run; what begins is noted."""

    def __init__(self, base: str = HERE) -> None:
        self.waiting = Waiting()
        self.running: list[Running] = []
        self.base = base

    def ask(self, *specs: JobSpec) -> None:
        for one in specs:
            self.waiting.add(one, self.running)

    def begin(self) -> list[str]:
        """Begin what may, as the worker does."""
        begun = []
        while (one := self.waiting.take(self.running, self.base)) is not None:
            begun.append(one.id)
            if one.kind != "load_base":
                self.running.append(Running(one.id, one.owner, one.kind, []))
        return begun

    def end(self, job_id: str) -> list[str]:
        """End a job; what begins then."""
        self.running = [job for job in self.running if job.id != job_id]
        return self.begin()


def test_one_owners_pictures_wait_for_each_other_and_nothing_else_does() -> None:
    desk = Desk()
    desk.ask(spec("1"), spec("2"), spec("3", owner="bob"), spec("t", "train"), spec("i", "import_adapter"), spec("4"))
    assert desk.begin() == ["1", "3", "t", "i"]
    assert desk.end("3") == []
    assert desk.end("1") == ["2"]
    assert desk.end("2") == ["4"]


def test_a_change_of_base_waits_for_all_before_it() -> None:
    """For a picture too that waits for another one of its owner."""
    desk = Desk()
    desk.ask(spec("1"), spec("2"), spec("change", "load_base"), spec("3", owner="bob"))
    assert desk.begin() == ["1"]
    assert desk.waiting.loading == "other"
    assert desk.end("1") == ["2"]
    assert desk.end("2") == ["change", "3"]
    assert desk.waiting.loading is None


def test_what_names_the_loaded_base_goes_before_the_change() -> None:
    desk = Desk()
    desk.ask(spec("long", "train", "ann"), spec("change", "load_base", "bob"))
    desk.begin()
    desk.ask(spec("old", owner="carl", base=HERE), spec("new", owner="carl", base=THERE), spec("any", owner="dora"))
    desk.ask(spec("old too", "train", "dora", HERE))
    assert desk.begin() == ["old", "old too"]
    assert desk.end("long") == []
    desk.ask(spec("late", owner="ella", base=HERE))
    assert desk.begin() == [], "those from before the change have ended: it comes next, whatever is asked for"
    assert desk.end("old") == []
    assert desk.end("old too") == ["change", "new", "any", "late"]


def test_what_is_let_through_keeps_its_owners_order() -> None:
    desk = Desk()
    desk.ask(spec("long", "train", "ann"), spec("change", "load_base", "bob"))
    desk.ask(spec("1", owner="carl", base=HERE), spec("2", owner="carl", base=HERE))
    assert desk.begin() == ["long", "1"]
    assert desk.end("1") == ["2"]


def test_a_change_that_is_taken_back_holds_nobody_up() -> None:
    desk = Desk()
    desk.ask(spec("long", "train", "ann"), spec("change", "load_base", "bob"), spec("any", owner="carl"))
    assert desk.begin() == ["long"]
    desk.waiting.drop("change")
    assert desk.begin() == ["any"]


def test_what_is_held_comes_with_its_base() -> None:
    desk = Desk()
    for one in (spec("1", base=THERE), spec("2", base=THERE), spec("3", "train", base="c" * 64)):
        desk.waiting.hold(one)
    desk.waiting.drop("2")
    assert (desk.begin(), len(desk.waiting)) == ([], 0)
    assert [one.id for one in desk.waiting.release(THERE)] == ["1"]
    assert desk.waiting.release(THERE) == []


def test_only_pictures_and_trainings_name_a_base() -> None:
    """The `base` of a change of base, or of the workbench, is no sha256 that anything is compared with."""
    assert named_base(spec("1", base=HERE)) == named_base(spec("2", "train", base=HERE)) == HERE
    assert named_base(spec("3", "load_base", base=HERE)) == named_base(spec("4")) == ""
