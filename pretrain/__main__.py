"""Makes and measures the base, a command a step: `python -m pretrain --help` names them in their order.

Everything is made as one recipe says (`pretrain/recipe.toml`); `--set diffusion.batch=64` changes a value for a call.
A training that is interrupted (Ctrl-C, SIGTERM) or runs out of `--minutes` writes a checkpoint; a second Ctrl-C ends it
at once. The same command goes on from the last checkpoint, after a kill too.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from pretrain.files import write_text
from pretrain.progress import Stop
from pretrain.recipe import RECIPE, Recipe, load_recipe
from pretrain.seeds import CHOOSING_SEED, PUBLISHED_NOISE, PUBLISHED_SEED

BUILD = Path("build/pretrain")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m pretrain", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    jobs = top.add_subparsers(dest="job", required=True)
    pictures = jobs.add_parser("pictures", help="paint what is missing of the pictures")
    tokenizer = jobs.add_parser("tokenizer", help="learn the tokenizer from the words of the captions")
    tokenizer.add_argument("--out", type=Path, default=BUILD / "tokenizer", help="folder to write (%(default)s)")
    trainings = {
        "autoencoder": jobs.add_parser("autoencoder", help="train the autoencoder, or its decoder alone"),
        "text": jobs.add_parser("text", help="train the text encoder alone on captions"),
        "reader": jobs.add_parser("reader", help="train the reader of tags that the diffusion may listen to"),
        "diffusion": jobs.add_parser("diffusion", help="train UNet and text encoder"),
    }
    for name, job in trainings.items():
        job.add_argument(
            "--run", type=Path, default=BUILD / name, help="folder of checkpoint, log, sheets (%(default)s)"
        )
        job.add_argument("--minutes", type=float, help="end this call after so long, with a checkpoint")
        job.add_argument("--accept-changes", action="store_true", help="go on although the recipe was changed")
    for job in (pictures, *trainings.values()):
        job.add_argument("--pictures", type=Path, default=BUILD / "pictures", help="folder of pictures (%(default)s)")
    jobs.add_parser("judge", help="the judge's own commands: data, train, evaluate", add_help=False)
    _add_evaluate(jobs.add_parser("evaluate", help="print the figures of a base folder"))
    exporting = jobs.add_parser("export", help="write a diffusers folder in half precision from checkpoints")
    exporting.add_argument("--out", type=Path, required=True, help="folder to write; may be the base itself")
    exporting.add_argument("--like", type=Path, help="folder that gives all else (default: the recipe's base)")
    for name in ("diffusion", "text", "autoencoder", "tokenizer"):
        exporting.add_argument(f"--{name}", type=Path, help=f"folder of the trained {name}")
    for name, job in jobs.choices.items():
        if name != "judge":
            job.add_argument("--recipe", type=Path, default=RECIPE, help="recipe file (pretrain/recipe.toml)")
            job.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a value of it")
            job.add_argument("--threads", type=int, help="threads to compute with (default: torch's own)")
    return top


def _add_evaluate(job: argparse.ArgumentParser) -> None:
    """What `evaluate` takes."""
    job.add_argument("--base", type=Path, help="folder to measure (default: the recipe's base)")
    job.add_argument("--count", type=int, default=200, help="prompts of each kind (%(default)s)")
    job.add_argument("--kind", action="append", choices=("girl", "boy", "no humans"), help="may be repeated (girl)")
    job.add_argument("--steps", default="18", help="denoising steps, several with commas (%(default)s)")
    job.add_argument("--guidance", type=float, default=4.0)
    job.add_argument("--rescale", type=float, default=0.0, help="share to which guidance is rescaled, 0 to 1")
    told = f"of the prompts; {CHOOSING_SEED} to compare recipes by (%(default)s)"
    job.add_argument("--prompt-seed", type=int, default=PUBLISHED_SEED, help=told)
    job.add_argument("--seed", type=int, default=PUBLISHED_NOISE, help="of the first picture's noise (%(default)s)")
    job.add_argument("--batch", type=int, default=20)
    job.add_argument("--renders", type=int, default=200, help="pictures for the autoencoder's PSNR (%(default)s)")
    job.add_argument("--json", type=Path, help="write the figures to this file too")


def stopper(minutes: float | None) -> Stop:
    """Seconds until a call shall end: by its time, or at once after Ctrl-C or SIGTERM; a second one interrupts."""
    end = None if minutes is None else time.monotonic() + 60 * minutes
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, ask)

    def left() -> float | None:
        if asked:
            return 0.0
        return None if end is None else end - time.monotonic()

    return left


def _train(options: argparse.Namespace, recipe: Recipe) -> None:
    """Runs a training to its end or until it is stopped."""
    train = importlib.import_module(f"pretrain.{options.job}").train
    steps = train(recipe, options.pictures, options.run, stopper(options.minutes), options.accept_changes)
    done = sum(1 for _ in steps)
    print(f"{done} steps in this call; all is in {options.run}", flush=True)


def _evaluate(options: argparse.Namespace, recipe: Recipe) -> None:
    """Prints the table."""
    from pretrain.evaluate import Settings, evaluate, table
    from pretrain.machine import choose

    steps = tuple(int(number) for number in options.steps.split(","))
    settings = Settings(
        count=options.count,
        kinds=tuple(options.kind or ["girl"]),
        steps=steps,
        guidance=options.guidance,
        rescale=options.rescale,
        prompt_seed=options.prompt_seed,
        seed=options.seed,
        batch=options.batch,
        renders=options.renders,
    )
    figures = evaluate(options.base or Path(recipe.base), settings, choose(recipe.device, recipe.numbers))
    print(table(figures))
    if options.json:
        write_text(options.json, json.dumps(figures, indent=1) + "\n")


def _run(options: argparse.Namespace, recipe: Recipe) -> None:
    """One command."""
    if options.job == "pictures":
        from pretrain.pictures import paint

        print(f"painted {paint(options.pictures, recipe.pictures)} pictures into {options.pictures}")
    elif options.job == "tokenizer":
        from pretrain.tokenizer import make

        print(f"{options.out}: {make(options.out, recipe.tokenizer)} tokens")
    else:
        _compute(options, recipe)


def _compute(options: argparse.Namespace, recipe: Recipe) -> None:
    """A command that needs torch."""
    import torch
    from diffusers.utils import logging

    logging.disable_progress_bar()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.job == "evaluate":
        _evaluate(options, recipe)
    elif options.job == "export":
        _export(options, recipe)
    else:
        _train(options, recipe)


def _export(options: argparse.Namespace, recipe: Recipe) -> None:
    """Writes a base folder and says what it holds."""
    from pretrain import trainings
    from pretrain.export import export

    like = options.like or Path(recipe.base)
    steps = export(options.out, like, options.diffusion, options.autoencoder, options.tokenizer, options.text)
    told = ", ".join(f"{name} at step {step}" for name, step in steps.items()) or "the tokenizer"
    if (options.out / "unet").exists():
        seen = trainings.samples(trainings.read(options.out))
        print(f"{options.out}: {told}; {seen:,} samples in all; loaded again and equal")
    else:
        print(f"{options.out}: {told}; without UNet and text encoder, which read another tokenizer: begin them anew")


def _be_quiet() -> None:
    """Before any library is read: nothing is fetched, and progress is told by this program alone."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; 2 after an error that is told in one sentence, 130 after a second Ctrl-C."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["judge"]:
        from pretrain.judge.__main__ import main as judge

        sys.argv = ["python -m pretrain judge", *given[1:]]
        judge()
        return 0
    options = parser().parse_args(given)
    _be_quiet()
    try:
        _run(options, load_recipe(options.recipe, options.set))
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what was written before stands, and the same command goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
