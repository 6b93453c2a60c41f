"""Headers of every sort: a file is let in or refused by our own error, quickly, and never by anything else."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from lora_studio.adapters import admit, inspect
from lora_studio.errors import AdapterRefused
from lora_studio.headers.parts import split_names
from tests.support.tiny_models import TinyModels, tiny_models


@pytest.fixture(scope="module")
def tiny() -> TinyModels:
    return tiny_models("sd")


@contextmanager
def quickly() -> Iterator[None]:
    """No hang: at most two seconds of this thread's own time, whatever else the machine does."""
    began = time.thread_time()
    yield
    assert time.thread_time() - began < 2


MODULES = (
    "lora_unet_conv_in",
    "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
    "unet.mid_block.attentions.0.proj_in",
    "base_model.model.conv_in",
    "lora_unet_double_blocks_0_img_attn_qkv",
    "diffusion_model.blocks.0.self_attn.q",
)
PARTS = (
    "lora_down.weight",
    "lora_up.weight",
    "lora_mid.weight",
    "alpha",
    "dora_scale",
    "hada_w1_a",
    "hada_w1_b",
    "hada_w2_a",
    "hada_w2_b",
    "hada_t1",
    "lokr_w1",
    "lokr_w2_a",
    "lokr_w2_b",
    "lokr_t2",
    "diff",
    "diff_b",
    "w_norm",
    "oft_blocks",
    "oft_R.weight",
    "rescale",
    "on_input",
    "weight",
    "a1.weight",
    "b2.weight",
    "lora_A.weight",
    "lora_B.weight",
    "scalar",
)
NAMES = st.one_of(
    st.text(max_size=20),
    st.builds("{}.{}".format, st.sampled_from(MODULES), st.sampled_from(PARTS)),
    st.just("bundle_emb.cat.string_to_param.*"),
)
ENTRIES = st.one_of(
    st.none(),
    st.integers(),
    st.fixed_dictionaries(
        {
            "shape": st.lists(st.integers(-1, 9), max_size=6),
            "data_offsets": st.lists(st.integers(-1, 64), min_size=2, max_size=2),
        },
        optional={
            "dtype": st.sampled_from(["F32", "F16", "BF16", "I8", "F8_E4M3", "X", "I64", "\ud800", None, 3, ["F32"]])
        },
    ),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(NAMES, ENTRIES, max_size=6), st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_any_header(tiny: TinyModels, tmp_path: Path, header: dict, length: int | None) -> None:
    path = tmp_path / "any.safetensors"
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + bytes(64))
    with quickly():
        _, report = inspect(path, "0" * 64, tiny.layers)
    if report.refused is not None:
        assert "any.safetensors" in report.refused.message
        assert report.refused.message.count("\n") == 0
        assert report.refused.message.isprintable()


SHAPES = st.lists(st.integers(0, 5), max_size=4)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(MODULES), st.dictionaries(st.sampled_from(PARTS), SHAPES, min_size=1, max_size=6), st.data())
def test_any_shapes_of_any_parts(
    tiny: TinyModels, tmp_path: Path, module: str, parts: dict[str, list[int]], data: st.DataObject
) -> None:
    """Well-formed files whose parts do not go together, with numbers of every sort."""
    fill = data.draw(st.sampled_from([0.0, 1.0, -1.0, float("nan"), float("inf"), 1e30, 3e4]))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8]))
    with_nan = dtype.is_floating_point or fill in (0.0, 1.0)
    tensors = {
        f"{module}.{part}": torch.full(shape, fill if with_nan else 1).to(dtype) for part, shape in parts.items()
    }
    path = tmp_path / "odd.safetensors"
    path.write_bytes(save(tensors))
    with quickly():
        adapter, _ = inspect(path, "0" * 64, tiny.layers)
    if adapter is not None:
        assert all(torch.isfinite(value).all() for value in tiny.with_adapter(((adapter, 1.0),)).values())
        tiny.slots.forget()
    inspect(path, "0" * 64)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=200), max_size=20))
