"""The base chooser: files of the operator's folder, how a base is read, and what was found out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import KIND, Visit
from tests.browser.driver import Server


@pytest.fixture
def offering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A server with a folder of checkpoints; the pretended engine knows a base of the name `other`."""
    folder = tmp_path / "models"
    (folder / "xl").mkdir(parents=True)
    for name in ("first.safetensors", "xl/second with a long name.safetensors"):
        (folder / name).write_bytes(b"0" * 2_000_000)
    monkeypatch.setenv("LORA_STUDIO_CHECKPOINTS", str(folder))
    server = Server(tmp_path / "ws", KIND)
    server.start()
    yield server
    server.stop()


def test_choosing_among_files(visit: Visit, offering: Server) -> None:
    page = visit(offering)
    page.click(".tools .base")
    files = page.locator("dialog .base-file")
    expect(files).to_have_count(2)
    expect(files.nth(1)).to_contain_text("xl/second with a long name.safetensors")
    expect(files.nth(0)).to_contain_text("2 MB")
    expect(page.locator("dialog .base-now")).to_contain_text("predicts v_prediction")
    page.click("dialog summary")
    page.select_option("#b-prediction_type", "epsilon")
    files.nth(0).click()
    expect(page.locator("dialog .wrong:visible")).to_contain_text("first.safetensors")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)


def test_a_phone_shows_all_of_it(visit: Visit, offering: Server) -> None:
    """A long title stood out of the dialog at the side."""
    page = visit(offering, viewport={"width": 390, "height": 844})
    page.click(".tools .base")
    expect(page.locator("dialog .base-file")).to_have_count(2)
    page.evaluate("document.querySelector('dialog .base-now p').textContent = 'x'.repeat(120)")
    wide = page.evaluate(
        "(() => { const d = document.querySelector('dialog'); return d.scrollWidth - d.clientWidth; })()"
    )
    assert wide <= 0
