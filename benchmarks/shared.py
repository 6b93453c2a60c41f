"""Shared for real: what a training costs the one who draws, and what drawing costs the training. Ratios of one run.

Pictures are drawn one after the other by one person, idle and beside another person's training, in alternation; the
training's pace is taken alone and beside the pictures, over at least thirty of its steps each time and by the times of
the steps themselves. Everything goes through the inline engine on the embedded base.

    python -m benchmarks.shared [--rounds 3] [--pictures 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.studio import ASSETS
from lora_studio.engine.inline import build_engine
from lora_studio.engine.protocol import Engine
from lora_studio.settings import load_settings
from lora_studio.store import Workspace
from lora_studio.types import GenerateRequest, JobSpec, recipe, to_json
from lora_studio.types.jobs import FINAL

_FAR = 100_000
STEPS = 30  # of a training, at least, that its pace is taken over
PATIENCE = 600.0  # seconds that a training may take for its first steps


def picture(engine: Engine, seed: int) -> float:
    """Seconds from asking for a picture at default settings to having it."""
    base = engine.info().base
    assert base is not None
    d = base.defaults
    request = GenerateRequest(
        prompt="1girl, blue hair, long hair, smile, white background",
        width=d.width,
        height=d.height,
        num_inference_steps=d.num_inference_steps,
        guidance_scale=d.guidance_scale,
        guidance_rescale=d.guidance_rescale,
        sampler=d.sampler,
        seed=seed,
    )
    began = time.perf_counter()
    job = engine.submit(JobSpec(uuid.uuid4().hex, "generate", "ann", {"request": to_json(request)}))
    last = list(engine.events(job))[-1]
    assert last.type == "done", last
    return time.perf_counter() - began


def begin_training(engine: Engine, workspace: Workspace, dataset: str) -> str:
    """Start a training of Bob's that goes on until it is cancelled; returns when it makes steps.

    Raises:
        RuntimeError: it ended, or made no steps in `PATIENCE` seconds.
    """
    given = {"name": "bench", "dataset": dataset, "steps": _FAR, "preview_every": 0, "checkpoint_every": 0}
    config = recipe("balanced", engine.info().base, **given)
    job = engine.submit(JobSpec(uuid.uuid4().hex, "train", "bob", {"config": to_json(config)}))
    began = time.monotonic()
    while len(step_times(workspace, job)) < 5:
        if time.monotonic() - began > PATIENCE:
            raise RuntimeError(f"The training made no five steps in {PATIENCE:g} seconds; look at what else runs here.")
        time.sleep(0.1)
    return job


def step_times(workspace: Workspace, job: str) -> list[float]:
    """When each step of a training was made, in seconds since 1970.

    Raises:
        RuntimeError: the training has ended.
    """
    now = workspace.jobs.get(job)
    if now.state in FINAL:
        raise RuntimeError(f"The training has ended ({now.state}) while its pace was taken: {now.error}")
    return [event.time for event in workspace.jobs.events(job) if event.type == "step"]


def measure(rounds: int, pictures: int) -> dict[str, Any]:
    """Medians of the latencies idle and beside a training, of the training's pace alone and beside pictures."""
    idle: list[float] = []
    beside: list[float] = []
    alone: list[float] = []
    shared: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(Path(folder) / "workspace")
        engine = build_engine(load_settings(workspace=workspace.root), workspace)
        dataset = workspace.datasets.add_folder(
            workspace.datasets.create("cat-ears", "bob").id, ASSETS / "examples" / "cat-ears"
        ).id
        picture(engine, 0)
        for number in range(rounds):
            idle += [picture(engine, number * pictures + i) for i in range(pictures)]
            job = begin_training(engine, workspace, dataset)
            alone.append(pace(workspace, job, lambda: time.sleep(0.5)))
            shared.append(pace(workspace, job, lambda: beside.append(picture(engine, 7000 + len(beside))), pictures))
            engine.cancel(job)
            list(engine.events(job))
        engine.close()
        workspace.close()
    return {
        "picture_idle_seconds": statistics.median(idle),
        "picture_beside_training_seconds": statistics.median(beside),
        "latency_ratio": statistics.median(beside) / statistics.median(idle),
        "training_alone_steps_per_second": statistics.median(alone),
        "training_beside_pictures_steps_per_second": statistics.median(shared),
        "training_keeps": statistics.median(shared) / statistics.median(alone),
        "training_keeps_by_round": [both / one for both, one in zip(shared, alone, strict=True)],
    }


def pace(workspace: Workspace, job: str, meanwhile: Callable[[], object], least: int = 1) -> float:
    """Steps a second of a training while something else is done at least `least` times, over at least `STEPS` steps."""
    first, done = len(step_times(workspace, job)), 0
    while done < least or len(step_times(workspace, job)) - first < STEPS:
        meanwhile()
        done += 1
    times = step_times(workspace, job)
    return (len(times) - first) / (times[-1] - times[first - 1])


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=5)
    options = parser.parse_args()
    print(json.dumps(measure(options.rounds, options.pictures), indent=1))


if __name__ == "__main__":
    main()
