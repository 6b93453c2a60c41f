"""`adapter ...` on the real engine: a tiny base where one is needed, none where none is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from peft import PeftModel
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lora_studio.__main__ import engine, page
from lora_studio.adapters import admit
from lora_studio.adapters.canonical import CanonicalAdapter
from lora_studio.cli import main
from lora_studio.pipeline import SharedBase
from tests.support.tiny import kohya_file, load_tiny, random_adapter, write_tiny_base
from tests.support.workbench import near

ROOT = Path(__file__).resolve().parents[2]
KEYS = [
    "format", "family", "rank", "alpha", "layers", "text_encoder", "ignored", "finite", "strength", "trigger_words",
    "sha256", "warnings", "refused",
]  # fmt: skip
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def base(folder: Path) -> SharedBase:
    return load_tiny(folder)


@pytest.fixture(scope="module")
def adapter(base: SharedBase) -> CanonicalAdapter:
    return random_adapter(base, 1)


@pytest.fixture
def here(tmp_path: Path, adapter: CanonicalAdapter, base: SharedBase, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `cat.safetensors`, `dog.safetensors` and what is no LoRA."""
    kohya_file(adapter, tmp_path / "cat.safetensors")
    kohya_file(random_adapter(base, 2, rank=5), tmp_path / "dog.safetensors")
    (tmp_path / "garbage.safetensors").write_bytes(b"\x00" * 300)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LORA_STUDIO_WORKSPACE", str(tmp_path / "ws"))
    return tmp_path


