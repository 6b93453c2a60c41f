"""The command line on the real engine and the embedded base: train, generate, stop and go on, refuse.

Each training here is a few steps long: the file, the numbers and the way through the house are tested, not the effect.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lora_studio.__main__ import engine, page
from lora_studio.cli import main
from lora_studio.prompt.infotext import CHUNK, PARAMETERS
from lora_studio.store import Workspace
from tests.support.hardship import write_foreign, write_half

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "assets" / "examples" / "cat-ears"

pytestmark = pytest.mark.slow


def run(*argv: str | Path) -> int:
    """One command in this process, on the real engine."""
    return main([str(part) for part in argv], engine, page)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a few of the example pictures, and room for a workspace."""
    root = tmp_path_factory.mktemp("real")
    (root / "cats").mkdir()
    for path in sorted(EXAMPLES.glob("0[1-4].*")):
        shutil.copy(path, root / "cats")
    return root


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    """A LoRA after four steps, in the library as `four steps`."""
    out = place / "out" / "four.safetensors"
    options = ("--name", "four steps", "--recipe", "quick", "--steps", "4", "--rank", "4", "--seed", "3")
    assert run("train", place / "cats", *options, "--out", out, "--workspace", place / "ws") == 0
    return out


def test_train_answers_with_the_numbers_of_the_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = place / "out" / "json.safetensors"
    options = ("--name", "answer", "--steps", "2", "--rank", "2", "--out", out, "--workspace", place / "ws", "--json")
    assert run("train", place / "cats", *options) == 0
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["file"] == str(out)
    assert answer["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert answer["steps"] == 2
    assert 0 < answer["final_loss"] < 10
    assert 0 < answer["trainable_parameters"] < answer["base_parameters"]
    assert "step 2 of 2" in captured.err


def test_generate_by_name_and_by_file_is_the_same_picture(
    place: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = (
        "generate",
        "--prompt",
        "1girl, red hair",
        "--seed",
        "5",
        "--steps",
        "3",
        "--workspace",
        place / "ws",
        "--json",
    )
    assert run(*common, "--lora", "four steps:0.8", "--out", place / "by-name") == 0
    by_name = json.loads(capsys.readouterr().out)["images"]
    assert run(*common, "--lora", f"{trained}:0.8", "--out", place / "by-file") == 0
    by_file = json.loads(capsys.readouterr().out)["images"]
    assert run(*common, "--lora", "four steps:0", "--out", place / "zero") == 0
    assert run(*common, "--out", place / "base") == 0
    pixels = {}
    for name in ("by-name", "by-file", "zero", "base"):
        (file,) = (place / name).iterdir()
        with Image.open(file) as picture:
            pixels[name] = picture.tobytes()
            assert "Steps: 3, Sampler: " in picture.info[PARAMETERS]
    assert pixels["by-name"] == pixels["by-file"]
    assert pixels["zero"] == pixels["base"]
    assert by_name[0]["adapters"] == by_file[0]["adapters"]
    assert by_name[0]["adapters"][0]["sha256"] == hashlib.sha256(trained.read_bytes()).hexdigest()


def test_prompts_from_a_file_equal_each_prompt_alone(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "prompts.txt").write_text("1girl, red hair\n1boy, blue hair\n", encoding="utf-8")
    common = ("generate", "--steps", "3", "--workspace", place / "ws", "--json")
    assert run(*common, "--prompts-from", place / "prompts.txt", "--seed", "11", "--out", place / "many") == 0
    images = json.loads(capsys.readouterr().out)["images"]
    assert [(i["prompt"], i["seed"]) for i in images] == [("1girl, red hair", 11), ("1boy, blue hair", 12)]
    assert run(*common, "--prompt", "1boy, blue hair", "--seed", "12", "--out", place / "alone") == 0
    alone = json.loads(capsys.readouterr().out)["images"][0]["file"]
    with Image.open(images[1]["file"]) as batched, Image.open(alone) as single:
        pairs = zip(batched.convert("RGB").tobytes(), single.convert("RGB").tobytes(), strict=True)
        assert max(abs(a - b) for a, b in pairs) <= 1


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (("--base", "./no/base"), "no/base"),
        (("--base", "nobody/nothing"), "nobody/nothing"),
        (("--size", "100x128"), "100"),
        (("--lora", "damaged.safetensors"), "damaged is no usable"),
        (("--lora", "foreign.safetensors"), "foreign"),
    ],
)
def test_what_only_the_engine_can_judge(
    place: Path,
    trained: Path,
    given: tuple[str, str],
    part: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("LORA_STUDIO_OFFLINE", "true")
    write_half(trained, place / "damaged.safetensors")
    write_foreign(place / "foreign.safetensors")
    assert run("generate", "--prompt", "a", "--out", place / "bad", "--workspace", place / "ws", *given) == 2
    captured = capsys.readouterr()
    last = captured.err.strip().splitlines()[-1]
    assert part in last
    assert last.endswith(".")
    assert "Traceback" not in captured.err
    assert captured.out == ""


def interrupted(command: list[str | Path], sign: str) -> tuple[int, str, str]:
    """Run a command, press Ctrl-C when a line of its progress begins with `sign`: exit code, output, errors."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lora_studio", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(sign):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_and_go_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A person presses Ctrl-C in the middle: 130, and the sentence that is printed brings the run to its end."""
    where = ["--out", place / "out" / "on.safetensors", "--workspace", place / "ws", "--json"]
    settings = ["--name", "on", "--steps", "30", "--rank", "2", "--recipe", "quick"]
    code, out, err = interrupted(["train", place / "cats", *settings, *where], "step ")
    assert (code, out) == (130, ""), err
    assert "Traceback" not in err
    run_id = err.split("--continue ")[1].split()[0]
    assert run("train", "--continue", run_id, *where) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["steps"] == 30
    assert "going on from step" in captured.err


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_a_generation_that_was_stopped_does_not_come_back(place: Path) -> None:
    """A job that Ctrl-C left running would be taken up by the next engine on this workspace, unasked."""
    asked = ["generate", "--prompt", "a", "--count", "200", "--out", place / "stopped", "--workspace", place / "ws3"]
    code, out, err = interrupted(asked, "sample")
    assert (code, out) == (130, ""), err
    assert "Traceback" not in err
    assert list((place / "stopped").iterdir()) == []
    workspace = Workspace.open(place / "ws3")
    assert [job.state for job in workspace.jobs.list(kinds=["generate"])] == ["cancelled"]
    workspace.close()


@pytest.mark.parametrize("texts", [(CHUNK, PARAMETERS), (PARAMETERS,)], ids=["exact", "A1111's text alone"])
def test_a_picture_makes_itself_again_whatever_its_lora_is_called(
    place: Path, trained: Path, capsys: pytest.CaptureFixture[str], texts: tuple[str, ...]
) -> None:
    """The same pixels (but for a batch's last bit), from the exact request and from the text for other programs."""
    words = ("--prompt", "1girl, (red hair:1.3)\nsmile", "--negative", "(hat:1.2)", "--lora", "four steps:0.7")
    fields = ("--seed", "5", "--steps", "3", "--cfg", "3.5", "--sampler", "euler a", "--size", "128x96", "--count", "2")
    common = ("--workspace", place / "ws", "--json")
    assert run("generate", *words, *fields, "--clip-skip", "2", "--out", place / "first", *common) == 0
    made = json.loads(capsys.readouterr().out)["images"][1]
    with Workspace.open(place / "ws") as workspace:
        sha256 = hashlib.sha256(trained.read_bytes()).hexdigest()
        assert workspace.adapters.short_hash(sha256) != sha256[:12]
        workspace.adapters.update(sha256, name=f"renamed {len(texts)}")
    bare = place / f"bare{len(texts)}.png"
    with Image.open(made["file"]) as picture:
        info = PngInfo()
        for key in texts:
            info.add_itxt(key, picture.info[key])
        picture.save(bare, pnginfo=info)
        before = picture.tobytes()
    try:
        assert run("generate", "--from-picture", bare, "--out", place / "again", *common) == 0
    finally:
        with Workspace.open(place / "ws") as workspace:
            workspace.adapters.update(sha256, name="four steps")
    answer = capsys.readouterr()
    (again,) = json.loads(answer.out)["images"]
    assert (again["seed"], again["adapters"][0]["name"]) == (6, f"renamed {len(texts)}")
    with Image.open(again["file"]) as picture:
        pairs = zip(picture.tobytes(), before, strict=True)
        assert max(abs(one - other) for one, other in pairs) <= 1
    assert "was drawn another way" not in answer.err