def test_any_names_are_cut_into_parts(names: list[str]) -> None:
    with quickly():
        modules, unknown, twice = split_names(names)
    told = [tensor for parts in modules.values() for tensor in parts.values()]
    assert sorted([*told, *unknown, *twice]) == sorted(names)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(tiny: TinyModels, tmp_path: Path, content: bytes) -> None:
    if content[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04"):
        content = b"x" + content  # what may be a pickle takes seconds in a process of its own
    path = tmp_path / "bytes.safetensors"
    path.write_bytes(content)
    with quickly(), pytest.raises(AdapterRefused, match=r"bytes\.safetensors"):
        admit(path, "0" * 64, tiny.layers)


@pytest.mark.slow
def test_very_long_names_take_no_time(tiny: TinyModels, tmp_path: Path) -> None:
    """One name of nine megabytes, and six thousand just within the limit, all of words that searches look for."""
    one = "lora_unet_" + "down_blocks." * 750_000 + "lora_down.weight"
    path = tmp_path / "long.safetensors"
    path.write_bytes(save({one: torch.ones(2, 2)}))
    with quickly(), pytest.raises(AdapterRefused, match="characters"):
        admit(path, "0" * 64, tiny.layers)
    words = "double_blocks_single_blocks_down_blocks_transformer_blocks_" * 15
    path.write_bytes(save({f"lora_unet_{words}{n}.lora_down.weight": torch.ones(1, 1) for n in range(6000)}))
    with quickly(), pytest.raises(AdapterRefused):
        admit(path, "0" * 64, tiny.layers)


HUGE = """
import json, resource, struct, sys, time
from pathlib import Path
from lora_studio.adapters import admit
from lora_studio.errors import AdapterRefused

path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.monotonic()
try:
    admit(path, "0" * 64, {})
except AdapterRefused as refusal:
    told = refusal.message
spent = time.monotonic() - began
grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(json.dumps({"told": told, "seconds": spent, "megabytes": grown}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in kilobytes on Linux alone")
@pytest.mark.parametrize("short", [True, False])
def test_a_header_of_200_000_tensors_costs_nothing(tmp_path: Path, short: bool) -> None:
    """safetensors itself takes 18.8 s and 323 MB for it. Measured in a process of its own."""
    path = tmp_path / "many.safetensors"
    entry = '{"dtype":"F32","shape":[],"data_offsets":[0,0]}'
    prefix = "" if short else "lora_unet_down_blocks_0_attentions_0_"
    text = ("{" + ",".join(f'"{prefix}{i:x}":{entry}' for i in range(200_000)) + "}").encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    run = subprocess.run([sys.executable, "-c", HUGE, str(path)], capture_output=True, text=True, timeout=300)
    told = json.loads(run.stdout)
    assert "many.safetensors" in told["told"]
    assert told["seconds"] < 1
    assert told["megabytes"] < 20


@pytest.mark.parametrize("name", ["a\nb\x1b[31m.lora_up.weight", "\ud800.lora_up.weight"])
def test_a_name_that_cannot_be_shown_is_refused(name: str, tmp_path: Path, tiny: TinyModels) -> None:
    """Bug: signs that move a terminal's cursor stood in the sentence as they were."""
    path = tmp_path / "a.safetensors"
    header = json.dumps({name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(AdapterRefused, match="cannot be shown") as caught:
        admit(path, "0" * 64, tiny.layers)
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("dtype", [None, 3, ["F32"], "\ud800", "F" * 1000])
@pytest.mark.parametrize("name", ["a.alpha", "a.lora_up.weight"])
def test_an_entry_without_a_kind_of_numbers_is_refused(
    name: str, dtype: object, tmp_path: Path, tiny: TinyModels
) -> None:
    """Bug: a KeyError ended the job, and half a character stood in the sentence, which no database takes."""
    path = tmp_path / "a.safetensors"
    entry: dict[str, object] = {"shape": [1], "data_offsets": [0, 4]}
    header = json.dumps({name: entry if dtype is None else entry | {"dtype": dtype}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(AdapterRefused, match="numbers of an unknown kind") as caught:
        admit(path, "0" * 64, tiny.layers)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


def test_half_a_character_in_a_header_harms_nobody(tmp_path: Path, tiny: TinyModels) -> None:
    """Bug: what a database cannot hold stood in the metadata and in the trigger words of an entry."""
    path = tmp_path / "a.safetensors"
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    factors = {"down": torch.ones(1, 32), "up": torch.ones(32, 1)}
    data = save({f"{name}.lora_{side}.weight": tensor for side, tensor in factors.items()})
    length = struct.unpack("<Q", data[:8])[0]
    said = {"modelspec.description": "cut \ud83d off", "ss_tag_frequency": '{"a": {"\\ud800 cat": 3}}'}
    header = json.dumps({**json.loads(data[8 : 8 + length]), "__metadata__": said}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + length :])
    _, report = admit(path, "0" * 64, tiny.layers)
    told = json.dumps([dict(report.metadata), report.trigger_words], ensure_ascii=False)
    assert "cut ? off" in told.encode().decode()
    assert report.trigger_words == ("? cat",)
