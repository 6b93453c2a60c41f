"""What passes the door and what does not: every refusal is one sentence that names the file."""

from __future__ import annotations

import json
import resource
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from lora_studio.adapters import admit
from lora_studio.adapters.checks import LARGEST_VALUE
from lora_studio.adapters.door import FileOptions, admitting
from lora_studio.errors import AdapterRefused, InvalidInput
from lora_studio.pipeline import SharedBase
from lora_studio.types import TrainConfig
from lora_studio.types.train import LARGEST_SCALE
from tests.support.tiny import kohya_file, load_tiny, random_adapter, write_tiny_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SharedBase:
    return load_tiny(write_tiny_base(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def good(base: SharedBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kohya_file(random_adapter(base, 1), tmp_path_factory.mktemp("file") / "good.safetensors")


def damaged(good: Path, path: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    tensors = load_file(good)
    change(tensors)
    save_file(tensors, path)
    return path


def first(tensors: dict[str, Tensor], ending: str) -> str:
    return next(name for name in sorted(tensors) if name.endswith(ending))


@pytest.mark.parametrize("alpha", [None, 1.0, 2.5, 12.0])
def test_ours_to_kohya_to_ours(base: SharedBase, tmp_path: Path, alpha: float | None) -> None:
    """Any declared alpha reads back as the same ΔW."""
    adapter = random_adapter(base, 1)
    path = kohya_file(adapter, tmp_path / "a.safetensors", alpha=alpha)
    again, report = admit(path, "0" * 64, base.layers)
    assert set(again.layers) == set(adapter.layers)
    for key, change in adapter.layers.items():
        assert torch.allclose(again.layers[key].delta(), change.delta(), atol=1e-7)
    assert report.rank == 3
    assert report.layers_matched == report.layers_in_file == len(adapter.layers)
    assert not report.ignored


def test_text_encoder_names_say_text_model(base: SharedBase, good: Path) -> None:
    """transformers dropped `text_model.` from its module names; files must go on saying it."""
    names = [name for name in load_file(good) if name.startswith("lora_te")]
    assert names
    assert all(name.startswith("lora_te_text_model_encoder_layers_") for name in names)


DAMAGE: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "nan": lambda t: t[first(t, "up.weight")].view(-1)[:1].fill_(float("nan")),
    "infinite": lambda t: t[first(t, "up.weight")].view(-1)[:1].fill_(float("inf")),
    "huge": lambda t: t[first(t, "up.weight")].view(-1)[:1].fill_(1e30),
    "alpha nan": lambda t: t[first(t, "alpha")].fill_(float("nan")),
    "alpha 1e9": lambda t: t[first(t, "alpha")].fill_(1e9),
    "alpha negative": lambda t: t[first(t, "alpha")].fill_(-1),
    "no up": lambda t: t.pop(first(t, "up.weight")),
    "no down": lambda t: t.pop(first(t, "down.weight")),
    "integers": lambda t: t.update({first(t, "up.weight"): t[first(t, "up.weight")].to(torch.int8)}),
    "dora": lambda t: t.update({first(t, "alpha").replace("alpha", "dora_scale"): torch.ones(1)}),
    "wrong width": lambda t: t.update({first(t, "down.weight"): torch.zeros(3, 7)}),
    "wrong rank": lambda t: t.update({first(t, "up.weight"): torch.zeros(32, 5)}),
    "other family": lambda t: [t.update({n.replace("down_blocks", "input_blocks_9"): t.pop(n)}) for n in list(t)],
}


@pytest.mark.parametrize("kind", [k for k in DAMAGE if k != "other family"])
def test_damage_is_refused_in_one_sentence(kind: str, base: SharedBase, good: Path, tmp_path: Path) -> None:
    path = damaged(good, tmp_path / "my lora.safetensors", DAMAGE[kind])
    with pytest.raises(AdapterRefused) as caught:
        admit(path, "0" * 64, base.layers)
    assert "my lora.safetensors" in caught.value.message
    assert "\n" not in caught.value.message


def test_unknown_layers_are_told_of(base: SharedBase, good: Path, tmp_path: Path) -> None:
    """Some layers fit, some do not: it acts, and the report counts both."""
    path = damaged(good, tmp_path / "some.safetensors", DAMAGE["other family"])
    adapter, report = admit(path, "0" * 64, base.layers)
    assert 0 < report.layers_matched < report.layers_in_file
    assert len(adapter.layers) == report.layers_matched
    assert report.warnings[0]["code"] == "layers_ignored"


@pytest.mark.parametrize(
    "names",
    [["lora_transformer_blocks_0_attn.lora_down.weight"], ["lora_unet_no_such_layer.lora_down.weight"]],
)
def test_none_of_the_layers_fit(names: list[str], base: SharedBase, tmp_path: Path) -> None:
    path = tmp_path / "flux.safetensors"
    save_file({name: torch.ones(2, 2) for name in names}, path)
    with pytest.raises(AdapterRefused, match=r"flux\.safetensors"):
        admit(path, "0" * 64, base.layers)


def test_another_bases_adapter_loads_with_a_warning(base: SharedBase, tmp_path: Path) -> None:
    from lora_studio.adapters.kohya import to_kohya

    path = tmp_path / "old.safetensors"
    tensors = to_kohya(random_adapter(base, 1))
    save_file(tensors, path, metadata={"lora_studio_base_sha256": "f" * 64})
    _, report = admit(path, "0" * 64, base.layers, base.info.sha256)
    assert [w["code"] for w in report.warnings] == ["adapter_other_base"]
    save_file(tensors, path, metadata={"lora_studio_base_sha256": base.info.sha256})
    assert not admit(path, "0" * 64, base.layers, base.info.sha256)[1].warnings


def test_zero_differences_are_told_of(base: SharedBase, good: Path, tmp_path: Path) -> None:
    path = damaged(good, tmp_path / "zero.safetensors", lambda t: [v.zero_() for n, v in t.items() if "up" in n])
    assert [w["code"] for w in admit(path, "0" * 64, base.layers)[1].warnings] == ["adapter_zero"]


def header_file(path: Path, header: bytes, length: int | None = None, body: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + body)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 5) + b"\xff\xfe{}!",
        struct.pack("<Q", 13) + b'{"a":1,"a":2}',
        struct.pack("<Q", 24) + b'{"__metadata__":{"a":1}}',
        b"\x80\x04\x95pickle",
    ],
)
def test_headers_that_are_none(content: bytes, base: SharedBase, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(AdapterRefused, match=r"bad\.safetensors"):
        admit(path, "0" * 64, base.layers)


def test_a_header_of_200_000_tensors_is_refused_unread(base: SharedBase, tmp_path: Path) -> None:
    """safetensors itself works 18 seconds on such a header; it is refused by its count, before the library sees it."""
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"lora_unet_{i}.lora_down.weight": entry for i in range(100_000)}).encode()
    with pytest.raises(AdapterRefused, match="100000 tensors"):
        admit(header_file(tmp_path / "many.safetensors", header), "0" * 64, base.layers)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.one_of(st.text(max_size=20), st.just("lora_unet_conv_in.lora_down.weight")),
        st.one_of(
            st.none(),
            st.integers(),
            st.fixed_dictionaries(
                {
                    "shape": st.lists(st.integers(-1, 9), max_size=6),
                    "data_offsets": st.lists(st.integers(-1, 64), min_size=2, max_size=2),
                },
                optional={"dtype": st.sampled_from(["F32", "F16", "BF16", "I8", "X", "\ud800", None, 3])},
            ),
        ),
        max_size=4,
    )
)
def test_any_header_is_let_in_or_refused(base: SharedBase, tmp_path: Path, header: dict) -> None:
    path = header_file(tmp_path / "any.safetensors", json.dumps(header).encode(), body=bytes(64))
    refused = ""
    try:
        admit(path, "0" * 64, base.layers)
    except AdapterRefused as refusal:
        refused = refusal.message
    # No generated header can make a whole adapter of 64 zero bytes: each is refused, and by name.
    assert "any.safetensors" in refused


