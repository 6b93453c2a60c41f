"""The recipe: the file says every setting, mistakes are told, changes are seen."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

import pytest

from pretrain.recipe import RECIPE, Recipe, RecipeError, differences, load_recipe


def _keys(table: dict[str, Any], where: str = "") -> set[str]:
    return {name for key, value in table.items() for name in _names(key, value, where)}


def _names(key: str, value: Any, where: str) -> set[str]:
    return _keys(value, f"{where}{key}.") if isinstance(value, dict) else {where + key}


def test_the_file_says_every_setting() -> None:
    said = tomllib.loads(RECIPE.read_text(encoding="utf-8"))
    assert _keys(said) == _keys(dataclasses.asdict(load_recipe()))


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "empty.toml").write_text("", encoding="utf-8")
    assert load_recipe(tmp_path / "empty.toml") == Recipe()


def test_changes_are_values_as_in_the_file() -> None:
    recipe = load_recipe(
        changes=[
            "diffusion.batch=64",
            "autoencoder.start=base",
            "diffusion.floor=1",
            "diffusion.unet.channels=[8, 8, 8]",
        ]
    )
    assert (recipe.diffusion.batch, recipe.autoencoder.start, recipe.diffusion.floor) == (64, "base", 1.0)
    assert recipe.diffusion.unet.channels == (8, 8, 8)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("diffusion.bach=64", "did you mean batch"),
        ("diffusion.batch=0", "Diffusion.batch is 0; allowed is 1 to any"),
        ("diffusion.batch=1.5", "must be of type int"),
        ("diffusion.batch=true", "must be of type int"),
        ("diffusion.start=scratch", "allowed are base, new"),
        ("diffusion.unet=3", "it is a section"),
        ("diffusion.unet.channels=3", "it must be a list"),
        ("diffusion.unet.channels=[8]", "both must have one a level"),
        ("diffusion.captions.few=0.9", "at most 1 is possible"),
        ("diffusion.captions.few_least=4", "swap them"),
        ("diffusion.sheet_prompts=[]", "at least one value"),
        ("diffusion.optimizer.clip=nan", "allowed is"),
        ("pictures.count=1500", "write 2000"),
        ("autoencoder.crop=63", "write 56"),
        ("autoencoder.start=new", 'write train = "all"'),
        ("diffusion.batch", "changes nothing"),
        ("base.batch=1", "which is a value"),
    ],
)
def test_mistakes_are_told_in_one_sentence(change: str, told: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(changes=[change])
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_toml_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[pictures\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="is no TOML"):
        load_recipe(tmp_path / "bad.toml")


def test_differences_name_the_settings() -> None:
    a, b = dataclasses.asdict(load_recipe()), dataclasses.asdict(load_recipe(changes=["diffusion.captions.few=0.2"]))
    assert differences(a, b) == ["diffusion.captions.few"]
    a["diffusion"]["unet"]["channels"] = list(a["diffusion"]["unet"]["channels"])  # as a file gives them back
    assert differences(a, dataclasses.asdict(load_recipe())) == []
