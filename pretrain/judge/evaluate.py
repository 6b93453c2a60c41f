"""Measures the judge on unseen drawings and writes `figures.json`: accuracy by head and class, and what is mistaken.

Pictures on which a question has no answer are left out of that question. The near misses (hats, bows, ribbons, buns)
are a part of the test set, and are counted on their own as well.
"""

from __future__ import annotations

import hashlib
import json
import platform
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.judge.cases import sample_case
from pretrain.judge.data import SPLITS, read
from pretrain.judge.judge import WEIGHTS, Judge, load_judge
from pretrain.judge.labels import HEADS, TRAITS, UNKNOWN
from pretrain.painter import Portrait

FIGURES = Path(__file__).with_name("figures.json")
TEST_SPLITS = ("test", "test-passed", "test-rough")


def confusion(truth: NDArray[np.int64], found: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts (classes, classes): rows are right answers, columns the judge's."""
    known = truth != UNKNOWN
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (truth[known], found[known]), 1)
    return table


def head_figures(table: NDArray[np.int64], labels: tuple[str, ...]) -> dict[str, Any]:
    """Accuracy, number of pictures, accuracy by class, and the confusions that happened."""
    per_class = {}
    for k, label in enumerate(labels):
        if table[k].sum():
            mistaken = {labels[j]: int(n) for j, n in enumerate(table[k]) if n and j != k}
            right = round(float(table[k, k] / table[k].sum()), 4)
            per_class[label] = {"right": right, "of": int(table[k].sum()), "taken_for": mistaken}
    return {"accuracy": round(float(np.trace(table) / table.sum()), 4), "of": int(table.sum()), "classes": per_class}


def is_near_miss(number: int, key: str = "test") -> bool:
    """Whether a picture of the test set has no animal ears, but something on the head that may be taken for them."""
    case = sample_case(random.Random(f"judge-{key}-{number}"))
    if not isinstance(case, Portrait) or case.ears:
        return False
    return bool(case.accessory or case.ribbon == "hair" or case.hair_style == "double bun" or case.ahoge)


def measure(judge: Judge, images: NDArray[np.uint8], truths: NDArray[np.int64]) -> dict[str, Any]:
    """Figures of every head for one set of pictures; `near_misses` is about the ears alone."""
    found = {head: rows.argmax(1) for head, rows in judge.predict(images).items()}
    heads = {}
    for column, (head, labels) in enumerate(HEADS.items()):
        heads[head] = head_figures(confusion(truths[:, column], found[head], len(labels)), labels)
    column = list(HEADS).index("ears")
    near = np.array([is_near_miss(number) for number in range(len(images))])
    right = (found["ears"] == truths[:, column])[near]
    traits = np.mean([heads[trait]["accuracy"] for trait in TRAITS])
    return {
        "heads": heads,
        "near_misses": {"accuracy": round(float(right.mean()), 4), "of": int(near.sum())},
        "mean_of_traits": round(float(traits), 4),
    }


def evaluate(data: Path, weights: Path = WEIGHTS, out: Path = FIGURES) -> dict[str, Any]:
    """Measures on every test split that is there and writes the figures."""
    judge = load_judge(weights)
    splits = {name: measure(judge, *read(data, name)) for name in TEST_SPLITS if (data / name).exists()}
    if not splits:
        raise FileNotFoundError(f"no test pictures in {data}: draw them first with `python -m pretrain.judge data`")
    figures = {
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "parameters": sum(p.numel() for p in judge.network.parameters()),
        "torch": torch.__version__,
        "machine": platform.machine(),
        "about": {name: f"unseen drawings, {_describe(name)}" for name in splits},
        "splits": splits,
    }
    out.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return figures


def _describe(name: str) -> str:
    """What was done to the pictures of a split."""
    split = SPLITS[name]
    if not split.passed:
        return "as drawn"
    noise = f", half of them with noise of 0 to {split.noise} standard deviations on the latents" if split.noise else ""
    return f"passed through the base's autoencoder{noise}"


def summary(figures: dict[str, Any]) -> str:
    """A table of accuracies, one line a head."""
    names = list(figures["splits"])
    lines = [f"{'head':28}" + "".join(f"{name:>13}" for name in names)]
    for head in HEADS:
        cells = [figures["splits"][name]["heads"][head]["accuracy"] for name in names]
        lines.append(f"{head:28}" + "".join(f"{cell:13.2%}" for cell in cells))
    near = [figures["splits"][name]["near_misses"]["accuracy"] for name in names]
    lines.append(f"{'ears on near misses':28}" + "".join(f"{cell:13.2%}" for cell in near))
    return "\n".join(lines)
