"""Every kind of change in the slots at once: rows with their own weights, several adapters, and what is remembered."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from lora_studio.adapters import admit
from lora_studio.adapters.canonical import CanonicalAdapter, Dense, Kronecker, LowRank
from lora_studio.pipeline import slots
from lora_studio.pipeline.joining import join_layer
from tests.adapters.corpus import kinds
from tests.adapters.corpus_layouts import SD, SD_TEXT
from tests.support.tiny_models import Delta, TinyModels, alike, tiny_models

NAMES = (
    "kohya LoCon",
    "DoRA, rows",
    "DoRA, columns",
    "LoHa",
    "LoKr with DoRA",
    "full difference",
    "norms",
    "IA3, inputs",
)
MORE = ("GLoRA", "OFT", "BOFT", "bias alone")


@pytest.fixture(scope="module")
def tiny() -> TinyModels:
    return tiny_models("sd")


@pytest.fixture(scope="module")
def read(tiny: TinyModels, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[CanonicalAdapter, dict]]:
    """Adapters by kind, with their ΔW."""
    found = {}
    for kind in kinds():
        if kind.name in (*NAMES, *MORE):
            folder = tmp_path_factory.mktemp("kind")
            made = kind.make(tiny, folder)
            path = folder / "a.safetensors"
            save_file({name: t.contiguous() for name, t in made.tensors.items()}, path)
            found[kind.name] = (admit(path, kind.name, tiny.layers)[0], made.deltas)
    return found


def summed(parts: list[tuple[dict[str, Delta], float]]) -> dict[str, Delta]:
    """Σ weight · ΔW, and of biases."""
    total: dict[str, list[torch.Tensor | None]] = {}
    for deltas, weight in parts:
        for key, both in deltas.items():
            there = total.setdefault(key, [None, None])
            for place, value in enumerate(both):
                if value is not None:
                    before = there[place]
                    there[place] = weight * value if before is None else before + weight * value
    return {key: (both[0], both[1]) for key, both in total.items()}


def test_all_kinds_together_in_one_batch(tiny: TinyModels, read: dict) -> None:
    """Twelve adapters of different arithmetic on the same layers; three rows with mixes of their own in one call."""
    names = sorted(read)
    assert len(names) == len(NAMES) + len(MORE)
    mixes = [
        {name: 0.1 * (-1) ** number * (1 + number % 3) for number, name in enumerate(names)},
        {"DoRA, rows": 1.0, "DoRA, columns": -0.4},
        {},
    ]
    together = tiny.with_adapter(*(tuple((read[n][0], w) for n, w in mix.items()) for mix in mixes))
    for row, mix in enumerate(mixes):
        wanted = tiny.with_deltas(summed([(read[name][1], weight) for name, weight in mix.items()]))
        assert alike(together, wanted, row) < 2e-5


@pytest.mark.parametrize("name", [*NAMES, *MORE])
def test_weight_zero_is_the_base_bit_for_bit(name: str, tiny: TinyModels, read: dict) -> None:
    adapter = read[name][0]
    plain = tiny.run(2)
    alone = tiny.with_adapter(((adapter, 0.0),), ((adapter, 0.0),))
    assert all(torch.equal(alone[key], plain[key]) for key in plain)


def test_one_adapter_alone_is_not_copied(tiny: TinyModels, read: dict) -> None:
    """A second copy of the factors would double the memory of the largest adapters."""
    adapter = read["kohya LoCon"][0]
    for key, change in adapter.layers.items():
        joined = join_layer([change], tiny.module(key))
        assert isinstance(change, LowRank)
        assert joined.down is not None
        assert joined.down.data_ptr() == change.down.data_ptr()
        assert joined.nbytes == 0
        assert join_layer([change, change], tiny.module(key)).nbytes > 0


def test_what_is_remembered_is_bounded_by_bytes(tiny: TinyModels, read: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.slots.forget()
    sets = [(read[a][0], read[b][0]) for a in NAMES[:3] for b in MORE[:2]]
    for pair in sets:
        tiny.with_adapter(tuple((adapter, 0.5) for adapter in pair))
    whole = tiny.slots.nbytes
    assert whole > 0
    monkeypatch.setattr(slots, "REMEMBERED", whole // 2)
    tiny.slots.forget()
    for pair in sets:
        tiny.with_adapter(tuple((adapter, 0.5) for adapter in pair))
        assert tiny.slots.nbytes <= whole // 2
    monkeypatch.setattr(slots, "REMEMBERED", 0)
    again = tiny.with_adapter(tuple((adapter, 0.5) for adapter in sets[0]))
    tiny.slots.forget()
    assert alike(again, tiny.with_adapter(tuple((adapter, 0.5) for adapter in sets[0]))) == 0


def test_grouped_convolutions_take_factors_too() -> None:
    """Groups do not share their inputs: the factors' product is applied by groups, as the layer's own weight is."""
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(8, 12, 3, padding=1, stride=2, groups=4)
    host = torch.nn.ModuleDict({"conv": layer})
    own = slots.AdapterSlots({"unet": host})
    change = LowRank(torch.randn(2, 2, 3, 3), torch.randn(12, 2, 1, 1))
    adapter = CanonicalAdapter("grouped", {"unet.conv": change})
    x = torch.randn(2, 8, 6, 6)
    with torch.no_grad(), own.active([((adapter, 0.7),), ((adapter, -1.0),)]):
        got = layer(x)
    for row, weight in enumerate((0.7, -1.0)):
        moved = layer.weight + weight * change.delta()
        wanted = torch.nn.functional.conv2d(x[row : row + 1], moved, layer.bias, 2, 1, groups=4)
        assert torch.allclose(got[row : row + 1], wanted, atol=1e-5)


def test_products_act_by_their_halves() -> None:
    """A LoKr of two whole matrices never becomes its difference, which is hundreds of times larger."""
    torch.manual_seed(0)
    linear, conv = torch.nn.Linear(12, 20), torch.nn.Conv2d(12, 20, 3, stride=2, padding=1)
    host = torch.nn.ModuleDict({"linear": linear, "conv": conv})
    own = slots.AdapterSlots({"unet": host})
    first, second = torch.randn(4, 3), torch.randn(5, 4, 3, 3)
    changes = {"unet.linear": Kronecker(first, second[..., 0, 0]), "unet.conv": Kronecker(first, second)}
    adapter = CanonicalAdapter("product", changes)
    assert adapter.nbytes == 4 * (2 * first.numel() + second[..., 0, 0].numel() + second.numel())
    x, picture = torch.randn(2, 7, 12), torch.randn(2, 12, 6, 6)
    with torch.no_grad(), own.active([((adapter, 0.7),), ((adapter, -1.0),)]):
        got, drawn = linear(x), conv(picture)
    for row, weight in enumerate((0.7, -1.0)):
        moved = linear.weight + weight * torch.kron(first, second[..., 0, 0].contiguous())
        assert torch.allclose(got[row], torch.nn.functional.linear(x[row], moved, linear.bias), atol=1e-5)
        delta = torch.stack([torch.kron(first, second[..., i, j].contiguous()) for i in range(3) for j in range(3)], -1)
        moved = conv.weight + weight * delta.reshape(conv.weight.shape)
        wanted = torch.nn.functional.conv2d(picture[row : row + 1], moved, conv.bias, 2, 1)
        assert torch.allclose(drawn[row : row + 1], wanted, atol=1e-4)
    whole = changes["unet.linear"]
    assert whole.norm() == pytest.approx(float(whole.delta().norm()), rel=1e-5)


def test_half_precision_bases_bind_in_float32() -> None:
    """A DoRA's norms are reckoned in float32 whatever the base is held in."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(64, 48).to(torch.bfloat16)
    from lora_studio.adapters.binding import bind, delta
    from lora_studio.adapters.canonical import Decomposed, Gain

    direction = LowRank(torch.randn(4, 64) * 0.1, torch.randn(48, 4) * 0.1)
    change = Decomposed(direction, layer.weight.float().norm(dim=1) * 1.1, "out")
    factors, gain = bind(change, layer.weight)
    assert isinstance(gain, Gain)
    assert gain.gain.dtype == torch.float32
    whole = layer.weight.float() * gain.gain[:, None] + factors.delta()  # type: ignore[union-attr]
    assert torch.allclose(whole, delta(change, layer.weight), atol=1e-6)


