"""Make what the first visit finds: the three adapters of the example sets and three sample cells.

Every adapter comes from `assets/examples/<set>` by the app's own training with the default recipe, every picture by
its own generating; nothing is chosen by hand but prompts and seed. Run it again whenever base, sets or recipe change.

    python -m scripts.samples [--only cat-ears] [--cells]
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import Any

from lora_studio.engine.inline import build_engine
from lora_studio.engine.protocol import Engine
from lora_studio.settings import load_settings
from lora_studio.store import Workspace
from lora_studio.types import LOCAL, AdapterWeight, GenerateRequest, JobSpec, recipe, to_json

EXAMPLES = Path(__file__).resolve().parents[1] / "assets" / "examples"
SETS = {"cat-ears": ("cat ears", 1.0), "papercut-style": ("papercut style", 1.0), "miko-tsuki": ("miko tsuki", 1.0)}
"""Example set to the words that call it and the weight it is first shown at."""
PROMPT = "anime style, 1girl, cat ears, brown hair, short hair, smile, school uniform, sky"
TOGETHER = "papercut style, miko tsuki, 1girl, cat ears, smile, night sky"
SEED = 9


def run(engine: Engine, kind: Any, payload: dict[str, Any]) -> dict[str, Any]:
    """Do a job and return its result; raises RuntimeError where it has none."""
    job = engine.submit(JobSpec(uuid.uuid4().hex, kind, LOCAL, payload))
    for event in engine.events(job):
        if event.type == "step" and event.data["step"] % 50 == 0:
            print(f"  step {event.data['step']} of {event.data['steps']}, loss {event.data['loss']:.4f}", flush=True)
    result = engine.job(job).result
    if result is None:
        raise RuntimeError(f"the job ended with {engine.job(job).error}")
    return result


def teach(engine: Engine, workspace: Workspace, name: str) -> None:
    """Train one adapter and write its file, the words beside it and its cover."""
    words, weight = SETS[name]
    dataset = workspace.datasets.add_folder(workspace.datasets.create(name, LOCAL).id, EXAMPLES / name)
    config = recipe(
        "balanced",
        engine.info().base,
        name=words,
        dataset=dataset.id,
        preview_every=0,
        preview_prompts=(_cover_prompt(words),),
    )
    result = run(engine, "train", {"config": to_json(config)})
    entry = workspace.adapters.get(result["adapter"])
    folder = EXAMPLES / "adapters"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(workspace.files.path(entry.sha256), folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(
        json.dumps(
            {
                "name": words,
                "trigger_words": list(entry.trigger_words) or [words],
                "base_sha256": entry.base_sha256,
                "family": entry.family,
                "rank": entry.rank,
                "alpha": entry.alpha,
                "recommended_weight": weight,
                "cover": f"{name}.png",
                "steps": result["steps"],
                "seconds": result["seconds"],
                "final_loss": result["final_loss"],
            },
            indent=1,
        )
        + "\n",
        encoding="utf-8",
    )
    if entry.cover:
        shutil.copyfile(workspace.files.path(entry.cover), folder / f"{name}.png")
    print(f"{name}: {result['steps']} steps in {result['seconds']:.0f} s, final loss {result['final_loss']:.4f}")


def _cover_prompt(words: str) -> str:
    tags = f"1girl, {words}" if words == "cat ears" else f"{words}, 1girl"
    return f"{tags}, brown hair, long hair, smile, blue background" if words != "miko tsuki" else f"{tags}, smile"


def draw_cells(engine: Engine, workspace: Workspace) -> None:
    """The three sample cells: the base alone, one adapter, three together."""
    base = engine.info().base
    assert base is not None
    d = base.defaults
    entries = {entry.name: entry for entry in workspace.adapters.list() if entry.sample}
    ears = entries["cat ears"]
    mixes = [
        (PROMPT, (), "The base alone: it has never seen cat ears. 只用底模：它从没见过猫耳。"),
        (
            PROMPT,
            ((ears, 1.0),),
            "The same words and seed with one LoRA. 同样的词和种子，加一个 LoRA。",
        ),
        (
            TOGETHER,
            tuple((entries[words], 0.8) for words, _ in SETS.values()),
            "Three LoRAs at once, each at 0.8. 三个 LoRA 一起，各 0.8。",
        ),
    ]
    folder = EXAMPLES / "cells"
    folder.mkdir(exist_ok=True)
    cells = []
    for number, (prompt, mix, note) in enumerate(mixes):
        request = GenerateRequest(
            prompt=prompt,
            width=d.width,
            height=d.height,
            num_inference_steps=d.num_inference_steps,
            guidance_scale=d.guidance_scale,
            guidance_rescale=d.guidance_rescale,
            sampler=d.sampler,
            seed=SEED,
            adapters=tuple(AdapterWeight(entry.sha256, entry.name, weight) for entry, weight in mix),
            base=base.sha256,
        )
        result = run(engine, "generate", {"request": to_json(request)})
        image = result["images"][0]
        shutil.copyfile(workspace.files.path(image["sha256"]), folder / f"{number}.png")
        shown = {key: value for key, value in image.items() if key != "sha256"} | {"file": f"{number}.png"}
        cells.append({"kind": "picture", "request": to_json(request), "result": {"images": [shown]}, "note": note})
    (folder / "cells.json").write_text(json.dumps(cells, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Train, then draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*SETS], action="append", help="train this set only (may be given twice)")
    parser.add_argument("--cells", action="store_true", help="draw the sample cells only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Workspace.open(Path(name)) as workspace:
        engine = build_engine(load_settings(workspace=workspace.root), workspace)
        for each in [] if options.cells else (options.only or SETS):
            teach(engine, workspace, each)
        engine.close()
    from lora_studio.store.samples import install_samples

    with tempfile.TemporaryDirectory() as name, Workspace.open(Path(name)) as workspace:
        install_samples(workspace, EXAMPLES.parent)
        engine = build_engine(load_settings(workspace=workspace.root), workspace)
        draw_cells(engine, workspace)
        engine.close()


if __name__ == "__main__":
    main()
