"""Optimizers, rates and weight average of one training, and the loop that any training runs in.

The loop is a generator of finished steps. It resumes from the folder's checkpoint; a step depends on its number
alone, so a training that was stopped or killed ends as one that was not. It does not know what is trained: a `Job`
has the modules and says the loss.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pretrain import checkpoint, trainings
from pretrain.machine import Machine, choose
from pretrain.muon import Muon
from pretrain.progress import Clock, Log, Progress, Stop, Stopped, line, never
from pretrain.recipe import Cadence, Optimizer, Recipe
from pretrain.resume import check_base, check_same, chosen, tell_threads

NOT_FOR_MUON = ("embedding", "conv_in", "conv_out")


@dataclass(frozen=True)
class Step:
    """One finished step: its number from 1, the samples so far, its loss."""

    number: int
    samples: int
    loss: float


class Job(Protocol):
    """What is trained."""

    name: str
    steps: int
    batch: int
    optimizer: Optimizer
    cadence: Cadence

    def modules(self) -> dict[str, nn.Module]:
        """What is trained or averaged, by name."""

    def rates(self) -> dict[str, float]:
        """Factors on the rates by module; 1 where a module is not named."""

    def batches(self, first: int) -> Iterator[Any]:
        """What each step needs, from step number `first` (from 0) to the last."""

    def loss(self, batch: Any, step: int) -> Tensor:
        """The loss of one step, a scalar."""

    def figures(self) -> dict[str, float]:
        """Further figures of the last step for the log."""

    def identity(self) -> dict[str, Any]:
        """What export must know: configurations, hashes."""

    def sheet(self, path: Path) -> None:
        """Draws samples with the weights that the modules have now."""

    def keep(self, path: Path) -> None:
        """Writes a base folder with the weights that the modules have now."""


def suits_muon(name: str, parameter: Tensor) -> bool:
    """Matrices and kernels inside the network; embeddings and the outer convolutions go to AdamW."""
    return parameter.ndim in (2, 4) and not any(word in name for word in NOT_FOR_MUON)


def rate_factor(step: int, steps: int, recipe: Optimizer) -> float:
    """Share of the rate at a step (from 0): up over the warm-up, constant, then linear to `last`."""
    rise = min(1.0, (step + 1) / max(1, recipe.warmup))
    falling = round(steps * recipe.decay)
    left = (steps - step) / falling if falling else 1.0
    return rise * max(recipe.last, min(1.0, left))


class Trainer:
    """Parameters of the modules that ask for gradients, two optimizers, the average of the weights."""

    def __init__(
        self, modules: dict[str, nn.Module], recipe: Optimizer, steps: int, rates: dict[str, float], machine: Machine
    ) -> None:
        self.recipe, self.steps, self.step = recipe, steps, 0
        self._modules = modules
        named = [
            (module, name, p)
            for module, owner in modules.items()
            for name, p in owner.named_parameters()
            if p.requires_grad
        ]
        self.parameters: list[nn.Parameter] = [p for _, _, p in named]
        self.average = [p.detach().clone() for p in self.parameters]
        groups: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for muon in (True, False):
            for module in modules:
                chosen = [p for owner, name, p in named if owner == module and suits_muon(name, p) == muon]
                if chosen:
                    rate = (recipe.muon_rate if muon else recipe.adam_rate) * rates.get(module, 1.0)
                    groups[muon].append({"params": chosen, "lr": rate, "rate": rate})
        self.optimizers: list[torch.optim.Optimizer] = []
        if groups[True]:
            muon_optimizer = Muon(
                groups[True],
                recipe.muon_rate,
                weight_decay=recipe.weight_decay,
                iterations=recipe.iterations,
                dtype=machine.iteration_dtype,
            )
            self.optimizers.append(muon_optimizer)
        if groups[False]:
            adam = torch.optim.AdamW(groups[False], recipe.adam_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
            self.optimizers.append(adam)

    def update(self, loss: Tensor) -> float:
        """One optimizer step and one step of the average; returns the loss.

        Raises:
            FloatingPointError: a loss or a gradient that is not finite; nothing was changed.
        """
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        torch.autograd.backward(loss)
        value = float(loss.detach())
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip))
        if not (abs(value) < float("inf") and norm < float("inf")):
            raise FloatingPointError(
                f"Step {self.step + 1} has the loss {value} and the gradient norm {norm}; both must be finite; lower "
                "the rates and go on from the checkpoint."
            )
        factor = rate_factor(self.step, self.steps, self.recipe)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["rate"] * factor
            optimizer.step()
        self.step += 1
        kept = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - kept)
        return value

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the modules have the averaged weights."""
        own = [p.detach().clone() for p in self.parameters]
        modes = {name: module.training for name, module in self._modules.items()}
        with torch.no_grad():
            torch._foreach_copy_([p.detach() for p in self.parameters], self.average)
        for module in self._modules.values():
            module.eval()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_([p.detach() for p in self.parameters], own)
            for name, module in self._modules.items():
                module.train(modes[name])

    def state_dict(self) -> dict[str, Any]:
        """Everything but what the step's number gives."""
        return {
            "step": self.step,
            "modules": {name: module.state_dict() for name, module in self._modules.items()},
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave; rates and all else that is set are those of this recipe."""
        self.step = state["step"]
        for name, module in self._modules.items():
            module.load_state_dict(state["modules"][name])
        with torch.no_grad():
            for mine, saved in zip(self.average, state["average"], strict=True):
                mine.copy_(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            # torch takes the saved groups in place of its own, settings too; so they get the settings of this one.
            groups = [
                {**mine, "params": group["params"]}
                for mine, group in zip(optimizer.param_groups, saved["param_groups"], strict=True)
            ]
            optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})


def averaged_modules(state: dict[str, Any], trained: dict[str, list[str]]) -> dict[str, dict[str, Tensor]]:
    """The modules of a checkpoint with the averaged weights in place of the last ones.

    trained: names of the trained parameters by module, in the trainer's order.
    """
    average = iter(state["average"])
    found = {name: dict(tensors) for name, tensors in state["modules"].items()}
    for module, names in trained.items():
        for name in names:
            found[module][name] = next(average)
    return found


def trained_names(modules: dict[str, nn.Module]) -> dict[str, list[str]]:
    """Names of the trained parameters by module, in the trainer's order."""
    return {
        module: [name for name, p in owner.named_parameters() if p.requires_grad] for module, owner in modules.items()
    }


def run_job(
    job: Job,
    folder: Path,
    recipe: dict[str, Any],
    machine: Machine,
    state: dict[str, Any] | None = None,
    stop: Stop = never,
    clock: Clock = time.monotonic,
    more: dict[str, Any] | None = None,
) -> Iterator[Step]:
    """Trains to the last step; yields every finished step.

    A checkpoint is written before the sheet of the same step is drawn: a call that is asked to end may be killed at
    any moment, and what fails while drawing must not cost steps.

    Args:
        folder: where checkpoint, log, sheets and kept exports go.
        recipe: as nested dictionaries, for the checkpoint. state: the checkpoint to go on from.
        stop: seconds until this call shall end with a checkpoint (0 or less: now), None for never.
        more: what else the checkpoint keeps.
    """
    trainer = Trainer(job.modules(), job.optimizer, job.steps, job.rates(), machine)
    if state is not None:
        trainer.load_state_dict(state)
    fixed = {
        "recipe": recipe,
        "machine": machine.as_dict(),
        "threads": torch.get_num_threads(),
        "identity": job.identity(),
        "trained": trained_names(job.modules()),
        **(more or {}),
    }
    log = Log(folder / "log.jsonl", trainer.step)
    samples, before = (state["samples"], state["seconds"]) if state else (0, 0.0)
    progress = Progress(trainer.step, job.steps, job.batch, job.cadence.log_seconds, samples, before, clock)
    print(f"{job.name}: step {trainer.step} of {job.steps} on {machine}", flush=True)
    saved = clock()
    for batch in job.batches(trainer.step):
        loss = trainer.update(job.loss(batch, trainer.step))
        step = trainer.step
        left = stop()
        ends = step == job.steps or (left is not None and left <= 0)
        if ends or clock() - saved >= 60 * job.cadence.checkpoint_minutes:
            seen = {"samples": progress.samples(step), "seconds": progress.seconds()}
            checkpoint.save(folder, {**trainer.state_dict(), **fixed, **seen})
            saved = clock()
        _draw(job, trainer, folder, ends)
        if progress.count(step, loss, ends):
            row = progress.row(step, rate_factor(step - 1, job.steps, job.optimizer), job.figures())
            log.add(row)
            print(line(row, job.steps, left), flush=True)
        yield Step(step, progress.samples(step), loss)
        if ends:
            return


def _draw(job: Job, trainer: Trainer, folder: Path, ends: bool) -> None:
    """The sheet and the kept export of a step, where they are due; a sheet at the end of every call."""
    step, every, keep = trainer.step, job.cadence.sheet_steps, job.cadence.keep_steps
    sheet = every and (step % every == 0 or ends)
    kept = keep and step % keep == 0
    if not (sheet or kept):
        return
    with trainer.averaged(), torch.no_grad():
        if sheet:
            job.sheet(folder / "sheets" / f"step-{step:07d}.png")
        if kept:
            job.keep(folder / "kept" / f"step-{step:07d}")


def train_in(
    folder: Path,
    recipe: Recipe,
    names: tuple[str, ...],
    make: Callable[[Machine], Job],
    stop: Stop,
    accept_changes: bool,
) -> Iterator[Step]:
    """Trains a job in a folder, from its checkpoint if it has one.

    Args:
        names: of what the job reads of the recipe (`resume.chosen`), the section that is called as the job first; what
            they and `resume.COMMON` name is what a checkpoint must agree with.
        make: the job on a machine, with the weights that it begins with.

    Raises:
        ValueError: the checkpoint belongs to another training, recipe or base.
    """
    table = chosen(recipe, names)
    state = checkpoint.load(folder)
    changes: list[dict[str, Any]] = []
    if state is not None:
        checkpoint.check_kind(folder, state, names[0])
        changes = check_same(state, table, accept_changes)
    machine = choose(recipe.device, recipe.numbers, None if state is None else state["machine"])
    try:
        job = make(machine)
    except Stopped as told:
        print(told, flush=True)
        return
    if state is not None:
        check_base(folder, state, job.identity(), recipe.base, accept_changes)
        tell_threads(state, machine)
    before = state or {}
    more = {
        "run": before.get("run", uuid.uuid4().hex),
        "changes": [*before.get("changes", []), *changes],
        "origin": before["origin"] if "origin" in before else trainings.origin(Path(recipe.base), state is not None),
    }
    yield from run_job(job, folder, table, machine, state, stop, more=more)
