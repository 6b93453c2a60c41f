"""The loop of any training: what a checkpoint gives back, when it is written, what may change, when a call ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pretrain import checkpoint
from pretrain.machine import Machine
from pretrain.recipe import Cadence, Optimizer, load_recipe
from pretrain.resume import check_base, check_same, chosen, tell_threads
from pretrain.trainer import Trainer, run_job

pytestmark = pytest.mark.usefixtures("one_thread")
PLAIN = Machine("cpu", False, False)
RECIPE = Optimizer(weight_decay=0.5, iterations=5, warmup=1)


class Line:
    """A job of one small matrix, for what the loop does beside learning."""

    name = "line"
    batch = 2

    def __init__(self, steps: int = 3, sheet_steps: int = 0, fails: bool = False) -> None:
        self.steps, self.optimizer = steps, RECIPE
        self.cadence = Cadence(log_seconds=0, sheet_steps=sheet_steps)
        self._fails = fails
        torch.manual_seed(0)
        self._model = nn.Linear(4, 3)
        self.drawn: list[str] = []

    def modules(self) -> dict[str, nn.Module]:
        return {"model": self._model}

    def rates(self) -> dict[str, float]:
        return {}

    def batches(self, first: int) -> Iterator[Any]:
        yield from range(first, self.steps)

    def loss(self, batch: Any, step: int) -> Tensor:
        out: Tensor = self._model(torch.ones(2, 4) * (step + 1))
        return out.square().mean()

    def figures(self) -> dict[str, float]:
        return {}

    def identity(self) -> dict[str, Any]:
        return {"kind": self.name, "encoder": ""}

    def sheet(self, path: Path) -> None:
        if self._fails:
            raise OSError("no space left on device")
        self.drawn.append(path.name)

    def keep(self, path: Path) -> None:
        """Nothing."""


def _trainer(recipe: Optimizer, steps: int) -> Trainer:
    """A trainer that has made some steps."""
    job = Line()
    trainer = Trainer(job.modules(), recipe, 10, {}, PLAIN)
    for step in range(steps):
        trainer.update(job.loss(step, step))
    return trainer


# ---------------------------------------------------------------- checkpoints
def test_a_checkpoint_gives_the_optimizers_back_and_the_recipe_their_settings() -> None:
    """Weight decay, iterations and the fused AdamW were the checkpoint's for ever, whatever the recipe said."""
    old = _trainer(RECIPE, 2).state_dict()
    for saved in old["optimizers"]:
        for group in saved["param_groups"]:
            group.pop("fused", None)  # as a checkpoint of the time before has it
    new = _trainer(replace(RECIPE, weight_decay=0.01, iterations=3, muon_rate=0.3), 0)
    new.load_state_dict(old)
    muon, adam = new.optimizers
    assert (muon.param_groups[0]["weight_decay"], muon.param_groups[0]["iterations"]) == (0.01, 3)
    assert muon.param_groups[0]["rate"] == 0.3
    assert adam.param_groups[0]["fused"] is True
    for mine, saved in zip(new.optimizers, old["optimizers"], strict=True):
        for found, wanted in zip(mine.state_dict()["state"].values(), saved["state"].values(), strict=True):
            assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert new.step == 2
    before = [p.detach().clone() for p in new.parameters]
    new.update(sum((p.square().sum() for p in new.parameters), torch.zeros(())))
    assert all(not torch.equal(a, b) for a, b in zip(before, new.parameters, strict=True))


def test_a_checkpoint_is_written_before_the_sheet_is_drawn(tmp_path: Path) -> None:
    """A sheet takes seconds in which a supervisor may kill, and may fail; the steps before it were lost with it."""
    job = Line(steps=3, sheet_steps=3, fails=True)
    with pytest.raises(OSError, match="no space"):
        list(run_job(job, tmp_path, {}, PLAIN))
    state = checkpoint.load(tmp_path)
    assert state is not None
    assert state["step"] == 3
    assert state["samples"] == 6
    stopped = Line(steps=9, sheet_steps=100)
    assert len(list(run_job(stopped, tmp_path / "stopped", {}, PLAIN, stop=lambda: 0.0))) == 1
    assert stopped.drawn == ["step-0000001.png"]


