"""The figures of all benchmarks by one command, each with the machine that it was measured on and its load before.

What a call measures takes the place of the same part in `report.json`, all else there stays; `effect`, `library` and
`long_prompts` have files of their own beside it. Figures of the base alone come from `python -m pretrain evaluate`.

    python -m benchmarks.report [--skip effect ... | --only picture ...] [--busy] [--out benchmarks/results/report.json]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import effect, grid, library, long_prompts, machine, peer, samplers, shared
from benchmarks.studio import Studio, examples
from benchmarks.trial import Trial
from lora_studio.types import recipe
from pretrain.files import write_text
from pretrain.judge import load_judge

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).resolve().parents[1]
QUIET = 0.3  # load of the last minute up to which a machine has nothing else to do
PATIENCE = 300.0  # seconds that the first page may take
OWN_FILES = ("effect", "library", "long_prompts")


def first_page() -> dict[str, float]:
    """Seconds from starting the app to its first page, of a second start (the disk is warm then)."""
    app = [sys.executable, str(ROOT / "app.py"), "--no-browser"]
    return {"seconds": [start_once(app) for _ in range(2)][-1]}


def start_once(command: list[str], patience: float = PATIENCE) -> float:
    """Seconds from starting an app, which is told its port and workspace, to the first page that it answers with.

    Raises:
        RuntimeError: it ended before that, or took longer than `patience` seconds.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        command = [*command, "--port", str(port), "--workspace", folder]
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, cwd=ROOT) as app:
            try:
                while not _answers(port):
                    if app.poll() is not None:
                        said.seek(0)
                        last = (said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
                        raise RuntimeError(f"The app ended with {app.returncode} before its first page: {last}")
                    if time.perf_counter() - began > patience:
                        raise RuntimeError(
                            f"The app had no page after {patience:g} seconds; start it by itself and look."
                        )
                    time.sleep(0.05)
                return time.perf_counter() - began
            finally:
                app.terminate()
                app.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as page:
            return bool(page.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def training() -> dict[str, float]:
    """Seconds of the default recipe on the example cat ears, encoding, previews, export and its proof included."""
    studio = Studio()
    config = recipe("balanced", studio.base.info, name="cat ears", dataset="x")
    began = time.perf_counter()
    result = studio.teach(examples("cat-ears"), config)
    return {"seconds": time.perf_counter() - began, "steps": result.steps, "final_loss": result.final_loss}


def picture() -> dict[str, float]:
    """Seconds of one picture at default settings, the median of five after one that is not counted."""
    studio = Studio()
    times = []
    for number in range(6):
        began = time.perf_counter()
        studio.draw(["1girl, blue hair, long hair, smile, white background"], seed=number)
        times.append(time.perf_counter() - began)
    return {"seconds": sorted(times[1:])[2]}


def memory() -> Any:
    """`benchmarks.memory_shared` in a process of its own, so that nothing else is counted."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory_shared"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return json.loads(done.stdout[done.stdout.index("{") :])


PARTS: dict[str, Callable[[], Any]] = {
    "first_page": first_page,
    "picture": picture,
    "peer": lambda: peer.measure(11),
    "grid": lambda: grid.measure(5),
    "training": training,
    "shared": lambda: shared.measure(3, 5),
    "memory": memory,
    "library": lambda: library.measure(1000, 50_000),
    "samplers": lambda: samplers.measure(Studio(), load_judge(), Trial()),
    "long_prompts": lambda: long_prompts.measure(Studio(), load_judge(), Trial()),
    "effect": lambda: effect.measure_samples(Studio(), load_judge(), Trial()),
}


def keep(file: Path, name: str, figures: dict[str, Any]) -> None:
    """Puts a part into `file`, or into a file of its own beside it; what else stands there stays."""
    if name in OWN_FILES:
        file, report = file.with_name(f"{name}.json"), figures
    else:
        report = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        report[name] = figures
    write_text(file, json.dumps(report, indent=1) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Measures, keeps and prints the parts that are asked for; 2 where the machine is busy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--skip", choices=[*PARTS], action="append", default=[], help="leave a part out")
    which.add_argument("--only", choices=[*PARTS], action="append", default=[], help="measure this part")
    parser.add_argument("--busy", action="store_true", help="measure although the machine has other work")
    parser.add_argument("--out", type=Path, default=RESULTS / "report.json")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    about = machine.describe()
    if (about["load"] or 0) > QUIET and not options.busy:
        print(
            f"The machine's load of the last minute is {about['load']}; figures are of a quiet one, up to {QUIET}; "
            "wait, or say --busy and let the load stand beside the figures.",
            file=sys.stderr,
        )
        return 2
    for name, part in PARTS.items():
        if name not in options.skip and (not options.only or name in options.only):
            print(f"{name} ...", file=sys.stderr, flush=True)
            figures = {**part(), "machine": about}
            keep(options.out, name, figures)
            print(json.dumps({name: figures}, indent=1), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
