"""The two doors of the studio on the real engine and the embedded base: the command line, and the form over HTTP."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from lora_studio.__main__ import engine, page
from lora_studio.cli import main
from lora_studio.engine.inline import build_engine
from lora_studio.engine.protocol import Engine
from lora_studio.settings import Settings, load_settings
from lora_studio.store import Workspace
from lora_studio.store.samples import install_samples
from lora_studio.web.app import create_app
from tests.support.embeddings import write_code, write_pt, write_safetensors
from tests.support.hardship import locked, small_disk_at, write_foreign, write_half
from tests.support.loops import in_own_loop

__all__ = ["locked"]

ASSETS = Path(__file__).resolve().parents[2] / "assets"
ORIGIN = "http://127.0.0.1:7860"


@dataclass(frozen=True)
class Said:
    """What a door answered: a code of its own (exit code, HTTP status, or a job's state) and its sentences."""

    code: int | str
    sentences: tuple[str, ...]


class Shell:
    """The command line, run in this process in the folder of bad things."""

    def __init__(self, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.place = place
        self._capsys = capsys

    def __call__(self, *argv: str) -> Said:
        """One command; its sentences are the lines of standard error that tell no progress."""
        code = main(argv, engine, page)
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        return Said(code, tuple(line for line in captured.err.strip().splitlines() if line.strip()))


class Form:
    """The page's calls and uploads, as its scripts make them."""

    def __init__(self, client: TestClient, engine: Engine, settings: Settings, place: Path) -> None:
        self.place = place
        self.root = settings.workspace
        self._client = client
        self._engine = engine

    def call(self, action: str, /, **data: Any) -> dict[str, Any] | Said:
        """An answer, or the refusal."""
        return _read(self._client.post(f"/studio/call/{action}", json=data, headers={"origin": ORIGIN}))

    def upload(self, where: str, file: Path, **query: str) -> dict[str, Any] | Said:
        """An answer, or the refusal."""
        return _read(
            self._client.post(
                f"/studio/upload/{where}",
                content=file.read_bytes(),
                params={"name": file.name} | query,
                headers={"origin": ORIGIN},
            )
        )

    def make(self, **form: Any) -> Said:
        """Ask for a picture; a refusal, or what the job ended with."""
        job = uuid.uuid4().hex
        values = {"prompt": "1girl", "seed": "1", "num_inference_steps": "2", "adapters": []} | form
        return self._ended(self.call("make", cell=uuid.uuid4().hex, job=job, form=values), job)

    def weigh(self, weight: str) -> Said:
        """Ask for a picture with a sample LoRA at a weight."""
        library = self.call("library")
        assert isinstance(library, dict)
        entry = next(entry for entry in library["adapters"] if entry["name"] == "cat ears")
        return self.make(adapters=[{"sha256": entry["sha256"], "name": entry["name"], "weight": weight}])

    def add_lora(self, name: str) -> Said:
        """Drop a LoRA file on the page."""
        job = uuid.uuid4().hex
        return self._ended(self.upload("adapter", self.place / name, job=job), job)

    def add_embedding(self, name: str) -> Said:
        """Drop an embedding's file on the page."""
        job = uuid.uuid4().hex
        return self._ended(self.upload("embedding", self.place / name, job=job), job)

    def add_pictures(self, folder: str) -> Said:
        """Put a folder's files into a new set: a refusal, or why single ones are not used."""
        made = self.call("new_set", name=folder)
        if isinstance(made, Said):
            return made
        sentences: list[str] = []
        for file in sorted((self.place / folder).iterdir()):
            answer = self.upload("picture", file, set=made["set"]["id"])
            if isinstance(answer, Said):
                return answer
            sentences += [refused["message"] for refused in answer["set"]["refused"]]
        return Said(200, tuple(sentences))

    def train(self, folder: str) -> Said:
        """Put a folder's files into a new set and train on it."""
        made = self.call("new_set", name=folder)
        assert isinstance(made, dict), made
        for file in sorted((self.place / folder).iterdir()):
            self.upload("picture", file, set=made["set"]["id"])
        job = uuid.uuid4().hex
        form = {"name": "N", "steps": "1", "rank": "1", "preview_every": "0"}
        return self._ended(self.call("train", set=made["set"]["id"], job=job, form=form), job)

    def load_base(self, base: str) -> Said:
        """Choose another base."""
        job = uuid.uuid4().hex
        return self._ended(self.call("load_base", base=base, job=job), job)

    def _ended(self, answer: dict[str, Any] | Said, job: str) -> Said:
        """The refusal, or the state and the sentence that the job ended with."""
        if isinstance(answer, Said):
            return answer
        *_, last = self._engine.events(job)
        return Said(last.type, (str(last.data.get("message", "")),))


def _read(response: httpx.Response) -> dict[str, Any] | Said:
    data: dict[str, Any] = response.json()
    if response.status_code == 200:
        return data
    return Said(response.status_code, (data["error"]["message"],))


def write_place(place: Path) -> Path:
    """Good pictures, and files and folders that are wrong in their own ways."""
    for folder in ("cats", "mixed", "empty"):
        (place / folder).mkdir(parents=True)
    for path in sorted((ASSETS / "examples" / "cat-ears").glob("0[1-2].*")):
        shutil.copy(path, place / "cats")
        shutil.copy(path, place / "mixed")
    (place / "mixed" / "torn.png").write_bytes((place / "cats" / "01.png").read_bytes()[:2000])
    write_half(ASSETS / "examples" / "adapters" / "cat-ears.safetensors", place / "torn.safetensors")
    write_foreign(place / "foreign.safetensors")
    write_safetensors(place / "wide.safetensors", width=768)
    write_code(place / "evil.pt", place / "ran")
    write_half(write_pt(place / "whole.pt"), place / "torn.pt")
    return place


def opened(root: Path, place: Path) -> Iterator[Form]:
    """A form on a workspace of its own; no network is asked."""
    settings = load_settings(workspace=root, assets=ASSETS, offline=True)
    with Workspace.open(root) as workspace:
        install_samples(workspace, settings.assets)
        built = build_engine(settings, workspace)
        try:
            with TestClient(in_own_loop(lambda: create_app(settings, workspace, built)), base_url=ORIGIN) as client:
                assert client.get("/").status_code == 200
                yield Form(client, built, settings, place)
        finally:
            built.close()


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    """The command line in a folder of bad things."""
    place = write_place(tmp_path / "here")
    monkeypatch.chdir(place)
    monkeypatch.setenv("LORA_STUDIO_OFFLINE", "true")
    monkeypatch.setenv("LORA_STUDIO_WORKSPACE", str(tmp_path / "ws"))
    return Shell(place, capsys)


@pytest.fixture(scope="module")
def form(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Form]:
    """The form; one for all rows, so that what one row does wrong would disturb the next."""
    root = tmp_path_factory.mktemp("form")
    yield from opened(root / "ws", write_place(root / "here"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 30 MB at `tmp_path/disk`."""
    with small_disk_at(tmp_path / "disk", "30m") as folder:
        yield folder


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder read-only for a while, under whoever works in it."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Write until nothing more fits; the file that holds it all."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return filler
