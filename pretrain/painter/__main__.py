"""Draws the base set and the LoRA sets: `python -m pretrain.painter --out FOLDER`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from pretrain.painter.sets import build_base, build_lora


def main() -> None:
    """Reads the command line and builds."""
    parser = argparse.ArgumentParser(prog="python -m pretrain.painter", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder that the sets are written to")
    parser.add_argument("--count", type=int, default=24000, help="pictures of the base set (default: 24000)")
    parser.add_argument("--processes", type=int, default=1, help="processes that draw (default: 1)")
    parser.add_argument("--only", choices=("base", "lora"), help="one of the two kinds of sets")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.time()
    if options.only != "lora":
        build_base(options.out, options.count, options.processes)
    if options.only != "base":
        build_lora(options.out)
    print(f"done in {time.time() - start:.1f} s")


if __name__ == "__main__":
    main()
