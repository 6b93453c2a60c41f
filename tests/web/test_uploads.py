"""`/studio/upload/recall`: a picture is read and not kept."""

from __future__ import annotations

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.support.fake_engine import FakeEngine
from tests.web.conftest import Browser, upload


def test_a_picture_is_read_and_not_kept(browser: Browser, engine: FakeEngine) -> None:
    info = PngInfo()
    info.add_text("parameters", "cat\nSteps: 3, Sampler: Euler, Seed: 4")
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG", pnginfo=info)
    before = sorted(engine.workspace.root.rglob("*.png"))
    page = browser()
    answer = upload(page, "recall", out.getvalue(), name="a.png")
    assert answer.status_code == 200
    assert (answer.json()["prompt"], answer.json()["form"]["seed"]) == ("cat", 4)
    answer = upload(page, "recall", b"no picture", name="b.png")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "recall_no_picture")
    assert sorted(engine.workspace.root.rglob("*.png")) == before
    assert list((engine.workspace.root / "uploads").iterdir()) == []
