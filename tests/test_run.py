"""`scripts/run.py`: one sentence where it cannot go on, no second installation, and a failing check is never green."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from scripts import run

ROOT = Path(__file__).resolve().parent.parent
Version = namedtuple("Version", "major minor micro")


def test_from_outside_it_explains_itself() -> None:
    done = subprocess.run([sys.executable, "scripts/run.py", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert "scripts/run.py start" in done.stdout
    wrong = subprocess.run([sys.executable, "scripts/run.py", "paint"], capture_output=True, text=True, cwd=ROOT)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "There is no command 'paint'; allowed are start and test; --help explains them.\n"


def test_an_old_python_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(run.sys, "version_info", Version(3, 9, 2))
    assert run.main(["start"]) == 2
    assert capsys.readouterr().err == (
        "This is Python 3.9.2 and LoRA Studio needs 3.11 or newer; install one and run this command with it, like: "
        "python3.11 scripts/run.py start\n"
    )


def test_a_virtual_environment_in_use_is_taken() -> None:
    if sys.prefix == sys.base_prefix:
        pytest.skip("the tests do not run in a virtual environment")
    assert run.environment_python() == Path(sys.executable)


def test_without_the_venv_module_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run.sys, "prefix", run.sys.base_prefix)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    monkeypatch.setattr(run.sys, "executable", "/bin/false")
    assert run.main(["start"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert str(tmp_path / ".venv") in said
    assert f"apt-get install python{sys.version_info.major}.{sys.version_info.minor}-venv" in said


@pytest.fixture
def fake_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in Python's place that writes down its arguments, and a repository with pins."""
    if os.name == "nt":
        pytest.skip("a shell script stands in for Python")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    (tmp_path / "requirements.txt").write_text("a==1\n", encoding="utf-8")
    (tmp_path / "requirements-dev.txt").write_text("-r requirements.txt\nb==1\n", encoding="utf-8")
    program = tmp_path / "python"
    log, prefix = tmp_path / "log", tmp_path
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = -c ]; then echo {prefix}; exit 0; fi\necho "$@" >> {log}\ntest ! -e {tmp_path}/fail\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program


def test_packages_are_installed_once_for_the_same_pins(fake_python: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        run.install(fake_python, "requirements-dev.txt")
    assert log.read_text(encoding="utf-8").splitlines() == [
        "-m pip install --disable-pip-version-check --quiet -r requirements-dev.txt",
        f"-m pip install --disable-pip-version-check --quiet --no-deps {run.ALONE}",
    ]
    (tmp_path / "requirements.txt").write_text("a==2\n", encoding="utf-8")
    run.install(fake_python, "requirements-dev.txt")
    assert len(log.read_text(encoding="utf-8").splitlines()) == 4


def test_a_failed_installation_is_told_and_tried_again(fake_python: Path, tmp_path: Path) -> None:
    (tmp_path / "fail").touch()
    for _ in range(2):
        with pytest.raises(run.Stop, match=r"requirements\.txt .* check the network connection"):
            run.install(fake_python, "requirements.txt")
    assert len((tmp_path / "log").read_text(encoding="utf-8").splitlines()) == 2


def test_a_failing_check_is_never_green(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Checks run before the tests, so that pytest's closing line stands last; their failures must still count."""
    codes: dict[str, int] = {}
    ran: list[str] = []

    def call(command: list[str], **_: object) -> int:
        name = " ".join(command[1:4])
        ran.append(name)
        return next((code for part, code in codes.items() if part in name), 0)

    monkeypatch.setattr(run, "environment_python", lambda: Path(sys.executable))
    monkeypatch.setattr(run, "install", lambda *_: None)
    monkeypatch.setattr(run, "install_system", lambda: None)
    monkeypatch.setattr(run.subprocess, "call", call)
    assert run.main(["test", "-q"]) == 0
    assert ran[-1] == "-m pytest -q"
    assert len(ran) == len(run.CHECKS) + 1
    codes["mypy"] = 1
    assert run.main(["test"]) == 1
    assert "mypy failed with exit code 1" in capsys.readouterr().out
    codes.clear()
    codes["pytest"] = 5
    assert run.main(["test"]) == 5


def test_without_root_a_missing_browser_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "present", lambda name: name != "chromium")
    monkeypatch.setattr(run.shutil, "which", lambda name: None)
    run.install_system()
    said = capsys.readouterr().err
    assert said.startswith("note: chromium cannot be installed from here")
    assert said.endswith("install by: sudo apt-get install chromium\n")


def test_ci_runs_the_readme_s_command() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "python3 scripts/run.py test" in script.read_text(encoding="utf-8")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, list[str]]]:
    """The folders and commands with which the app was started, instead of starting it."""
    found: list[tuple[Path, list[str]]] = []

    def execv(program: str, command: list[str]) -> None:
        found.append((Path.cwd(), command))
        raise SystemExit(0)

    monkeypatch.setattr(run.os, "execv", execv)
    return found


@pytest.mark.skipif(os.name == "nt", reason="the process does not become the app there")
def test_the_app_starts_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[tuple[Path, list[str]]]
) -> None:
    """Relative paths were read from the repository, and a `lora-studio.toml` in the current folder was not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "environment_python", lambda: Path(sys.executable))
    monkeypatch.setattr(run, "install", lambda *_: None)
    with pytest.raises(SystemExit):
        run.main(["start", "--workspace", "ws"])
    assert started == [(tmp_path, [sys.executable, str(ROOT / "app.py"), "--workspace", "ws"])]


def test_help_installs_nothing(
    fake_python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    started: list[tuple[Path, list[str]]],
) -> None:
    """`start --help` had fetched gigabytes before it answered."""
    monkeypatch.setattr(run, "environment", lambda: (tmp_path, fake_python))
    monkeypatch.setattr(run, "environment_python", lambda: fake_python)
    assert run.main(["start", "--help"]) == 0
    said = capsys.readouterr().out
    assert "scripts/run.py start" in said
    assert "docs/reference.md" in said
    assert not (tmp_path / "log").exists()
    run.install(fake_python, "requirements.txt")
    with pytest.raises(SystemExit):
        run.main(["start", "--help"])
    assert started[0][1][1:] == [str(tmp_path / "app.py"), "--help"]


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for Python")
def test_an_environment_that_somebody_filled_is_not_emptied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """uv makes environments without pip, which were taken for half-made ones and emptied without a word."""
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run.sys, "prefix", run.sys.base_prefix)
    monkeypatch.setattr(run.sys, "executable", "/bin/false")
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    python = tmp_path / ".venv" / "bin" / "python"
    packages = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    for folder in (python.parent, packages / "numpy", packages / "pip"):
        folder.mkdir(parents=True)
    python.write_text('#!/bin/sh\ntest "$1" = -c\n', encoding="utf-8")
    python.chmod(0o755)
    assert run.main(["start"]) == 2
    assert f"has no pip, and packages that would be lost if it was made again; put pip into it (by {python} -m" in (
        capsys.readouterr().err
    )
    (packages / "numpy").rmdir()
    assert run.main(["start"]) == 2
    assert "could not be made" in capsys.readouterr().err, "a half-made one is made again"
