"""Adapter slots against W + s·BA computed densely, on real layers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from lora_studio.adapters.canonical import CanonicalAdapter, Dense, LowRank
from lora_studio.adapters.formats.ldm import LdmNames
from lora_studio.pipeline import ModelCall, SharedBase
from tests.support.tiny import load_tiny, random_adapter, write_tiny_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SharedBase:
    return load_tiny(write_tiny_base(tmp_path_factory.mktemp("tiny")))


def call(base: SharedBase, rows: int, mixes: tuple = ()) -> ModelCall:
    generator = torch.Generator().manual_seed(5)
    one = torch.randn(1, 4, 16, 16, generator=generator), torch.randn(1, 77, 32, generator=generator)
    latents, embeddings = (t.expand(rows, *t.shape[1:]).contiguous() for t in one)
    return ModelCall(latents, torch.full((rows,), 321), embeddings, None, mixes or ((),) * rows)


def merged(base: SharedBase, mix: tuple) -> torch.Tensor:
    """The prediction with ΔW written into the weights themselves, which are put back afterwards."""
    kept = {}
    modules = dict(base.unet.named_modules())
    with torch.no_grad():
        for adapter, weight in mix:
            for key, change in adapter.layers.items():
                if key.startswith("unet."):
                    parameter = modules[key.removeprefix("unet.")].weight
                    kept.setdefault(key, (parameter, parameter.clone()))
                    parameter += weight * change.delta()
    try:
        return base.predict(call(base, 1))
    finally:
        for parameter, before in kept.values():
            parameter.data.copy_(before)


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a - b).abs().max() <= 2e-5 * b.abs().max())


@pytest.mark.parametrize("count", [1, 3, 12])
def test_any_number_of_adapters_equals_merged_weights(base: SharedBase, count: int) -> None:
    mix = tuple((random_adapter(base, seed, rank=1 + seed % 4), 0.9 - 0.15 * seed) for seed in range(count))
    assert close(base.predict(call(base, 1, (mix,))), merged(base, mix))


def test_each_row_of_a_batch_has_its_own_mix(base: SharedBase) -> None:
    """Three rows, three mixes, one call: each row equals being alone."""
    a, b = random_adapter(base, 1), random_adapter(base, 2)
    mixes = (((a, 1.0),), ((b, -0.5), (a, 0.3)), ())
    together = base.predict(call(base, 3, mixes))
    for row, mix in enumerate(mixes):
        assert close(together[row : row + 1], merged(base, mix))


def test_the_same_adapter_twice_counts_twice(base: SharedBase) -> None:
    a = random_adapter(base, 1)
    assert close(base.predict(call(base, 1, (((a, 0.4), (a, 0.3)),))), merged(base, ((a, 0.7),)))


def in_blocks(base: SharedBase, adapter: CanonicalAdapter, factors: dict[str, float]) -> CanonicalAdapter:
    """The adapter with the changes of each block multiplied; a block is told by its layers' names in the original."""
    names = LdmNames(key.removeprefix("unet.") for key in base.layers if key.startswith("unet."))
    layers = {}
    for key, change in adapter.layers.items():
        original = names.of(key.removeprefix("unet.")) or ""
        factor = next((factors[start] for start in factors if original.startswith(start)), 1.0)
        layers[key] = LowRank(change.down, change.up * factor)
    return CanonicalAdapter(adapter.key + "-weighed", layers)


def test_weights_by_block_equal_an_adapter_that_was_made_so(base: SharedBase) -> None:
    """Three rows of one call: one adapter by blocks beside a plain one, the plain one alone, other blocks."""
    a, b = random_adapter(base, 1), random_adapter(base, 2)
    names = base.info.blocks.names
    by_block = {"input_blocks.1.": 0.0, "input_blocks.3.": -0.5, "middle_block.": 2.0, "output_blocks.2.": 0.3}
    chosen = {"IN01": 0.0, "IN03": -0.5, "M00": 2.0, "OUT02": 0.3}
    assert set(chosen) < set(names)
    weights = (*(0.8 * chosen.get(name, 1.0) for name in names), 0.8)
    others = (*(0.8 * (name == "M00") for name in names), 0.0)
    together = base.predict(call(base, 3, (((a, weights), (b, 0.4)), ((b, 0.4),), ((a, others),))))
    silent = {"input_blocks.": 0.0, "output_blocks.": 0.0, "out.": 0.0, "time_embed.": 0.0}
    for row, mix in enumerate(
        (
            ((in_blocks(base, a, by_block), 0.8), (b, 0.4)),
            ((b, 0.4),),
            ((in_blocks(base, a, silent), 0.8),),
        )
    ):
        assert close(together[row : row + 1], merged(base, mix))
    assert not close(together[:1], merged(base, ((a, 0.8), (b, 0.4)))), "the blocks make a difference"


