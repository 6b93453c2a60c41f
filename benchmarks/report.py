"""Every figure that the project names, by one command, with processor, load and versions.

python -m benchmarks.report [--skip effect --skip samplers ...] [--out benchmarks/results/report.json]
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

from benchmarks import effect, machine, samplers, shared
from benchmarks.studio import Studio, examples
from lora_studio.types import recipe
from pretrain.judge import load_judge

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).resolve().parents[1]


def first_page() -> dict[str, float]:
    """Seconds from starting the app to its first page, of a second start (the disk is warm then)."""
    return {"seconds": [_start_once() for _ in range(2)][-1]}


def _start_once() -> float:
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [sys.executable, str(ROOT / "app.py"), "--no-browser", "--port", str(port), "--workspace", folder]
        began = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as app:
            try:
                while not _answers(port):
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


def effects() -> Any:
    """`benchmarks.effect` on the adapters that come with the app."""
    return effect.measure_samples(Studio(), load_judge(), 60)


PARTS: dict[str, Callable[[], Any]] = {
    "first_page": first_page,
    "picture": picture,
    "training": training,
    "shared": lambda: shared.measure(3, 5),
    "memory": memory,
    "samplers": lambda: samplers.measure(Studio(), load_judge(), 60),
    "effect": effects,
}


def main() -> None:
    """Measure every part and print it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skip", choices=[*PARTS], action="append", default=[], help="leave a part out")
    parser.add_argument("--out", type=Path, default=RESULTS / "report.json")
    options = parser.parse_args()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    report: dict[str, Any] = {"machine": machine.describe()}
    for name, part in PARTS.items():
        if name not in options.skip:
            print(f"{name} ...", file=sys.stderr, flush=True)
            report[name] = part()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
