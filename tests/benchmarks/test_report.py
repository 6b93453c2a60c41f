"""What a report measures takes the place of the same part alone; a busy machine is refused; no wait is endless."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("skia")

from benchmarks import machine, report


def test_a_part_takes_its_own_place_alone(tmp_path: Path) -> None:
    """Leaving parts out took what was known of them out of the file."""
    file = tmp_path / "report.json"
    report.keep(file, "picture", {"seconds": 1})
    report.keep(file, "memory", {"bases": 2})
    report.keep(file, "picture", {"seconds": 3})
    report.keep(file, "effect", {"count": 60})
    assert json.loads(file.read_text(encoding="utf-8")) == {"picture": {"seconds": 3}, "memory": {"bases": 2}}
    assert json.loads((tmp_path / "effect.json").read_text(encoding="utf-8")) == {"count": 60}


def test_every_benchmark_is_a_part_and_every_part_stands_where_it_is_kept() -> None:
    modules = {path.stem for path in Path(report.__file__).parent.glob("*.py")}
    helpers = {"__init__", "machine", "report", "studio", "trial"}
    assert modules - helpers == (set(report.PARTS) - {"first_page", "picture", "training", "memory"}) | {
        "memory_shared"
    }
    kept = json.loads((report.RESULTS / "report.json").read_text(encoding="utf-8"))
    assert set(kept) <= set(report.PARTS) - set(report.OWN_FILES)
    assert all(part["machine"]["load"] is not None for part in kept.values())


def _measured(monkeypatch: pytest.MonkeyPatch, load: float) -> None:
    about: dict[str, Any] = {"load": load}
    monkeypatch.setattr(machine, "describe", lambda: about)
    monkeypatch.setattr(report, "PARTS", {"picture": lambda: {"seconds": 1}, "effect": lambda: {"count": 2}})


def test_a_busy_machine_is_refused_unless_it_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _measured(monkeypatch, 1.6)
    file = tmp_path / "report.json"
    assert report.main(["--out", str(file)]) == 2
    assert "load of the last minute is 1.6" in capsys.readouterr().err
    assert not file.exists()
    assert report.main(["--out", str(file), "--busy", "--skip", "effect"]) == 0
    assert json.loads(file.read_text(encoding="utf-8")) == {"picture": {"seconds": 1, "machine": {"load": 1.6}}}
    assert not (tmp_path / "effect.json").exists()


def test_one_part_can_be_measured_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _measured(monkeypatch, 0.1)
    assert report.main(["--out", str(tmp_path / "report.json"), "--only", "effect"]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["effect.json"]


def test_an_app_that_ends_or_hangs_is_not_waited_for() -> None:
    """An app that died at its start was asked for its page for ever."""
    with pytest.raises(RuntimeError, match=r"ended with 1 before its first page: no base here"):
        report.start_once([sys.executable, "-c", "import sys; sys.exit('no base here')"])
    with pytest.raises(RuntimeError, match=r"no page after 0\.3 seconds"):
        report.start_once([sys.executable, "-c", "import time; time.sleep(60)"], patience=0.3)