def test_a_block_of_weight_zero_is_left_out(base: SharedBase) -> None:
    """0 in all blocks is the base bit for bit, and so is the base where nothing but blocks of 0 is left."""
    a, count = random_adapter(base, 1), len(base.info.blocks.names)
    plain = base.predict(call(base, 1))
    assert torch.equal(plain, base.predict(call(base, 1, (((a, (0.0,) * (count + 1)),),))))
    attended = base.info.blocks.attended
    only = CanonicalAdapter("attn", {key: change for key, change in a.layers.items() if ".attentions." in key})
    weights = (*(0.0 if name in attended else 1.0 for name in base.info.blocks.names), 1.0)
    assert torch.equal(plain, base.predict(call(base, 1, (((only, weights),),))))


def test_a_dense_difference_acts_like_its_factors(base: SharedBase) -> None:
    a = random_adapter(base, 3)
    dense = CanonicalAdapter("dense", {key: Dense(change.delta()) for key, change in a.layers.items()})
    mix = (((dense, 0.8), (random_adapter(base, 4), 0.5)),)
    assert close(base.predict(call(base, 1, mix)), merged(base, ((a, 0.8), (random_adapter(base, 4), 0.5))))


def test_weight_zero_and_nothing_are_bit_equal(base: SharedBase) -> None:
    plain = base.predict(call(base, 2))
    zero = base.predict(call(base, 2, (((random_adapter(base, 1), 0.0),),) * 2))
    assert torch.equal(plain, zero)


def test_slots_leave_nothing_behind(base: SharedBase) -> None:
    """After a call with adapters, and after one that fails, the base predicts what it predicted before."""
    before = base.predict(call(base, 1))
    base.predict(call(base, 1, (((random_adapter(base, 1), 1.0),),)))
    assert torch.equal(base.predict(call(base, 1)), before)
    broken = call(base, 1, (((random_adapter(base, 1), 1.0),),))
    with pytest.raises(RuntimeError):
        base.predict(ModelCall(broken.latents, broken.timesteps, broken.embeddings[..., :5], None, broken.mixes))
    assert torch.equal(base.predict(call(base, 1)), before)


def test_a_live_adapter_is_never_remembered(base: SharedBase) -> None:
    """A training changes the very tensors that a preview joins; a remembered copy would show an old state."""
    a = random_adapter(base, 1)
    live = CanonicalAdapter("live", a.layers, live=True)
    other = random_adapter(base, 2)
    first = base.predict(call(base, 1, (((live, 1.0), (other, 1.0)),)))
    with torch.no_grad():
        for change in a.layers.values():
            change.up.mul_(2)
    second = base.predict(call(base, 1, (((live, 1.0), (other, 1.0)),)))
    assert not torch.equal(first, second)
    assert close(second, merged(base, ((a, 1.0), (other, 1.0))))


def test_padding_is_not_looked_at(base: SharedBase, tmp_path: Path) -> None:
    """Texts of unequal length in one batch run under a mask and equal running alone."""
    from lora_studio.pipeline.conditioning import TextCondition, batch

    generator = torch.Generator().manual_seed(0)
    short = TextCondition(torch.randn(77, 32, generator=generator))
    long = TextCondition(torch.randn(154, 32, generator=generator))
    embeddings, mask = batch([short, long])
    one = call(base, 2)
    both = base.predict(ModelCall(one.latents, one.timesteps, embeddings, mask, one.mixes))
    alone = [
        base.predict(ModelCall(one.latents[:1], one.timesteps[:1], c.embeddings[None], None, one.mixes[:1]))
        for c in (short, long)
    ]
    assert close(both, torch.cat(alone))


def test_adapters_without_a_key_are_told_apart(base: SharedBase) -> None:
    """Bug: two adapters that nobody had given an identity shared one remembered join."""
    one, other = (dataclasses.replace(random_adapter(base, seed), key="") for seed in (1, 2))
    for mix in (((one, 0.5),), ((other, 0.5),), ((one, 0.5), (other, -1.0))):
        assert torch.allclose(base.predict(call(base, 1, (mix,))), merged(base, mix), atol=2e-5)


def test_the_weights_are_copied_to_a_device_once(tmp_path: Path) -> None:
    """Some 700 layers had a copy each at every step, and a copy to a GPU waits for it; the meta device shows them."""
    base = load_tiny(write_tiny_base(tmp_path))
    adapter = random_adapter(base, 1)
    for module in (base.unet, base.text_encoder):
        module.to("meta")
    with base.slots.active([((adapter, 0.5),)]):
        tables = [slot.weights for slot in base.slots._slots.values() if slot.weights is not None]
    assert len(tables) == len(adapter.layers) > 10
    assert all(table is tables[0] for table in tables)
    assert tables[0].is_meta