@pytest.mark.parametrize("how", ["bfloat16 weights", "bfloat16 autocast"])
@pytest.mark.parametrize("name", [*NAMES, *MORE])
def test_half_precision_acts_as_float32_does(name: str, how: str, tiny: TinyModels, read: dict) -> None:
    """The dtypes of bases on a GPU, and of autocast: no operation mixes them, and the effect is the same but for
    rounding."""
    adapter = read[name][0]
    half = tiny_models("sd")
    exact = tiny.with_adapter(((adapter, 1.0),))
    wanted = exact["text_encoder"], exact["unet"]
    if how == "bfloat16 weights":
        text = half.trees["text_encoder"].to(torch.bfloat16)
        unet = half.trees["unet"].to(torch.bfloat16)
        dtype = torch.bfloat16
    else:
        text, unet, dtype = half.trees["text_encoder"], half.trees["unet"], torch.float32
    draw = torch.Generator().manual_seed(5)
    latents = torch.randn(1, 4, 8, 8, generator=draw).to(dtype)
    words = torch.randn(1, 7, 24, generator=draw).to(dtype)
    ids = torch.randint(0, 90, (1, 7), generator=draw)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=how == "bfloat16 autocast")
    with torch.no_grad(), half.slots.active([((adapter, 1.0),)]), autocast:
        got = text(ids).last_hidden_state, unet(latents, torch.tensor([321]), words, return_dict=False)[0]
    for ours, theirs in zip(got, wanted, strict=True):
        assert float((ours.float() - theirs).norm() / theirs.norm()) < 0.03


