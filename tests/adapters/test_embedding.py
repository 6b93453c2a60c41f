"""The door of embeddings: every layout reads back as its vectors, and what is wrong is refused in one sentence."""

from __future__ import annotations

import io
import json
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

from lora_studio.adapters import unpack
from lora_studio.adapters.embedding import admit, admitting, is_embedding, kind_of
from lora_studio.adapters.unpack import from_pixels, noise
from lora_studio.adapters.unpacking import Unpacking, UnpackingError
from lora_studio.errors import EmbeddingRefused
from tests.support import embeddings as made
from tests.support.embeddings import WIDTH, vectors

SHA = "0" * 64
WIDTHS = {"clip_l": WIDTH}


def refusal(path: Path, widths: dict[str, int] | None = None, name: str = "my words") -> EmbeddingRefused:
    with pytest.raises(EmbeddingRefused) as caught:
        admit(path, SHA, widths or WIDTHS, name)
    assert "my words" in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.message.endswith(".")
    return caught.value


# ---------------------------------------------------------------- what is let in
@pytest.mark.parametrize("name", ["emb_params", "*", "<cat-toy>", "<lora-like>", "string_to_param.*"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_single_table_of_vectors(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "Words.safetensors"
    save_file({name: vectors(16).to(dtype)}, path, metadata={"modelspec.title": "W", "other": "x"})
    embedding, report = admit(path, SHA, WIDTHS)
    assert (embedding.name, embedding.count, embedding.widths, embedding.sha256) == ("Words", 16, WIDTHS, SHA)
    assert torch.equal(embedding.vectors["clip_l"], vectors(16).to(dtype).float())
    assert embedding.vectors["clip_l"].dtype == torch.float32
    assert (report.kind, report.tensors, report.metadata, report.warnings) == (
        "safetensors", None, {"modelspec.title": "W"}, (),
    )  # fmt: skip


def test_one_vector_without_a_second_dimension(tmp_path: Path) -> None:
    path = tmp_path / "toy.safetensors"
    save_file({"<cat-toy>": vectors(1)[0]}, path)
    assert torch.equal(admit(path, SHA, WIDTHS)[0].vectors["clip_l"], vectors(1))


@pytest.mark.parametrize("names", [("clip_l", "clip_g"), ("text_encoders_0", "text_encoders_1")])
def test_two_text_encoders(names: tuple[str, str], tmp_path: Path) -> None:
    path = tmp_path / "xl.safetensors"
    save_file({names[0]: vectors(4), names[1]: vectors(4, 48, seed=1)}, path)
    embedding, _ = admit(path, SHA, {"clip_l": WIDTH, "clip_g": 48})
    assert torch.equal(embedding.vectors["clip_l"], vectors(4))
    assert torch.equal(embedding.vectors["clip_g"], vectors(4, 48, seed=1))
    assert refusal(path).values["has"] == "32 + 48"


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files_old_and_new(zipped: bool, tmp_path: Path) -> None:
    path = made.write_pt(tmp_path / "EasyThing.pt", 5, _use_new_zipfile_serialization=zipped)
    embedding, report = admit(path, SHA, WIDTHS)
    assert (embedding.name, embedding.count) == ("EasyThing", 5)
    assert torch.equal(embedding.vectors["clip_l"], vectors(5))
    assert report.kind == "torch"
    assert report.metadata["sd_checkpoint_name"] == "v1-5-pruned"
    assert report.metadata["step"] == "1500"
    kept = tmp_path / "kept.safetensors"
    kept.write_bytes(report.tensors or b"")
    again, second = admit(kept, SHA, WIDTHS, "EasyThing")
    assert torch.equal(again.vectors["clip_l"], embedding.vectors["clip_l"])
    assert (second.kind, second.metadata["name"]) == ("safetensors", "inner name")


@pytest.mark.slow
def test_the_first_embeddings_kept_their_vectors_in_a_module(tmp_path: Path) -> None:
    """Those of the paper's own code hold a ParameterDict, which torch refuses unless it is named."""
    path = tmp_path / "first.pt"
    params = torch.nn.ParameterDict({"*": torch.nn.Parameter(vectors(2))})
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": params}, path)
    assert torch.equal(admit(path, SHA, WIDTHS)[0].vectors["clip_l"], vectors(2))


@pytest.mark.slow
def test_diffusers_bin(tmp_path: Path) -> None:
    path = tmp_path / "learned_embeds.bin"
    torch.save({"<cat-toy>": torch.nn.Parameter(vectors(1)[0])}, path)
    assert torch.equal(admit(path, SHA, WIDTHS)[0].vectors["clip_l"], vectors(1))


@pytest.mark.slow
def test_two_text_encoders_in_a_torch_file(tmp_path: Path) -> None:
    path = tmp_path / "xl.pt"
    torch.save({"clip_l": vectors(2), "clip_g": vectors(2, 48)}, path)
    assert admit(path, SHA, {"clip_l": WIDTH, "clip_g": 48})[0].count == 2


@pytest.mark.parametrize("write", [made.write_text_picture, made.write_pixel_picture])
def test_pictures_that_carry_an_embedding(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(tmp_path / "Picture.png", vectors(6))
    embedding, report = admit(path, SHA, WIDTHS)
    assert (embedding.name, embedding.count, report.kind) == ("Picture", 6, "picture")
    assert torch.equal(embedding.vectors["clip_l"], vectors(6))
    assert report.metadata["name"] == "inner name"


def test_the_veil_is_a1111s() -> None:
    """The first numbers and the sum of the next hundred thousand, as its own check has them."""
    first = noise(100_100)
    assert first[:20].tolist() == [
        253, 242, 127, 44, 157, 27, 239, 133, 38, 79, 167, 4, 177, 95, 130, 79, 78, 14, 52, 215,
    ]  # fmt: skip
    assert int(first[100:].sum(dtype=np.int64)) == 12731374


@pytest.mark.parametrize("size", [(60, 48), (64, 31), (200, 120)])
def test_strips_of_any_size(size: tuple[int, int], tmp_path: Path) -> None:
    path = made.write_pixel_picture(tmp_path / "p.png", vectors(2, 8), size)
    with Image.open(path) as image:
        found = from_pixels(np.asarray(image.convert("RGB")))
    assert json.loads(found or b"") == json.loads(made.carried(vectors(2, 8)))


def test_what_no_base_reads_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "xl.safetensors"
    save_file({"clip_l": vectors(2), "clip_g": vectors(2, 48), "clip_l_out": vectors(2)}, path)
    _, report = admit(path, SHA, {"clip_l": WIDTH, "clip_g": 48})
    assert [(w["code"], w["values"]) for w in report.warnings] == [("embedding_parts_ignored", {"parts": "clip_l_out"})]


def test_more_vectors_than_stand_together_are_told_of(tmp_path: Path) -> None:
    path = made.write_safetensors(tmp_path / "long.safetensors", 76)
    _, report = admit(path, SHA, WIDTHS, "long")
    assert [w["code"] for w in report.warnings] == ["embedding_too_long"]
    assert admit(made.write_safetensors(tmp_path / "l.safetensors", 75), SHA, WIDTHS)[1].warnings == ()


# ---------------------------------------------------------------- what is refused
@pytest.mark.slow
def test_a_wrong_width_names_both(tmp_path: Path) -> None:
    problem = refusal(made.write_safetensors(tmp_path / "a.safetensors", width=768))
    assert (problem.code, problem.values["has"], problem.values["allowed"]) == ("embedding_width", "768", "32")
    assert "768" in problem.message
    assert "32" in problem.message
    assert refusal(made.write_pt(tmp_path / "a.pt", width=768)).code == "embedding_width"


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_values_that_are_none(value: float, tmp_path: Path) -> None:
    bad = vectors()
    bad[1, 2] = value
    save_file({"emb_params": bad}, tmp_path / "a.safetensors")
    torch.save(made.a1111_table(bad), tmp_path / "a.pt")
    made.write_text_picture(tmp_path / "a.png", bad)
    for suffix in ("safetensors", "pt", "png"):
        assert refusal(tmp_path / f"a.{suffix}").code == "embedding_not_finite"


def test_half_precision_that_overflows_is_seen(tmp_path: Path) -> None:
    """A float64 beyond float32 becomes infinite only when it is read."""
    save_file({"emb_params": torch.full((1, WIDTH), 1e300, dtype=torch.float64)}, tmp_path / "a.safetensors")
    assert refusal(tmp_path / "a.safetensors").code == "embedding_not_finite"


TENSORS: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "embedding_empty"),
    "whole numbers": ({"emb_params": torch.ones(2, WIDTH, dtype=torch.int32)}, "embedding_damaged"),
    "no vectors": ({"emb_params": torch.ones(0, WIDTH)}, "embedding_shape"),
    "no width": ({"clip_l": torch.ones(2, 0), "clip_g": torch.ones(2, 0)}, "embedding_shape"),
    "three dimensions": ({"clip_l": torch.ones(1, 2, WIDTH)}, "embedding_shape"),
    "too many": ({"emb_params": torch.ones(1001, WIDTH)}, "embedding_shape"),
    "two terms": ({"<one>": vectors(), "<two>": vectors()}, "embedding_layout"),
    "encoders that differ": ({"clip_l": vectors(2), "clip_g": vectors(3)}, "embedding_damaged"),
    "a LoRA": ({"lora_unet_x.lora_down.weight": vectors()}, "embedding_is_lora"),
    "a checkpoint": ({f"model.diffusion_model.{i}.weight": vectors() for i in range(3)}, "embedding_layout"),
}


@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_are_no_embedding(kind: str, tmp_path: Path) -> None:
    tensors, code = TENSORS[kind]
    save_file(tensors, tmp_path / "a.safetensors")
    assert refusal(tmp_path / "a.safetensors").code == code


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "png"])
def test_truncated_files(suffix: str, tmp_path: Path) -> None:
    whole = tmp_path / f"whole.{suffix}"
    {"safetensors": made.write_safetensors, "pt": made.write_pt}.get(
        suffix, lambda path: made.write_text_picture(path, vectors())
    )(whole)
    data = whole.read_bytes()
    torn = tmp_path / f"torn.{suffix}"
    for length in (0, 7, 12, len(data) // 2, len(data) - 5):
        torn.write_bytes(data[:length])
        if suffix == "safetensors" or length in (0, len(data) // 2):  # a process each
            assert refusal(torn).code == "embedding_damaged"


def test_a_picture_without_an_embedding(tmp_path: Path) -> None:
    made.picture().save(tmp_path / "photo.png")
    assert refusal(tmp_path / "photo.png").code == "embedding_plain_picture"


def test_a_header_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"t{i}": entry for i in range(100_000)}).encode()
    path = tmp_path / "many.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    began = time.monotonic()
    assert "100000 tensors" in refusal(path).message
    assert time.monotonic() - began < 5
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")
    assert refusal(path).code == "embedding_damaged"


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.pt"
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(65 * 2**20)
    assert refusal(path).code == "embedding_large"


