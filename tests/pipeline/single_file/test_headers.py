"""Headers of checkpoints of every sort: a base is loaded or refused by our own error, quickly, and by no other."""

from __future__ import annotations

import json
import math
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_studio.errors import BaseUnavailable
from lora_studio.pipeline.single_file import load_file
from lora_studio.pipeline.source import find_base
from tests.support.ldm import write_both
from tests.support.tiny import EXACT

Shapes = dict[str, tuple[int, ...]]
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "I64": 8, "U8": 1, "X9": 3}
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."


@contextmanager
def quickly() -> Iterator[None]:
    """No hang: at most two seconds of this thread's own time, whatever else the machine does."""
    began = time.thread_time()
    yield
    assert time.thread_time() - began < 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shapes]:
    """Names and shapes of good checkpoints."""
    return {
        kind: {name: tuple(t.shape) for name, t in write_both(tmp_path_factory.mktemp(kind), kind).items()}
        for kind in ("sd1", "sd2", "sdxl")
    }


def sparse(shapes: Shapes, dtypes: dict[str, str], path: Path, metadata: dict[str, str] | None = None) -> None:
    """A file of zeros that takes no room on the disk."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        size = SIZES[dtypes.get(name, "F16")]
        for side in shape:
            size *= side
        header[name] = {"dtype": dtypes.get(name, "F16"), "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def loaded(path: Path) -> bool:
    """Load a file; False where it is refused, which must be one line that names the file."""
    refused = ""
    with quickly():
        try:
            load_file(find_base(str(path), path), EXACT)
        except BaseUnavailable as refusal:
            refused = refusal.message
    assert not refused or str(path) in refused
    assert "\n" not in refused
    return not refused


SIDES = st.sampled_from([0, 1, 2, 3, 31, 32, 64, 77, 96])
NUMBERS = st.sampled_from([0, 1, 2, 5, 12, 99, 10_000, 10**9, 10**30])
PLACES = st.sampled_from(
    [
        UNET + "input_blocks.{}.0.in_layers.2.weight",
        UNET + "input_blocks.{}.0.op.weight",
        UNET + "input_blocks.1.1.transformer_blocks.{}.attn1.to_q.weight",
        UNET + "middle_block.1.transformer_blocks.{}.attn2.to_k.weight",
        UNET + "output_blocks.{}.0.in_layers.2.weight",
        UNET + "label_emb.{}.0.weight",
        VAE + "encoder.down.{}.block.0.conv1.weight",
        VAE + "encoder.down.0.block.{}.conv1.weight",
        TEXT + "encoder.layers.{}.mlp.fc1.weight",
        "conditioner.embedders.{}.model.token_embedding.weight",
        "conditioner.embedders.1.model.transformer.resblocks.{}.mlp.c_fc.weight",
        "model_ema.{}",
        "{}",
        "v_pred",
        "ztsnr",
    ]
)


PICKS = st.integers(0, 10_000)
"""Which name of a checkpoint, counted round; how many there are differs by kind."""
SHAPES = st.lists(SIDES, max_size=5).map(tuple).filter(lambda shape: math.prod(shape) <= 10**7)
"""Smaller than takes long to hash: 77 x 64 x 32 x 64 x 32 are 650 MB, which are 2.5 s of honest work."""


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    kind=st.sampled_from(["sd1", "sd2", "sdxl"]),
    gone=st.lists(PICKS, max_size=2),
    reshaped=st.lists(st.tuples(PICKS, SHAPES), max_size=2),
    added=st.lists(st.tuples(st.builds(str.format, PLACES, NUMBERS), SHAPES), max_size=2),
    retyped=st.lists(st.tuples(PICKS, st.sampled_from(sorted(SIZES))), max_size=1),
    said=st.sampled_from(["", "epsilon", "v", "nonsense"]),
)
def test_a_good_header_with_changes(
    whole: dict[str, Shapes],
    tmp_path: Path,
    kind: str,
    gone: list[int],
    reshaped: list[tuple[int, tuple[int, ...]]],
    added: list[tuple[str, tuple[int, ...]]],
    retyped: list[tuple[int, str]],
    said: str,
) -> None:
    """Names left out, added and put in place of others, other shapes, other numbers."""
    names = sorted(whole[kind])
    shapes = dict(whole[kind])
    for pick in gone:
        shapes.pop(names[pick % len(names)], None)
    shapes |= {names[pick % len(names)]: shape for pick, shape in reshaped} | dict(added)
    dtypes = {names[pick % len(names)]: dtype for pick, dtype in retyped}
    sparse(shapes, dtypes, tmp_path / "base.safetensors", {"modelspec.prediction_type": said} if said else None)
    assert loaded(tmp_path / "base.safetensors") or shapes != whole[kind] or dtypes


def test_a_side_of_zero_is_refused(whole: dict[str, Shapes], tmp_path: Path) -> None:
    """diffusers divided by it."""
    sparse(whole["sd1"] | {UNET + "input_blocks.1.0.in_layers.2.weight": (0,)}, {}, tmp_path / "base.safetensors")
    assert not loaded(tmp_path / "base.safetensors")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.one_of(st.text(max_size=20), st.builds(str.format, PLACES, NUMBERS)),
                       st.lists(SIDES, max_size=4).map(tuple), max_size=8))  # fmt: skip
def test_any_names(tmp_path: Path, shapes: Shapes) -> None:
    shapes.pop("__metadata__", None)
    sparse(shapes, {}, tmp_path / "any.safetensors")
    assert not loaded(tmp_path / "any.safetensors")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200), st.one_of(st.none(), st.integers(0, 2**64 - 1)))
def test_any_bytes(tmp_path: Path, content: bytes, length: int | None) -> None:
    path = tmp_path / "bytes.safetensors"
    path.write_bytes(struct.pack("<Q", len(content) if length is None else length) + content)
    assert not loaded(path)


@pytest.mark.parametrize(
    "place",
    [
        UNET + "input_blocks.{}.0.x",
        UNET + "input_blocks.1.1.transformer_blocks.{}.x",
        UNET + "middle_block.1.transformer_blocks.{}.x",
        VAE + "encoder.down.0.block.{}.x",
        VAE + "encoder.down.{}.block.0.conv1.weight",
        TEXT + "encoder.layers.{}.x",
    ],
)
@pytest.mark.parametrize("numbers", [range(3000), [10**9], [10**30]])
def test_numbers_of_blocks_that_no_base_has(
    whole: dict[str, Shapes], tmp_path: Path, place: str, numbers: list[int]
) -> None:
    """A name of a block with a large number made a model of as many blocks: minutes, or memory without end."""
    shapes = whole["sd1"] | {place.format(number): () for number in numbers}
    sparse(shapes, {}, tmp_path / "many.safetensors")
    assert not loaded(tmp_path / "many.safetensors")


def test_the_good_ones_are_loaded(whole: dict[str, Shapes], tmp_path: Path) -> None:
    for kind, shapes in whole.items():
        sparse(shapes, {}, tmp_path / f"{kind}.safetensors")
        assert loaded(tmp_path / f"{kind}.safetensors")
