"""What an adapter does to pictures, counted by the judge over unseen prompts.

Every figure is a share of pictures (0 to 1) unless it says otherwise. "Present" means that the judge holds it for
the most probable answer of its head; the character is present with at least `CHARACTER_FROM` of its six traits.
It does not know how an adapter was made.

    python -m benchmarks.effect [--count 60] [--prompt-seed 1] [--noise-seed 5000] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.studio import ASSETS, Mix, Studio
from benchmarks.trial import Trial, add_options, trial_of
from lora_studio.adapters import CanonicalAdapter
from pretrain.judge import Judge, load_judge
from pretrain.judge.labels import TRAITS
from pretrain.prompts import Prompt, combined_prompts, effect_prompts, other_prompts

CHARACTER = "miko tsuki"
CHARACTER_FROM = 3
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2)
TOGETHER = 0.8


def share(found: NDArray[np.float32], labels: list[str], wanted: str) -> float:
    """Share of the rows (n, classes) whose most probable label is `wanted`."""
    return float((found.argmax(1) == labels.index(wanted)).mean())


def right(
    judge: Judge, found: dict[str, NDArray[np.float32]], asked: Sequence[dict[str, Any]], head: str
) -> NDArray[np.bool_]:
    """Of the pictures whose prompt speaks of `head`, which the judge finds as asked (n asked,)."""
    rows = [i for i, want in enumerate(asked) if head in want]
    labels = judge.labels[head]
    return np.array([labels[int(found[head][i].argmax())] == asked[i][head] for i in rows], dtype=bool)


def kept(
    judge: Judge, base: dict[str, Any], adapted: dict[str, Any], asked: Sequence[dict[str, Any]], head: str
) -> float:
    """Of the pictures that the base alone has right in `head`, the share that stays right with the adapter."""
    before, after = right(judge, base, asked, head), right(judge, adapted, asked, head)
    return float(after[before].mean()) if before.any() else float("nan")


def traits(found: dict[str, NDArray[np.float32]]) -> NDArray[np.int64]:
    """How many of the character's traits each picture has (n,)."""
    counts: NDArray[np.int64] = np.stack([found[trait].argmax(1) for trait in TRAITS]).sum(0)
    return counts