def test_another_number_of_threads_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    list(run_job(Line(), tmp_path, {}, PLAIN))
    state = checkpoint.load(tmp_path)
    assert state is not None
    assert state["threads"] == torch.get_num_threads() == 1
    capsys.readouterr()
    tell_threads(state, PLAIN)
    tell_threads({}, PLAIN)  # a checkpoint of the time before
    assert capsys.readouterr().out == ""
    tell_threads({**state, "threads": 2}, PLAIN)
    assert "made with 2 threads and this call has 1" in capsys.readouterr().out


# ---------------------------------------------------------------- what may change
def test_what_a_training_reads_is_named_by_sections_and_settings() -> None:
    recipe = load_recipe()
    table = chosen(recipe, ("text", "diffusion.text_encoder.layers", "diffusion.captions"))
    assert set(table) == {"base", "device", "numbers", "pictures", "text", "diffusion"}
    assert set(table["diffusion"]) == {"text_encoder", "captions"}
    assert table["diffusion"]["text_encoder"] == {"layers": 3}
    assert table["diffusion"]["captions"]["long"] == recipe.diffusion.captions.long


def test_changes_are_noted_with_their_step_and_both_values() -> None:
    old = chosen(load_recipe(), ("diffusion",))
    new = chosen(load_recipe(changes=["diffusion.optimizer.decay=0.25", "diffusion.steps=9"]), ("diffusion",))
    state = {"step": 70, "recipe": old}
    assert check_same(state, old, False) == []
    with pytest.raises(ValueError, match=r"other values of diffusion\.optimizer\.decay; a run keeps"):
        check_same(state, new, False)
    values = {"diffusion.optimizer.decay": [0.5, 0.25], "diffusion.steps": [40_000, 9]}
    assert check_same(state, new, True) == [{"step": 70, "values": values}]


@pytest.mark.parametrize("change", ["reader.widths=[8, 16]", "reader.least=5"])
def test_sizes_of_a_reader_cannot_change(change: str) -> None:
    """The refusal recommended --accept-changes, which then ended in torch's own words."""
    state = {"step": 1, "recipe": chosen(load_recipe(), ("reader",))}
    with pytest.raises(ValueError, match="what is trained cannot change within a run"):
        check_same(state, chosen(load_recipe(changes=[change]), ("reader",)), True)


def test_a_section_that_an_old_checkpoint_has_not_is_not_compared() -> None:
    state = {"step": 1, "recipe": chosen(load_recipe(), ("text",))}
    names = ("text", "diffusion.captions")
    assert check_same(state, chosen(load_recipe(changes=["diffusion.captions.few=0.3"]), names), False) == []


@pytest.mark.parametrize("key", ["encoder", "tokenizer", "schedule"])
def test_another_base_is_refused_even_if_changes_are_accepted(key: str) -> None:
    state = {"step": 1, "identity": {"encoder": "a", "tokenizer": "a", "schedule": {"beta_start": 0.1}}}
    other = {**state["identity"], key: "b"}  # type: ignore[dict-item]
    check_base(Path("run"), state, state["identity"], "base", False)  # type: ignore[arg-type]
    check_base(Path("run"), {"step": 1, "identity": {}}, other, "base", False)  # it does not tell
    with pytest.raises(ValueError, match="give it the base that it began with"):
        check_base(Path("run"), state, other, "base", True)


def test_another_reader_is_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    state = {"step": 5, "identity": {"reader": "a" * 64}}
    with pytest.raises(ValueError, match="another reader"):
        check_base(Path("run"), state, {"reader": "b" * 64}, "base", False)
    check_base(Path("run"), state, {"reader": ""}, "base", False)
    check_base(Path("run"), state, {"reader": "b" * 64}, "base", True)
    assert "from step 5 on with the reader bbbbbbbbbbbb" in capsys.readouterr().out
