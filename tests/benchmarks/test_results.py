"""Every figure and sample in the repository is of the base that lies there, and texts say what the files say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pretrain.hashes import weights_hash

ROOT = Path(__file__).resolve().parents[2]
BASE, RESULTS = ROOT / "assets" / "base", ROOT / "benchmarks" / "results"
AFTER_AN_EXPORT = """These were made with another base than the one in assets/base. After an export:
adapters and cells: python -m scripts.samples, and the demonstration: python -m scripts.demonstration
base.json: python -m pretrain evaluate --steps 8,12,18 --rescale 1 --json benchmarks/results/base.json
all other figures: python -m benchmarks.report, on a quiet machine
the card: its hash, its table, its percentages."""
ROWS = {
    "hair colour": "hair",
    "eye colour": "eyes",
    "clothes": "clothes",
    "their colour": "clothes colour",
    "background": "background",
    "style": "style",
    "animal ears, unasked": "animal ears",
}


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _card() -> str:
    return (BASE / "README.md").read_text(encoding="utf-8")


def _named() -> dict[str, str]:
    """Where a base is named by its hash, or by the first digits of it."""
    report = _json(RESULTS / "report.json")
    found = {
        "base.json": _json(RESULTS / "base.json")["base_sha256"],
        "effect.json": _json(RESULTS / "effect.json")["base"],
        "long_prompts.json": _json(RESULTS / "long_prompts.json")["base"],
        "report.json, samplers": report["samplers"]["base"],
        "the card": re.findall(r"weights `([0-9a-f]{10})`", _card())[0],
    }
    for part in ("peer", "grid"):
        if part in report:
            found[f"report.json, {part}"] = report[part]["base"]
    for file in sorted((ROOT / "assets" / "examples" / "adapters").glob("*.json")):
        found[file.name] = _json(file)["base_sha256"]
    cells = (ROOT / "assets" / "examples" / "cells" / "cells.json").read_text(encoding="utf-8")
    for number, base in enumerate(re.findall(r'"base": "([0-9a-f]+)"', cells)):
        found[f"cell {number}"] = base
    return found


def test_what_was_made_with_the_base_names_its_hash() -> None:
    base, named = weights_hash(BASE), _named()
    assert len(named) >= 11
    assert all(len(given) >= 10 for given in named.values())
    assert {place: given for place, given in named.items() if not base.startswith(given)} == {}, AFTER_AN_EXPORT


@pytest.mark.parametrize("name", list(ROWS))
def test_the_cards_table_is_what_was_measured(name: str) -> None:
    rows = [line.strip("| \n").split("|") for line in _card().splitlines() if line.startswith("| ")]
    row = next([cell.strip() for cell in cells] for cells in rows if cells[0].strip() == name)
    for said, steps in zip(row[-3:], ("8", "12", "18"), strict=True):
        figure = _json(RESULTS / "base.json")["steps"][steps][ROWS[name]]
        share = f"{100 * figure['share']:.1f} % ({100 * figure['low']:.0f}-{100 * figure['high']:.0f})"
        assert said == share, steps


def test_the_card_says_how_its_figures_were_measured() -> None:
    base, long_prompts, report = (_json(RESULTS / f"{name}.json") for name in ("base", "long_prompts", "report"))
    card = re.sub(r"\s+", " ", _card())
    assert f"Over {base['prompts']} unseen prompts" in card
    assert f"prompt seed {base['prompt_seed']}" in card
    assert (base["sampler"], "DPM-Solver++ 2M" in card) == ("DPMSolverMultistepScheduler", True)
    assert f"{base['psnr a picture']:.1f} dB PSNR a picture, {base['psnr']:.1f} dB over all pixels" in card
    dressed = long_prompts["dressed, things to avoid"]
    told = [f"{head} {int(100 * dressed[head] + 0.5)}" for head in ("hair", "eyes", "clothes", "background", "style")]
    assert f"{', '.join(told)} % are right" in card
    alone = base["steps"]["18"]["seconds alone"]
    assert f"{report['picture']['seconds']:.1f} s in the app's loop and {alone:.1f} s in diffusers' pipeline" in card


def test_results_say_on_which_prompts_they_are() -> None:
    """While some are of the seed that recipes were chosen on, the texts say so."""
    seeds = {name: _json(RESULTS / f"{name}.json")["prompt_seed"] for name in ("base", "effect", "long_prompts")}
    seeds["samplers"] = _json(RESULTS / "report.json")["samplers"]["prompt_seed"]
    told = "are still of the prompts that recipes were chosen on"
    for page in (ROOT / "pretrain" / "README.md", BASE / "README.md"):
        text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
        assert (told in text) == any(seed == 0 for seed in seeds.values()), page