@pytest.fixture
def run(here: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """`adapter ...` with the tiny base as the configured one: exit code, output, errors."""
    monkeypatch.setenv("LORA_STUDIO_BASE", str(folder))

    def call(*argv: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["adapter", *map(str, argv)], engine, page)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return call


def answer(found: tuple[int, str, str]) -> dict[str, Any]:
    """The JSON of a command that went well."""
    assert found[0] == 0, found[2]
    data: dict[str, Any] = json.loads(found[1])
    return data


def read(path: str | Path, base: SharedBase) -> CanonicalAdapter:
    """A file by our door."""
    return admit(Path(path), "0" * 64, base.layers)[0]


def test_inspect_prints_exactly_the_contract(run: Run, here: Path, adapter: CanonicalAdapter, base: SharedBase) -> None:
    data = answer(run("inspect", "cat.safetensors", "--json"))
    assert list(data) == KEYS
    assert data["refused"] is None
    assert (data["rank"], data["alpha"], data["finite"], data["text_encoder"]) == (3, 3, True, True)
    linear = len([shape for shape in base.layers.values() if not shape.is_norm])
    count = len(adapter.layers)
    assert data["layers"] == {"matched": count, "in_file": count, "in_base": linear}
    assert data["sha256"] == hashlib.sha256((here / "cat.safetensors").read_bytes()).hexdigest()
    deltas = [change.delta() for change in adapter.layers.values()]
    weights = [base.slots.weight(key) for key in adapter.layers]
    norm = sum(float(d.norm()) ** 2 for d in deltas) / sum(float(w.norm()) ** 2 for w in weights)
    assert data["strength"] == pytest.approx(norm**0.5, rel=1e-5)


@pytest.mark.parametrize("name", ["garbage.safetensors", "empty.safetensors", "words.txt", "foreign.safetensors"])
def test_a_refused_file_is_an_answer(run: Run, here: Path, name: str) -> None:
    (here / "empty.safetensors").write_bytes(b"")
    (here / "words.txt").write_text("no model")
    save_file({"vision.blocks.0.weight": torch.zeros(2, 2)}, here / "foreign.safetensors")
    data = answer(run("inspect", name, "--json"))
    assert list(data) == KEYS
    assert data["refused"].endswith(".")
    assert name in data["refused"]


def test_inspect_details_and_overlap(run: Run) -> None:
    data = answer(run("inspect", "cat.safetensors", "--with", "dog.safetensors", "--details", "--json"))
    assert list(data)[: len(KEYS)] == KEYS
    assert data["details"]["rank_99"]["max"] <= 3
    assert data["overlap"]["predicts"] in ("apart", "shared_input")
    code, out, _ = run("inspect", "cat.safetensors", "--with", "cat.safetensors", "--details")
    assert code == 0
    assert "cosine 1.000" in out
    assert "unet.mid_block" in out


def test_convert_for_peft_and_back(
    run: Run, here: Path, folder: Path, base: SharedBase, adapter: CanonicalAdapter
) -> None:
    """kohya -> peft's folders, which peft itself reads -> inspected again with its config -> kohya."""
    data = answer(run("convert", "cat.safetensors", "--to", "peft", "--dtype", "float32", "--out", "peft", "--json"))
    assert data["format"] == "peft"
    unet = PeftModel.from_pretrained(UNet2DConditionModel.from_pretrained(folder, subfolder="unet"), here / "peft/unet")
    layer = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    delta = unet.base_model.model.get_submodule(layer).get_delta_weight("default").detach()
    assert near(delta, adapter.layers[f"unet.{layer}"].delta())
    again = answer(run("convert", "peft/unet", "--dtype", "float32", "--out", "again.safetensors", "--json"))
    assert near(read(again["file"], base).layers[f"unet.{layer}"].delta(), delta)


def test_combine_resize_bake(run: Run, here: Path, base: SharedBase, adapter: CanonicalAdapter) -> None:
    both = answer(
        run(
            "combine",
            "cat.safetensors:0.5",
            "dog.safetensors",
            "--dtype",
            "float32",
            "--out",
            "a.safetensors",
            "--json",
        )
    )
    dog = read(here / "dog.safetensors", base)
    for key, change in read("a.safetensors", base).layers.items():
        assert near(change.delta(), adapter.layers[key].delta() / 2 + dog.layers[key].delta())
    assert (both["rank"], both["retained_energy"]["min"]) == (8, 1.0)
    assert both["sha256"] == hashlib.sha256(Path(both["file"]).read_bytes()).hexdigest()
    small = answer(
        run("resize", "a.safetensors", "--rank", "4", "--conv-rank", "2", "--out", "b.safetensors", "--json")
    )
    assert small["rank"] == {"min": 2, "max": 4}
    assert 0.3 < small["retained_energy"]["mean"] < 1
    assert len(small["layer_energy"]) == small["layers"] == len(adapter.layers)
    answer(run("bake", "cat.safetensors", "--scale", "-0.5", "--dtype", "float32", "--out", "c.safetensors", "--json"))
    for key, change in read("c.safetensors", base).layers.items():
        assert near(change.delta(), adapter.layers[key].delta() * -0.5)


def test_extract(run: Run, here: Path, folder: Path, base: SharedBase) -> None:
    tuned = write_tiny_base(here / "tuned", seed=1)
    data = answer(
        run("extract", folder, tuned, "--rank", "64", "--dtype", "float32", "--out", "d.safetensors", "--json")
    )
    found, other = read(data["file"], base), load_tiny(tuned)
    key = "unet.mid_block.attentions.0.proj_in"
    assert near(found.layers[key].delta(), other.slots.weight(key) - base.slots.weight(key), 1e-4)
    code, _, err = run("extract", folder, folder, "--rank", "4", "--out", "e.safetensors")
    assert (code, "are the same in all" in err) == (2, True)
    assert "the file will have at most" in err
    assert not (here / "e.safetensors").exists()


def test_meta_previews_then_writes(run: Run, here: Path) -> None:
    tensors = load_file(here / "cat.safetensors")
    said = {"ss_output_name": "secret", "note": "made in /home/ann/cats", "ss_network_dim": "3"}
    save_file(tensors, here / "m.safetensors", metadata=said)
    before = (here / "m.safetensors").read_bytes()
    Image.new("RGB", (40, 30), "red").save(here / "p.png")
    shown = answer(run("meta", "m.safetensors", "--json"))
    assert (shown["metadata"], shown["changes"], shown["private"]) == (said, [], ["note", "ss_output_name"])
    edit = ("--set", "modelspec.title=a=b 猫", "--strip", "--hashes", "--thumbnail", "p.png")
    preview = answer(run("meta", "m.safetensors", *edit, "--json"))
    assert preview["written"] is False
    assert sorted(here.glob("*.safetensors")) == [here / f"{n}.safetensors" for n in ("cat", "dog", "garbage", "m")]
    written = answer(run("meta", "m.safetensors", *edit, "--out", "n.safetensors", "--json"))
    assert written["metadata"] == preview["metadata"]
    with safe_open(here / "n.safetensors", framework="pt") as opened:
        found = opened.metadata()
        assert all(torch.equal(opened.get_tensor(name), tensor) for name, tensor in tensors.items())
    assert found == preview["metadata"]
    assert found["modelspec.title"] == "a=b 猫"
    assert found["modelspec.thumbnail"].startswith("data:image/jpeg;base64,")
    assert not {"ss_output_name", "note"} & set(found)
    assert (here / "m.safetensors").read_bytes() == before
    code, out, _ = run("meta", "m.safetensors", "--remove", "note")
    assert (code, "- note: made in /home/ann/cats" in out, "nothing was written" in out) == (0, True, True)


def test_names_of_the_library(run: Run, here: Path) -> None:
    answer(run("bake", "cat.safetensors", "--scale", "1", "--out", "x.safetensors", "--name", "my cat", "--json"))
    by_name, by_file = (answer(run("inspect", name, "--json")) for name in ("my cat", "x.safetensors"))
    assert by_name == by_file


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (("inspect",), "FILE is missing"),
        (("inspect", "no.safetensors"), "'no.safetensors' does not exist; give a file"),
        (("inspect", "nobody"), "The library has no LoRA 'nobody'"),
        (("inspect", "cat.safetensors", "--base", "./none"), "The base './none' is not there"),
        (("inspect", "cat.safetensors", "--with", "garbage.safetensors"), "garbage.safetensors is no usable LoRA file"),
        (("convert", "cat.safetensors"), "--out is missing"),
        (("convert", "cat.safetensors", "--out", "x.txt"), "it must end in .safetensors"),
        (
            ("convert", "cat.safetensors", "--to", "onnx", "--out", "x.safetensors"),
            "allowed is one of kohya, diffusers",
        ),
        (("convert", "cat.safetensors", "--out", "dog.safetensors"), "--force to replace it"),
        (("convert", "cat.safetensors", "--out", "./cat.safetensors", "--force"), "sources stay as they are"),
        (("convert", "garbage.safetensors", "--out", "x.safetensors"), "garbage.safetensors is no usable LoRA file"),
        (("resize", "cat.safetensors", "--out", "x.safetensors"), "give a rank, or one of sv_ratio"),
        (("resize", "cat.safetensors", "--rank", "many", "--out", "x.safetensors"), "--rank was given as 'many'"),
        (("resize", "cat.safetensors", "--sv-fro", "1.5", "--out", "x.safetensors"), "a number from 0.01 to 1"),
        (("combine", "cat.safetensors", "--out", "x.safetensors"), "two or more"),
        (("combine", "cat.safetensors:99", "dog.safetensors", "--out", "x.safetensors"), "99"),
        (("combine", "cat.safetensors", "dog.safetensors", "--method", "ties", "--out", "x.safetensors"), "ties_svd"),
        (("extract", "a", "b", "--rank", "4", "--out", "x.safetensors"), "The base 'a' is not there"),
        (("bake", "cat.safetensors", "--out", "x.safetensors"), "--scale is missing"),
        (("meta", "cat.safetensors", "--set", "title"), "it must be KEY=VALUE"),
        (("meta", "cat.safetensors", "--remove", "none"), "The metadata has no key 'none'"),
        (("meta", "cat.safetensors", "--thumbnail", "garbage.safetensors"), "no picture that can be a thumbnail"),
        (("melt",), "No such command 'melt'"),
    ],
)
def test_bad_input_is_one_sentence(run: Run, here: Path, argv: tuple[str, ...], part: str) -> None:
    before = {path: path.read_bytes() for path in here.glob("*.safetensors")}
    code, out, err = run(*argv)
    last = err.strip().splitlines()[-1]
    assert code == 2
    assert part in last
    assert last.endswith(".")
    assert out == ""
    assert {path: path.read_bytes() for path in here.glob("*.safetensors")} == before