def test_text_encoder_and_unet_have_weights_of_their_own(tiny: TinyModels, read: dict) -> None:
    """The same adapter at another weight while texts are encoded acts at that weight there alone."""
    dora, deltas = read["DoRA, rows"]
    with tiny.slots.active([((dora, 0.3),)]):
        at_low = tiny.run()
    with tiny.slots.active([((dora, 1.0),)]):
        at_full = tiny.run()
    unet = {key: value for key, value in deltas.items() if key.startswith("unet")}
    assert {*SD[:1], SD_TEXT[0]} <= set(deltas)
    assert alike({"unet": at_full["unet"]}, {"unet": tiny.with_deltas(unet)["unet"]}) < 1e-5
    texts = {key: value for key, value in deltas.items() if key.startswith("text_encoder")}
    wanted = tiny.with_deltas(texts, 0.3)
    assert alike({"text_encoder": at_low["text_encoder"]}, {"text_encoder": wanted["text_encoder"]}) < 1e-5


def test_dense_keeps_its_bias_beside_factors_of_another_adapter(tiny: TinyModels) -> None:
    shape = tiny.layers[SD[3]].shape
    bias = torch.linspace(-1, 1, shape[0])
    dense = CanonicalAdapter("d", {SD[3]: Dense(torch.full(shape, 0.01), bias)})
    low = CanonicalAdapter("l", {SD[3]: LowRank(torch.full((1, shape[1]), 0.1), torch.full((shape[0], 1), 0.1), bias)})
    got = tiny.with_adapter(((dense, 0.5), (low, 2.0)))
    weight = torch.full(shape, 0.5 * 0.01 + 2.0 * 0.01)
    assert alike(got, tiny.with_deltas({SD[3]: (weight, 2.5 * bias)})) < 1e-5
