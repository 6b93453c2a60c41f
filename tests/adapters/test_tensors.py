"""Files that are cut off while they are read: an error with a sentence, never the end of the process.

A memory map of a file that another program truncates ends the process that looks at it (SIGBUS).
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor

from lora_studio.adapters import inspect
from lora_studio.adapters.tensors import ScaledError, TensorFile, read_index, scales_of
from lora_studio.headers.header import HeaderDamagedError
from tests.support.ldm import write_both, write_file


def opened(tensors: dict[str, Tensor]) -> TensorFile:
    data = save(tensors)
    file = io.BytesIO(data)
    return TensorFile(file, read_index(file, len(data)))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2",
                                   "int64", "int32", "int16", "int8", "uint8", "bool"])  # fmt: skip
def test_every_number_as_it_was_written(dtype: str) -> None:
    """Bit for bit, with odd places before it and shapes of every number of dimensions."""
    values = torch.tensor([0, 1, 1, 0, 1, 0]).to(getattr(torch, dtype))
    tensors = {
        "a": torch.ones(3, dtype=torch.uint8),
        "b": values.reshape(2, 3),
        "c": values[0].clone(),
        "d": values[:0].clone(),
    }
    file = opened(tensors)
    for name, tensor in tensors.items():
        found = file.tensor(name)
        assert found.dtype == tensor.dtype
        assert found.shape == tensor.shape
        assert torch.equal(found.float(), tensor.float())


def test_what_it_does_not_know_is_an_error() -> None:
    file = opened({"a": torch.ones(2, dtype=torch.complex64)})
    with pytest.raises(HeaderDamagedError, match="C64"):
        file.tensor("a")
    with pytest.raises(KeyError):
        file.tensor("b")


@pytest.mark.parametrize("name", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_a_weight_is_multiplied_by_its_scale(name: str, dtype: torch.dtype) -> None:
    """ComfyUI's scaled 8 bits: read as they lie in the file they would be weaker by their scale, without a word."""
    small = torch.tensor([[448.0, -3.5], [0.0, 1.0]]).to(dtype)
    scale = torch.tensor([0.0123])
    file = opened({"x.weight": small, f"x.{name}": scale, "x.scale_input": scale + 1, "x.bias": torch.ones(2)})
    assert torch.equal(file.weight("x.weight"), small.float() * scale)
    assert torch.equal(file.weight("x.bias"), torch.ones(2))
    plain = opened({"x.weight": small})
    assert torch.equal(plain.weight("x.weight").float(), small.float())


@pytest.mark.parametrize(
    ("beside", "why"),
    [
        ({"x.scale_weight": torch.ones(4, 1)}, "not one number"),
        ({"x.weight_scale": torch.ones(1, dtype=torch.uint8)}, "not one number"),
        ({"x.weight_scale_inv": torch.ones(1, 1)}, "not known"),
        ({"x.scale_weight": torch.ones(1), "x.weight_scale": torch.ones(1)}, "two scales"),
        ({"scaled_fp8": torch.zeros(2, dtype=torch.float8_e4m3fn)}, "lacks the scale"),
        ({"y.weight": torch.ones(4, 4).to(torch.float8_e4m3fn), "y.scale_weight": torch.ones(())}, "lacks the scale"),
    ],
)
def test_scales_of_other_kinds_are_refused(beside: dict[str, Tensor], why: str) -> None:
    tensors = {"x.weight": torch.ones(4, 4).to(torch.float8_e4m3fn), **beside}
    file = io.BytesIO(save(tensors))
    with pytest.raises(ScaledError, match=why):
        read_index(file, len(file.getvalue()))
    wide = {name: tensor.float() for name, tensor in tensors.items()}
    assert scales_of({name: {"dtype": "F32", "shape": list(t.shape)} for name, t in wide.items()}) == {}


@pytest.mark.parametrize("scaled", [False, True])
def test_loras_of_eight_bits_are_refused(tmp_path: Path, scaled: bool) -> None:
    """One sentence, with scales and without: they are never read unscaled."""
    name = "lora_unet_mid_block_attentions_0_proj_in"
    pair = {f"{name}.lora_down.weight": torch.ones(4, 8), f"{name}.lora_up.weight": torch.ones(8, 4)}
    tensors = {key: tensor.to(torch.float8_e4m3fn) for key, tensor in pair.items()}
    tensors |= {f"{name}.lora_down.scale_weight": torch.tensor(0.5)} if scaled else {}
    save_file(tensors, tmp_path / "small.safetensors")
    _, report = inspect(tmp_path / "small.safetensors")
    assert report.refused is not None
    assert report.refused.code == "adapter_dtype"


