"""`--base FILE.safetensors` on the command line, on the real engine and tiny bases: drawn with, told of, refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from lora_studio.__main__ import engine, page
from lora_studio.cli import main
from tests.support.ldm import write_both, write_file


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints with a tiny Stable Diffusion XL in one file."""
    root = tmp_path_factory.mktemp("models")
    write_file(write_both(root / "folder", "sdxl"), root / "tiny xl.safetensors")
    return root


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32 whatever the probe finds, so that pictures are equal to the last bit on a busy machine too."""
    monkeypatch.setenv("LORA_STUDIO_DTYPE", "float32")


def run(*argv: str | Path) -> int:
    return main([str(part) for part in argv], engine, page)


def draw(models: Path, out: Path, *more: str | Path) -> int:
    words = (
        "generate",
        "--prompt",
        "a cat",
        "--size",
        "32x32",
        "--steps",
        "2",
        "--seed",
        "1",
        "--out",
        out,
    )
    return run(*words, "--workspace", out / "ws", *more, "--json")


@pytest.mark.slow
def test_a_picture_by_path_and_by_name(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By its path and by its name in the folder of checkpoints: the same pixels, the hash of the file in the PNG."""
    path = models / "tiny xl.safetensors"
    assert draw(models, tmp_path / "a", "--base", path) == 0
    told = capsys.readouterr()
    assert "epsilon is assumed" in told.err
    assert json.loads(told.out)
    assert draw(models, tmp_path / "b", "--base", path.name, "--checkpoints", models) == 0
    one, two = (next((tmp_path / name).glob("*.png")) for name in ("a", "b"))
    assert Image.open(one).tobytes() == Image.open(two).tobytes()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"Model hash: {digest[:10]}, Model: tiny xl" in Image.open(one).text["parameters"]


@pytest.mark.slow
def test_the_prediction_type_is_chosen(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = models / "tiny xl.safetensors"
    options = ("--prediction-type", "v_prediction", "--zero-terminal-snr", "on")
    assert draw(models, tmp_path / "a", "--base", path) == 0
    capsys.readouterr()
    assert draw(models, tmp_path / "b", "--base", path, *options) == 0
    assert "read as v_prediction, as was chosen" in capsys.readouterr().err
    one, two = (next((tmp_path / name).glob("*.png")) for name in ("a", "b"))
    assert Image.open(one).tobytes() != Image.open(two).tobytes()


def test_what_is_refused(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.ckpt").write_bytes(b"\x80\x02}q\x00.")
    for options, said in (
        (("--base", tmp_path / "old.ckpt"), "is a pickle"),
        (("--base", tmp_path / "no.safetensors"), "is not there"),
        (("--prediction-type", "velocity"), "prediction_type was given as 'velocity'"),
        (("--zero-terminal-snr", "perhaps"), "zero_terminal_snr was given as 'perhaps'"),
    ):
        assert draw(models, tmp_path / "out", *options) == 2
        sentence = capsys.readouterr().err.strip().splitlines()[-1]
        assert said in sentence
