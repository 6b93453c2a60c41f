"""Sixteen pictures and a base of a few thousand parameters, for everything that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pretrain.recipe import Recipe, load_recipe

ASSETS = Path(__file__).parents[2] / "assets" / "base"
TINY = (
    'device="cpu"',
    'numbers="fp32"',
    "pictures.count=16",
    "pictures.shard=8",
    "pictures.processes=1",
    "autoencoder.steps=6",
    "autoencoder.batch=2",
    "autoencoder.optimizer.warmup=1",
    "autoencoder.cadence.sheet_steps=0",
    "autoencoder.cadence.log_seconds=0",
    "diffusion.steps=6",
    "diffusion.batch=4",
    "diffusion.optimizer.warmup=1",
    "diffusion.unet.channels=[16, 32]",
    "diffusion.unet.attention=[true, false]",
    "diffusion.unet.heads=2",
    "diffusion.unet.groups=4",
    "diffusion.text_encoder.width=16",
    "diffusion.text_encoder.layers=1",
    "diffusion.text_encoder.heads=2",
    "diffusion.text_encoder.feed_forward=32",
    "diffusion.cadence.sheet_steps=0",
    "diffusion.cadence.log_seconds=0",
)
RecipeOf = Callable[..., Recipe]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from a second thread, which on a busy machine only waits."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sixteen pictures in two files."""
    pytest.importorskip("skia")
    from pretrain.pictures import paint

    folder = tmp_path_factory.mktemp("pictures")
    paint(folder, load_recipe(changes=TINY).pictures)
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base folder in the layout of the real one, with the real tokenizer and scheduler and random weights."""
    from pretrain import trainings
    from pretrain.autoencoder.job import new_autoencoder
    from pretrain.diffusion.models import new_models
    from pretrain.export import write_base
    from pretrain.recipe import AutoencoderModel

    recipe = load_recipe(changes=TINY).diffusion
    unet, words = new_models(ASSETS, recipe.unet, recipe.text_encoder, (4, 16), seed=0)
    vae = new_autoencoder(AutoencoderModel((8, 8, 8, 8), 4, 2, 1), 128, seed=0)
    base = tmp_path_factory.mktemp("bases") / "base"
    write_base(base, ASSETS, {"unet": unet, "text_encoder": words, "vae": vae}, without=(trainings.NAME,))
    return base


@pytest.fixture
def recipe_of(tiny_base: Path) -> RecipeOf:
    """The tiny recipe with further changes."""

    def make(*changes: str) -> Recipe:
        return load_recipe(changes=(*TINY, f'base="{tiny_base}"', *changes))

    return make


def assert_equal(a: Path, b: Path) -> None:
    """Two runs have the same weights, the same average and the same state of their optimizers."""
    first, second = _tensors(a), _tensors(b)
    assert first.keys() == second.keys()
    assert [name for name in first if not first[name].equal(second[name])] == []


def _tensors(folder: Path) -> dict[str, Any]:
    """All that learns, by name."""
    from pretrain import checkpoint

    state = checkpoint.load(folder)
    assert state is not None
    found = {f"{part}.{name}": value for part in state["modules"] for name, value in state["modules"][part].items()}
    found |= {f"average.{k}": value for k, value in enumerate(state["average"])}
    for k, optimizer in enumerate(state["optimizers"]):
        assert optimizer["state"]
        for p, values in optimizer["state"].items():
            found |= {f"optimizer.{k}.{p}.{name}": value for name, value in values.items()}
    return found