@pytest.mark.slow
@pytest.mark.parametrize("write", [made.write_code, made.write_plain_code])
def test_code_is_never_run(write: Callable[..., Path], tmp_path: Path) -> None:
    target = tmp_path / "ran"
    path = write(tmp_path / "evil.pt", target)
    problem = refusal(path)
    assert not target.exists()
    assert (problem.code, problem.values["found"]) == ("embedding_code", "posix.mkdir")
    if write is made.write_code:
        torch.load(path, weights_only=False)
        assert target.exists(), "the trap itself works"


# ---------------------------------------------------------------- bounds that are really kept
@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "size"),
    [(made.write_zip_bomb, 300), (made.write_pickle_bomb, 2**31 - 1), (made.write_repeated, 40_000_000)],
)
def test_bombs_are_small_and_refused(write: Callable[..., Path], size: int, tmp_path: Path) -> None:
    path = write(tmp_path / "bomb.pt", size)
    assert path.stat().st_size < 2**20
    assert refusal(path).code == "embedding_bomb"


@pytest.mark.slow
def test_a_zip_whose_directory_lies(tmp_path: Path) -> None:
    """Its directory says 128 bytes, its data unpack to 300 MB: no more is read than the directory says."""
    path = made.write_zip_bomb(tmp_path / "bomb.pt", 300)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<L", 300 * 2**20), struct.pack("<L", 4 * WIDTH)))
    with zipfile.ZipFile(path) as archive:
        assert sum(entry.file_size for entry in archive.infolist()) < 2**20
    assert torch.equal(admit(path, SHA, WIDTHS)[0].vectors["clip_l"], torch.zeros(1, WIDTH))