def spearman(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Rank correlation of two series, equal values sharing their mean rank."""

    def ranks(values: Sequence[float]) -> NDArray[np.float64]:
        a = np.asarray(values, dtype=np.float64)
        return np.array([((a < v).sum() + (a <= v).sum() + 1) / 2 for v in a])

    a, b = ranks(xs), ranks(ys)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / size) if size else 0.0


class Effect:
    """Judges one base with its adapters over the prompts of a trial."""

    def __init__(self, studio: Studio, judge: Judge, trial: Trial) -> None:
        self._studio, self._judge, self._trial = studio, judge, trial

    def look(self, prompts: Sequence[str], mix: Mix = (), **changes: Any) -> dict[str, NDArray[np.float32]]:
        """The judge's probabilities (n, classes) by head."""
        return self._judge.predict(self._studio.draw(prompts, mix, self._trial.noise_seed, **changes))

    def concept(
        self, adapter: CanonicalAdapter, word: str, head: str, weights: Sequence[float] = WEIGHTS
    ) -> dict[str, Any]:
        """A word that an adapter teaches: how often it shows at each weight, and what else stays as it was."""
        prompts = effect_prompts(word, self._trial.count, self._trial.prompt_seed)
        full, asked = [p[0] for p in prompts], [p[2] for p in prompts]
        labels = self._judge.labels[head]
        looks = {weight: self.look(full, [(adapter, weight)]) for weight in weights}
        p = {weight: found[head][:, labels.index(word)] for weight, found in looks.items()}
        one, zero = looks[1.0], looks[0.0]
        rising = [spearman(weights, [p[w][i] for w in weights]) for i in range(len(full))]
        figures: dict[str, Any] = {
            "shown": {f"{w:g}": share(looks[w][head], labels, word) for w in weights},
            "probability": {f"{w:g}": float(p[w].mean()) for w in weights},
            "spearman_of_mean": spearman(weights, [float(p[w].mean()) for w in weights]),
            "spearman_mean": float(np.mean(rising)),
        }
        for other in ("hair", "eyes", "clothes", "background", "style"):
            if other != head:
                figures[f"{other}_base"] = float(right(self._judge, zero, asked, other).mean())
                figures[f"{other}_kept"] = kept(self._judge, zero, one, asked, other)
        without = self.look([p[1] for p in prompts], [(adapter, 1.0)])
        figures["without_the_words"] = share(without[head], labels, word)
        for kind in ("boy", "no humans"):
            others = [text for text, _ in other_prompts(kind, self._trial.count, self._trial.prompt_seed)]
            figures[f"unasked_{kind}"] = share(self.look(others, [(adapter, 1.0)])[head], labels, word)
        return figures

    def character(self, adapter: CanonicalAdapter) -> dict[str, Any]:
        """What the character's name alone brings."""
        prompts: list[Prompt] = effect_prompts(CHARACTER, self._trial.count, self._trial.prompt_seed)
        named = [p[0] for p in prompts]
        one, zero = self.look(named, [(adapter, 1.0)]), self.look(named)
        return {
            "traits": float(traits(one).mean()),
            "traits_base": float(traits(zero).mean()),
            "each": {trait: share(one[trait], self._judge.labels[trait], "present") for trait in TRAITS},
            "background_base": float(right(self._judge, zero, [p[2] for p in prompts], "background").mean()),
            "background_kept": kept(self._judge, zero, one, [p[2] for p in prompts], "background"),
        }

    def together(
        self, ears: CanonicalAdapter, style: CanonicalAdapter, character: CanonicalAdapter, style_word: str
    ) -> dict[str, Any]:
        """All three at once, and each slider moved alone while the others stay."""
        prompts = combined_prompts("cat ears", style_word, self._trial.count, self._trial.prompt_seed)
        full = [p[0] for p in prompts]

        def effects(mix: Mix) -> dict[str, float]:
            found = self.look(full, mix)
            return {
                "cat ears": float(found["ears"][:, self._judge.labels["ears"].index("cat ears")].mean()),
                "style": float(found["style"][:, self._judge.labels["style"].index(style_word)].mean()),
                "character": float(np.mean([found[t][:, 1].mean() for t in TRAITS])),
            }

        everything = self.look(full, [(a, TOGETHER) for a in (ears, style, character)])
        figures: dict[str, Any] = {
            "cat ears": share(everything["ears"], self._judge.labels["ears"], "cat ears"),
            "style": share(everything["style"], self._judge.labels["style"], style_word),
            "character": float((traits(everything) >= CHARACTER_FROM).mean()),
            "traits": float(traits(everything).mean()),
            "each_trait": {t: share(everything[t], self._judge.labels[t], "present") for t in TRAITS},
            "none": effects([]),
        }
        names = ("cat ears", "style", "character")
        for moved, name in enumerate(names):
            curve = []
            for weight in (0.0, 0.4, 0.8, 1.2):
                mix = [(a, weight if i == moved else TOGETHER) for i, a in enumerate((ears, style, character))]
                curve.append(round(effects(mix)[name], 4))
            figures[f"slider {name}"] = curve
        return figures


def measure(studio: Studio, judge: Judge, files: dict[str, Path], style_word: str, trial: Trial) -> dict[str, Any]:
    """All figures of three adapters: `files` has cat-ears, style and character."""
    effect = Effect(studio, judge, trial)
    ears, style, character = (studio.read(files[name]) for name in ("cat-ears", "style", "character"))
    return {
        "base": studio.base.info.sha256[:10],
        **trial.as_dict(),
        "cat ears": effect.concept(ears, "cat ears", "ears"),
        style_word: effect.concept(style, style_word, "style", (0.0, 0.5, 1.0)),
        CHARACTER: effect.character(character),
        "together": effect.together(ears, style, character, style_word),
    }


def measure_samples(studio: Studio, judge: Judge, trial: Trial) -> dict[str, Any]:
    """`measure` of the adapters that come with the app."""
    folder = ASSETS / "examples" / "adapters"
    style = next(path.stem for path in sorted(folder.glob("*-style.safetensors")))
    files = {
        "cat-ears": folder / "cat-ears.safetensors",
        "style": folder / f"{style}.safetensors",
        "character": folder / "miko-tsuki.safetensors",
    }
    return measure(studio, judge, files, style.replace("-", " "), trial)


def main() -> None:
    """Measure the adapters that come with the app."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "effect.json")
    options = parser.parse_args()
    figures = measure_samples(Studio(), load_judge(), trial_of(options))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