def test_a_checkpoint_is_refused_unread(base: SharedBase, tmp_path: Path) -> None:
    """Bug: a checkpoint given as a LoRA was read whole, gigabytes, before its names were looked at."""
    path = tmp_path / "model.safetensors"
    size = 3 * 2**30  # of holes: reading it would take seconds and as much memory
    entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    header = json.dumps({"model.diffusion_model.input_blocks.0.0.weight": entry}).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AdapterRefused) as caught:
        admit(path, "0" * 64, base.layers)
    assert caught.value.code == "adapter_layout"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_a_file_is_read_in_turns(base: SharedBase, good: Path) -> None:
    """Bug: an import checked and measured all layers of a file in one turn, in which nobody else's picture moved."""
    layers = len(admit(good, "0" * 64, base.layers)[0].layers)
    for weights, turns in ((None, layers), (base.slots, 2 * layers)):
        assert len(list(admitting(good, "0" * 64, base.layers, options=FileOptions(weights=weights)))) == turns


def test_no_training_begins_whose_file_would_be_refused() -> None:
    """Bug: alpha could be a million, and the finished training's own file was refused by its self-test."""
    assert LARGEST_SCALE == LARGEST_VALUE
    assert TrainConfig(name="x", dataset="y", rank=2, alpha=2e4).scale == 1e4
    with pytest.raises(InvalidInput, match="alpha was given as 20001 at rank 2; at most 20000 is allowed") as refused:
        TrainConfig(name="x", dataset="y", rank=2, alpha=20_001)
    assert (refused.value.code, refused.value.values["field"]) == ("alpha_large", "alpha")