def test_holes_and_tails_are_damage(tmp_path: Path) -> None:
    """The format allows no bytes between or behind the tensors; the library refuses them too."""
    for places, size in (([4, 8], 8), ([0, 4], 8)):
        entry = {"dtype": "F32", "shape": [1], "data_offsets": places}
        text = json.dumps({"a": entry}).encode()
        file = io.BytesIO(len(text).to_bytes(8, "little") + text + bytes(size))
        with pytest.raises(HeaderDamagedError, match="4 bytes"):
            read_index(file, len(file.getvalue()))


CUT = """
import json, os, sys
from pathlib import Path
from lora_studio.headers import header

whole = header.read

def cut(file, *rest):
    found = whole(file, *rest)
    if isinstance(getattr(file, "name", None), str):
        os.truncate(file.name, os.path.getsize(file.name) // 2)
    return found

header.read = cut
from lora_studio.adapters import admit, embedding
from lora_studio.adapters.workbench.checkpoint import open_checkpoint
from lora_studio.errors import StudioError
from lora_studio.pipeline.source import find_base
from lora_studio.pipeline.single_file import load_file
from lora_studio.pipeline import Precision
import torch

folder = Path(sys.argv[1])
exact = Precision(torch.device("cpu"), torch.float32, None)

def weights(path):
    found = open_checkpoint(path)
    return [found.weight(key) for key in found.layers]

for name, read in (
    ("lora.safetensors", lambda path: admit(path, "0" * 64, {})),
    ("model.safetensors", weights),
    ("base.safetensors", lambda path: load_file(find_base(str(path), path), exact)),
    ("embedding.safetensors", lambda path: embedding.admit(path, "0" * 64, {"clip_l": 768})),
):
    try:
        read(folder / name)
        print(json.dumps([name, "read"]))
    except StudioError as error:
        print(json.dumps([name, error.message]))
"""


@pytest.mark.slow
def test_truncated_after_its_header_was_read(tmp_path: Path) -> None:
    """Half of each file goes away between its header and its tensors."""
    pair = {"lora_unet_a.lora_down.weight": torch.ones(4, 4000), "lora_unet_a.lora_up.weight": torch.ones(4000, 4)}
    save_file(pair, tmp_path / "lora.safetensors")
    tensors = write_both(tmp_path / "folder", "sd1")
    write_file(tensors, tmp_path / "model.safetensors")
    write_file(tensors, tmp_path / "base.safetensors")
    save_file({"emb_params": torch.ones(4, 768)}, tmp_path / "embedding.safetensors")
    run = subprocess.run([sys.executable, "-c", CUT, str(tmp_path)], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    told = dict(json.loads(line) for line in run.stdout.splitlines())
    for name in ("lora", "model", "base"):
        assert f"{name}.safetensors" in told[f"{name}.safetensors"]
        assert "cut off" in told[f"{name}.safetensors"]
    assert told["embedding.safetensors"] == "read"  # its bytes are in memory before its header is looked at


COMMAND = """
import os, sys
from lora_studio.adapters import tensors
from lora_studio.cli import main
from lora_studio.__main__ import engine, page

class Cutting(tensors.TensorFile):
    def __init__(self, file, index):
        os.truncate(file.name, os.path.getsize(file.name) // 2)
        super().__init__(file, index)

from lora_studio.adapters.formats import source
source.TensorFile = Cutting
sys.exit(main(sys.argv[1:], engine, page))
"""


@pytest.mark.slow
def test_the_command_line_says_so(tmp_path: Path) -> None:
    """One sentence and exit code 2, no signal."""
    pair = {"lora_unet_a.lora_down.weight": torch.ones(4, 4000), "lora_unet_a.lora_up.weight": torch.ones(4000, 4)}
    save_file(pair, tmp_path / "cat.safetensors")
    words = ["adapter", "convert", "cat.safetensors", "--to", "kohya", "--out", "x.safetensors", "--workspace", "ws"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        [sys.executable, "-c", COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env=environment,
    )
    assert run.returncode == 2, run.stderr
    assert "cut off" in run.stderr
    assert "Traceback" not in run.stderr
