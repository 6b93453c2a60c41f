"""Help, version, exit codes, progress lines: what every command shares; and the real process from outside."""

from __future__ import annotations

import errno
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lora_studio import __version__
from lora_studio.cli import main
from lora_studio.cli.follow import Teller, duration, progress_line
from lora_studio.settings import Settings
from lora_studio.types import Event
from tests.cli.conftest import Studio

ROOT = Path(__file__).resolve().parents[2]


def process(*argv: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python from outside, as a person does."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *argv], capture_output=True, text=True, cwd=cwd, env=environment, timeout=120
    )


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("--help",),
        ("-h",),
        ("train", "--help"),
        ("generate", "-h"),
        ("runs", "-h"),
        ("serve", "--help"),
        ("adapter",),
    ],
)
def test_help_explains_itself(studio: Studio, argv: tuple[str, ...]) -> None:
    """`adapter` alone had the whole help in one line of an error."""
    answer = studio(*argv)
    assert answer.code == 0
    assert answer.out.startswith("Usage: python -m lora_studio")
    assert answer.err == ""


def test_the_version(studio: Studio) -> None:
    assert studio("--version").out == f"{__version__}\n"


def test_serve_hands_over_its_settings(studio: Studio, tmp_path: Path) -> None:
    served: list[Settings] = []
    answer = studio("serve", "--port", "17999", "--no-browser", "--base", "big", "--offline", served=served)
    assert answer.code == 0, answer.err
    (settings,) = served
    assert (settings.port, settings.open_browser, settings.base, settings.offline) == (17999, False, "big", True)
    assert settings.workspace == tmp_path / "ws"


def test_on_a_space_it_says_why_there_is_no_page(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """It had loaded its base and listened to its own machine, and the Space had waited until it gave up."""
    monkeypatch.setenv("SPACE_ID", "ann/studio")
    answer = studio("serve", "--port", "17997")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("This is the Hugging Face Space 'ann/studio'")
    assert answer.err.count("\n") == 1
    assert studio("generate", "--prompt", "a", "--out", "p").code == 0, "the command line works there"


def test_an_address_that_the_machine_has_not_is_named(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without IPv6 the socket itself cannot be made, which had been told as "'A file' cannot be used"."""

    def none(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", none)
    answer = studio("serve", "--host", "::1")
    assert answer.code == 2
    assert answer.err == (
        "The address ::1 is none of this machine (Address family not supported by protocol); give another one, like "
        "--host 127.0.0.1.\n"
    )


def test_ctrl_c_while_serving_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    def page(settings: Settings) -> None:
        raise KeyboardInterrupt

    def engine(*_: object) -> object:
        raise AssertionError("serve leaves the engine to the page")

    assert main(["serve", "--port", "17998"], engine, page) == 130  # type: ignore[arg-type]
    assert capsys.readouterr().out == ""


def test_help_does_not_load_models() -> None:
    """Heavy packages cost seconds: neither help nor a usage error may import them."""
    code = (
        "import sys; from lora_studio.__main__ import main; main(['train', '--help']); main(['train', '--seed', 'x']); "
        "main(['generate', '--prompt', 'a', '--size', '3', '--out', 'p']); "
        "heavy = {'torch', 'diffusers', 'transformers', 'peft', 'gradio'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = process("-c", code)
    assert done.returncode == 0, done.stderr


def test_the_real_process_answers_in_one_sentence(tmp_path: Path) -> None:
    done = process(
        "-m", "lora_studio", "generate", "--prompt", "a", "--seed", "abc", "--out", "p", "--json", cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stderr == (
        "--seed was given as 'abc'; it must be a whole number from 0 to 9007199254740991; change it and try again.\n"
    )
    assert json.loads(done.stdout)["error"]["values"]["given"] == "abc"


def test_app_py_is_serve(tmp_path: Path) -> None:
    done = process(str(ROOT / "app.py"), "--host", "0.0.0.0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'0.0.0.0'" in done.stderr
    assert "no accounts yet" in done.stderr
    shown = process(str(ROOT / "app.py"), "--help")
    assert "serve [OPTIONS]" in shown.stdout


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m lora_studio --help | head -c 10; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert "Traceback" not in done.stderr


def event(kind: str, seq: int = 0, **data: object) -> Event:
    """An event of some job."""
    return Event("j", seq, 0.0, kind, data)  # type: ignore[arg-type]


def test_progress_lines_say_what_is_known() -> None:
    assert progress_line(event("step", step=3, steps=9, loss=0.12345, seconds_left=75.2)) == (
        "step 3 of 9, loss 0.1235, 1 min 15 s left"
    )
    assert progress_line(event("progress", phase="sample", step=2, steps=18, picture=1, pictures=4)) == (
        "sample, picture 1 of 4, step 2 of 18"
    )
    assert progress_line(event("progress", phase="load")) == "load"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_log_gets_lines_now_and_then_and_the_last_one() -> None:
    stream = io.StringIO()
    teller = Teller(stream, every=1000.0)
    for step in range(1, 6):
        teller.tell(event("step", step=step, steps=5, loss=1.0))
    teller.tell(event("warning", message="something odd"))
    teller.done()
    assert stream.getvalue().splitlines() == [
        "step 1 of 5, loss 1.0000",
        "step 5 of 5, loss 1.0000",
        "note: something odd",
    ]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_line_that_is_overwritten() -> None:
    stream = Terminal()
    teller = Teller(stream)
    teller.tell(event("step", step=5, steps=5))
    teller.say("done")
    teller.tell(event("step", step=5, steps=5))
    teller.done()
    teller.done()
    assert stream.getvalue() == "\rstep 5 of 5\x1b[K\ndone\n\rstep 5 of 5\x1b[K\n"
