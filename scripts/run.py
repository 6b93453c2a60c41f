"""The README's two commands: `start` installs and starts the app, `test` installs what the tests need and runs them.

    python3 scripts/run.py start [options of app.py]
    python3 scripts/run.py test [options of pytest]

Standard library only, and readable by old Pythons, so that it can say what is missing. Inside a virtual environment it
uses that one; outside it makes `.venv` beside the app. Packages are installed when the pinned versions have changed
since the last time. It does not know the app.
"""

from __future__ import annotations

import ctypes.util
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = (3, 11)
SYSTEM_PACKAGES = ("chromium", "fonts-noto-cjk", "libegl1", "libgl1")
"""Debian's names of what the tests need: the browser, fonts for Chinese, and two libraries of the drawing package."""

ALONE = "open-clip-torch==3.3.0"
"""Installed without what it needs: the tests take CLIP's vocabulary from it and import nothing."""

CHECKS = (
    ("ruff check", ["-m", "ruff", "check", "."]),
    ("ruff format", ["-m", "ruff", "format", "--check", "."]),
    ("mypy", ["-m", "mypy"]),
    ("import rules", ["-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]),
    ("tables in the docs", ["-m", "scripts.docs", "--check"]),
)
"""What runs before the tests: a name, and the arguments of Python."""


class Stop(Exception):
    """The work cannot go on; the message is one sentence that says what to do."""


def environment() -> tuple[Path, Path]:
    """Folder and Python of the virtual environment in use, or of `.venv` here, whether it is there or not."""
    if sys.prefix != sys.base_prefix or os.environ.get("CONDA_PREFIX"):
        return Path(sys.prefix), Path(sys.executable)
    folder = ROOT / ".venv"
    return folder, folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def environment_python() -> Path:
    """The Python of `environment`; `.venv` is made where it is missing, and again where it was copied or half made."""
    folder, python = environment()
    if python == Path(sys.executable) or works(python):
        return python
    if filled(folder) and answers(python, "-c", ""):
        raise Stop(
            f"The environment in {str(folder)!r} has no pip, and packages that would be lost if it was made again; put "
            f"pip into it (by {python} -m ensurepip), or move it away, then try again."
        )
    print(f"making a virtual environment in {folder}", file=sys.stderr, flush=True)
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], capture_output=True, text=True)
    if made.returncode != 0:
        name = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        raise Stop(
            f"A virtual environment could not be made in {str(folder)!r}; check that the folder can be written and "
            f"that Python's venv module is there (on Debian and Ubuntu: apt-get install {name}), then try again."
        )
    return python


def works(python: Path) -> bool:
    """True when `python` starts and has pip; a copied or half-made environment does not."""
    return answers(python, "-m", "pip", "--version")


def answers(python: Path, *arguments: str) -> bool:
    """True when `python` is there, starts, and ends without an error."""
    if not python.exists():
        return False
    return subprocess.run([str(python), *arguments], capture_output=True).returncode == 0


def filled(folder: Path) -> bool:
    """True when an environment holds more than pip: one that was half made here holds nothing else."""
    found = [*folder.glob("lib/python*/site-packages/*"), *folder.glob("Lib/site-packages/*")]
    own = ("pip", "setuptools", "_distutils_hack", "distutils-precedence", "pkg_resources", "__pycache__")
    return any(not path.name.startswith(own) for path in found)


def stamp_of(folder: Path, requirements: str) -> tuple[Path, str]:
    """The file that says what was installed into an environment, and what it says where that are the present pins."""
    pins = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("requirements.txt", requirements)) + ALONE
    return folder / f".lora-studio-{Path(requirements).stem}", hashlib.sha256(pins.encode("utf-8")).hexdigest()


def installed(stamp: Path, wanted: str) -> bool:
    """True when a stamp is there and says what is wanted."""
    return stamp.exists() and stamp.read_text(encoding="utf-8") == wanted