BOUNDS = {
    "bytearray(2 * allowed.memory)": 7,
    "while True: pass": -getattr(signal, "SIGXCPU", 0),
    "open(sys.argv[1], 'wb').write(bytes(allowed.output + 1)); sys.exit(0)": -getattr(signal, "SIGXFSZ", 0),
    "bytearray(allowed.memory // 2); open(sys.argv[1], 'wb').write(bytes(allowed.output)); sys.exit(5)": 5,
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has all of these bounds")
@pytest.mark.parametrize("act", BOUNDS)
def test_the_bounds_of_the_process(act: str, tmp_path: Path) -> None:
    """Memory, processor time and output, each just beyond what is allowed, and just within."""
    program = (
        "import runpy, sys, types, signal\n"
        f"unpack = types.SimpleNamespace(**runpy.run_path({unpack.__file__!r}))\n"
        "allowed = unpack.limits('embedding')._replace(seconds=3)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"  # Python's own start ignores it
        "unpack.bound(allowed)\n"
        "try:\n"
        f"    {act}\n"
        "except MemoryError:\n"
        "    sys.exit(7)\n"
    )
    command = [sys.executable, "-I", "-c", program, str(tmp_path / "out")]
    assert subprocess.run(command, timeout=60).returncode == BOUNDS[act]


def test_the_deadline_ends_the_process(tmp_path: Path) -> None:
    with Unpacking(made.write_pt(tmp_path / "a.pt"), deadline=0.2) as reading:
        assert not reading.wait(0.05)
        assert reading.wait(5)
        with pytest.raises(UnpackingError) as caught:
            reading.result()
    assert caught.value.reason == "time"


def test_a_picture_with_too_many_pixels(tmp_path: Path) -> None:
    Image.new("1", (9000, 9000)).save(tmp_path / "large.png")
    assert refusal(tmp_path / "large.png").code == "embedding_bomb"


def test_strips_that_unpack_to_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "carried", lambda tensor: b" " * 200_000_000)
    path = made.write_pixel_picture(tmp_path / "bomb.png", vectors(), (60, 200))
    assert path.stat().st_size < 2 * 2**20
    assert refusal(path).code == "embedding_bomb"


