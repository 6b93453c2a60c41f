"""Draws the judge's data, trains it, measures it: `python -m pretrain.judge data|train|evaluate --help`."""

from __future__ import annotations

import argparse
from pathlib import Path

from pretrain.judge.data import SPLITS, build
from pretrain.judge.evaluate import FIGURES, evaluate, summary
from pretrain.judge.judge import WEIGHTS
from pretrain.judge.train import Recipe, run

BASE = Path(__file__).resolve().parents[2] / "assets" / "base"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m pretrain.judge", description=__doc__)
    jobs = top.add_subparsers(dest="job", required=True)
    data = jobs.add_parser("data", help="draw the pictures with their answers; goes on where it stopped")
    data.add_argument("--vae", type=Path, default=BASE / "vae", help="the autoencoder (default: the embedded base's)")
    data.add_argument("--split", choices=tuple(SPLITS), action="append", help="only this set; may be repeated")
    data.add_argument("--count", type=int, help="number of pictures a set (default: as in SPLITS)")
    training = jobs.add_parser("train", help="train; goes on from the last checkpoint")
    training.add_argument("--run", type=Path, required=True, help="folder of the checkpoint")
    training.add_argument("--steps", type=int, default=Recipe.steps)
    training.add_argument("--batch", type=int, default=Recipe.batch)
    training.add_argument("--rate", type=float, default=Recipe.rate)
    training.add_argument("--seed", type=int, default=Recipe.seed)
    measuring = jobs.add_parser("evaluate", help="measure on unseen pictures and write the figures")
    measuring.add_argument("--out", type=Path, default=FIGURES)
    for job in (data, training, measuring):
        job.add_argument("--data", type=Path, required=True, help="folder of the pictures")
    for job in (training, measuring):
        job.add_argument("--weights", type=Path, default=WEIGHTS)
    return top


def main() -> None:
    """Runs one job."""
    options = parser().parse_args()
    if options.job == "data":
        for name in options.split or SPLITS:
            build(options.data, name, options.vae, options.count)
    elif options.job == "train":
        recipe = Recipe(steps=options.steps, batch=options.batch, rate=options.rate, seed=options.seed)
        run(options.data, options.run, options.weights, recipe)
    else:
        print(summary(evaluate(options.data, options.weights, options.out)))


if __name__ == "__main__":
    main()