def install(python: Path, requirements: str) -> None:
    """Install the pinned packages of one file, unless that was done for exactly these pins."""
    prefix = subprocess.run(
        [str(python), "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    )
    stamp, wanted = stamp_of(Path(prefix.stdout.strip()), requirements)
    if installed(stamp, wanted):
        return
    print(f"installing the packages of {requirements} (once; some minutes)", file=sys.stderr, flush=True)
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    commands = [[*pip, "-r", requirements]]
    if requirements == "requirements-dev.txt":
        commands.append([*pip, "--no-deps", ALONE])
    if any(subprocess.run(command, cwd=ROOT).returncode != 0 for command in commands):
        raise Stop(
            f"pip could not install {requirements} (its words stand above); check the network connection and the space "
            "on the disk, then run the same command again."
        )
    stamp.write_text(wanted, encoding="utf-8")


def install_system() -> None:
    """Install Chromium, fonts and libraries where they are missing and can be installed; otherwise say how."""
    missing = [name for name in SYSTEM_PACKAGES if not present(name)]
    if not missing:
        return
    by_hand = f"sudo apt-get install {' '.join(missing)}"
    apt = shutil.which("apt-get")
    if apt is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        print(
            f"note: {' and '.join(missing)} cannot be installed from here, so tests that need them are skipped or "
            f"fail; install by: {by_hand}",
            file=sys.stderr,
            flush=True,
        )
        return
    print(f"installing {' and '.join(missing)}", file=sys.stderr, flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *missing]):
        done = subprocess.run([apt, "-qq", *arguments], env=environment, stdout=sys.stderr)
        if done.returncode != 0:
            raise Stop(f"apt-get {arguments[0]} failed (its words stand above); check the network, or run: {by_hand}")


def present(package: str) -> bool:
    """True when a Debian package, or the program or fonts that it would bring, are there."""
    if package == "chromium":
        return shutil.which("chromium") is not None
    if package.startswith("lib"):
        return ctypes.util.find_library(package[3:-1].upper()) is not None
    if shutil.which("fc-list") is None:
        return False
    return bool(subprocess.run(["fc-list", ":lang=zh-cn"], capture_output=True, text=True).stdout.strip())


def start(arguments: list[str]) -> int:
    """Install what the app needs and start it where one stands, so that paths and `lora-studio.toml` are those of that
    folder; the process becomes the app, so that signals reach it."""
    asks = bool({"-h", "--help"} & set(arguments))
    if asks and not installed(*stamp_of(environment()[0], "requirements.txt")):
        print(__doc__)
        print("The app's own options stand in docs/reference.md, and here once its packages are installed.")
        return 0
    python = environment_python()
    install(python, "requirements.txt")
    command = [str(python), str(ROOT / "app.py"), *arguments]
    if os.name == "nt":
        return subprocess.call(command)
    sys.stdout.flush()
    os.execv(command[0], command)
    raise AssertionError("execv does not return")


def test(arguments: list[str]) -> int:
    """Install what the tests need and run checks and tests; pytest's closing line stands last."""
    python = environment_python()
    install(python, "requirements-dev.txt")
    install_system()
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    failed = False
    for name, command in CHECKS:
        print(f"== {name}", flush=True)
        code = subprocess.call([str(python), *command], cwd=ROOT, env=environment)
        if code != 0:
            failed = True
            print(f"== {name} failed with exit code {code}", flush=True)
    print("== pytest", flush=True)
    code = subprocess.call([str(python), "-m", "pytest", *arguments], cwd=ROOT, env=environment)
    return code or int(failed)


def main(argv: list[str]) -> int:
    """Run `start` or `test`; 2 and one sentence where that cannot be."""
    commands = {"start": start, "test": test}
    if argv[:1] in (["-h"], ["--help"], []):
        print(__doc__)
        return 0
    try:
        if sys.version_info < NEEDED:
            found = ".".join(str(part) for part in sys.version_info[:3])
            raise Stop(
                f"This is Python {found} and LoRA Studio needs {NEEDED[0]}.{NEEDED[1]} or newer; install one and run "
                f"this command with it, like: python{NEEDED[0]}.{NEEDED[1]} scripts/run.py {argv[0]}"
            )
        if argv[0] not in commands:
            raise Stop(f"There is no command {argv[0]!r}; allowed are start and test; --help explains them.")
        return commands[argv[0]](argv[1:])
    except Stop as problem:
        print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