def test_whoever_waits_can_do_other_things_and_give_up(tmp_path: Path) -> None:
    """The process ends with the generator that waits for it."""
    turns = admitting(made.write_pt(tmp_path / "a.pt"), SHA, WIDTHS)
    next(turns)
    reading = turns.gi_frame.f_locals  # the generator waits inside `_unpacked`
    assert reading["kind"] == "torch"
    inner = turns.gi_yieldfrom
    process = inner.gi_frame.f_locals["reading"]._process  # type: ignore[union-attr]
    assert process.poll() is None
    turns.close()
    assert process.poll() is not None


# ---------------------------------------------------------------- anything at all
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.one_of(st.text(max_size=12), st.sampled_from(["emb_params", "clip_l", "clip_g", "*"])),
        st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {
                    "dtype": st.sampled_from(["F32", "F16", "BF16", "I8", "X"]),
                    "shape": st.lists(st.integers(-1, 9), max_size=5),
                    "data_offsets": st.lists(st.integers(-1, 64), min_size=2, max_size=2),
                }
            ),
        ),
        max_size=3,
    )
)
def test_any_header_is_refused_by_name(tmp_path: Path, header: dict[str, Any]) -> None:
    raw = json.dumps(header).encode()
    path = tmp_path / "any.safetensors"
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + bytes(64))
    assert refusal(path).code.startswith("embedding_")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_have_a_kind(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any"
    path.write_bytes(data)
    assert kind_of(path) in ("safetensors", "torch", "picture")


def test_a_lora_and_an_embedding_are_told_apart() -> None:
    entry = {"dtype": "F32", "shape": [3, 32], "data_offsets": [0, 0]}
    assert is_embedding({"emb_params": entry})
    assert is_embedding({"clip_g": entry, "clip_l": entry})
    assert is_embedding({"<token>": entry})
    assert not is_embedding({"lora_unet_a.lora_down.weight": entry})
    assert not is_embedding({"lora_unet_a.lora_down.weight": entry, "lora_unet_a.lora_up.weight": entry})
    assert not is_embedding({})
    assert not is_embedding({"conv.weight": {"dtype": "F32", "shape": [3, 3, 3, 3], "data_offsets": [0, 0]}})


def test_a_pickle_that_could_be_a_header_is_read_as_one(tmp_path: Path) -> None:
    """A header of 640 bytes begins as a pickle does."""
    path = tmp_path / "a.safetensors"
    out = io.BytesIO()
    save_file({"emb_params": vectors()}, path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].ljust(640)
    out.write(struct.pack("<Q", 640) + header + data[8 + length :])
    path.write_bytes(out.getvalue())
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert torch.equal(admit(path, SHA, WIDTHS)[0].vectors["clip_l"], vectors())
