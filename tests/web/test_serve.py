"""Serving: never on an address that others could reach."""

from __future__ import annotations

import pytest

from lora_studio.errors import NotAllowed
from lora_studio.settings import Settings
from lora_studio.web import serve
from tests.support.fake_engine import FakeEngine


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "gpu.lan", ""])
def test_only_loopback(engine: FakeEngine, host: str) -> None:
    settings = Settings(workspace=engine.workspace.root).model_copy(update={"host": host})
    with pytest.raises(NotAllowed, match="no accounts yet") as caught:
        serve(settings, engine.workspace, engine)
    assert repr(host) in caught.value.message