def check_stays(run: Run, source: Path, *argv: str | Path) -> None:
    """The command is refused because it would write over `source`, which is not touched."""
    before = source.read_bytes()
    code, _, err = run(*argv, "--force")
    assert code == 2
    assert "which would write over what is read; sources stay as they are" in err.strip().splitlines()[-1]
    assert source.read_bytes() == before


def test_no_tool_writes_over_what_it_reads(run: Run, here: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`extract --force` had replaced gigabytes of a checkpoint by a LoRA, and any tool a LoRA of a watched folder."""
    rank = ("--rank", "4")
    shutil.copy(here / "dog.safetensors", here / "tuned.safetensors")
    for out in ("cat.safetensors", "tuned.safetensors", "./tuned.safetensors"):
        check_stays(run, here / out, "extract", "cat.safetensors", "tuned.safetensors", *rank, "--out", out)
    monkeypatch.setenv("LORA_STUDIO_CHECKPOINTS", str(here / "models"))
    (here / "models").mkdir()
    shutil.copy(here / "dog.safetensors", here / "models" / "m.safetensors")
    named = here / "models" / "m.safetensors"
    check_stays(run, named, "extract", "cat.safetensors", "m.safetensors", *rank, "--out", named)
    own = shutil.copytree(folder, here / "own")
    inside = next(own.glob("unet/*.safetensors"))
    check_stays(run, inside, "extract", folder, own, *rank, "--out", inside)
    (here / "loras").mkdir()
    watched = shutil.copy(here / "cat.safetensors", here / "loras" / "kitty.safetensors")
    folders = ("--lora-folders", here / "loras")
    check_stays(run, watched, "resize", "kitty", *rank, *folders, "--out", watched)
    answer(run("convert", "cat.safetensors", "--to", "peft", "--out", "peft/cat", "--json"))
    made = next((here / "peft" / "cat").rglob("adapter_model.safetensors"))
    check_stays(run, made, "convert", made.parent, "--to", "peft", "--out", here / "peft" / "cat")


def test_loras_of_folders_are_found_and_the_base_s_place_is_an_option(run: Run, here: Path) -> None:
    """`adapter` had taken no --lora-folders, --device, --threads and --offline, as `serve` does."""
    (here / "loras").mkdir()
    shutil.copy(here / "cat.safetensors", here / "loras" / "kitty.safetensors")
    given = ("--lora-folders", "loras", "--device", "cpu", "--threads", "1", "--offline", "--json")
    data = answer(run("inspect", "kitty", *given))
    assert data["sha256"] == hashlib.sha256((here / "cat.safetensors").read_bytes()).hexdigest()
    code, _, err = run("inspect", "kitty", "--device", "tpu")
    assert (code, "'tpu'" in err) == (2, True)


def test_force_replaces(run: Run, here: Path, adapter: CanonicalAdapter, base: SharedBase) -> None:
    answer(run("convert", "cat.safetensors", "--out", "dog.safetensors", "--force", "--json"))
    assert read("dog.safetensors", base).ranks == (3,)


def test_errors_stand_on_json_too(run: Run) -> None:
    code, out, _ = run("resize", "cat.safetensors", "--out", "x.safetensors", "--json")
    assert (code, json.loads(out)["error"]["code"]) == (2, "workbench_rank_missing")


def test_every_command_explains_itself(run: Run) -> None:
    for name in ("", "inspect", "convert", "combine", "resize", "extract", "bake", "meta"):
        code, out, err = run(*([name] if name else []), "--help")
        assert (code, err) == (0, "")
        assert "Usage: python -m lora_studio adapter" in out
        assert not name or "    python -m lora_studio adapter" in out


def test_generating_with_a_refused_file_is_one_sentence(
    here: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["generate", "--prompt", "a", "--lora", "garbage.safetensors", "--base", str(folder), "--out", "pictures"]
    assert main(argv, engine, page) == 2
    err = capsys.readouterr().err
    assert "garbage is no usable LoRA file" in err.strip().splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_stops_a_long_extraction(here: Path) -> None:
    for name in ("one", "two"):
        names = [f"model.diffusion_model.input_blocks.{b}.1.proj_in.weight" for b in (1, 2, 4, 5, 7, 8)]
        save_file({n: torch.randn(1500, 1500) for n in names}, here / f"{name}.safetensors")
    command = ["adapter", "extract", "one.safetensors", "two.safetensors", "--rank", "4", "--out", "x.safetensors"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lora_studio", *command], stderr=subprocess.PIPE, text=True, cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("workbench"):
            break
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=120)[1]
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not (here / "x.safetensors").exists()
