"""The workbench as pages ask for it: only LoRAs that the caller sees, no folders of the server, its own pictures."""

from __future__ import annotations

from typing import Any

import pytest

from lora_studio.errors import InvalidInput, NotFound
from lora_studio.ui.studio import Studio
from tests.support.fake_engine import adapter_entry, safetensors
from tests.ui.conftest import Call, uid


def sample(call: Call) -> dict[str, Any]:
    """A LoRA that everybody sees."""
    return dict(call("library")["adapters"][0])


def result(call: Call, studio: Studio, owner: str = "ann", **asked: Any) -> dict[str, Any]:
    """The result of a tool's job."""
    job = call("workbench", owner, job=uid(), **asked)["job"]
    list(studio.engine.events(job))  # it loads torch, which may take long
    found = studio.engine.job(job)
    assert found.state == "done", found.error
    return dict(found.result or {})


def test_metadata_is_shown_and_a_file_inspected(call: Call, studio: Studio) -> None:
    lora = sample(call)
    request = {"file": lora["sha256"], "put": {"modelspec.title": "猫"}}
    shown = result(call, studio, tool="meta", request=request)
    assert shown["changes"] == [{"key": "modelspec.title", "before": None, "after": "猫"}]
    assert shown["files"] == []
    refused = result(call, studio, tool="inspect", request={"file": lora["sha256"]})["report"]["refused"]
    assert refused is None or lora["name"] in refused


def test_a_result_takes_over_what_is_said_of_the_lora(call: Call, studio: Studio) -> None:
    """Trigger words and picture stand in the library, not always in the file: a resized LoRA must not lose them."""
    import torch
    from safetensors.torch import save

    data = save({f"lora_unet_conv_in.lora_{n}.weight": torch.ones(s) for n, s in (("down", (2, 4)), ("up", (3, 2)))})
    entry = adapter_entry(studio.workspace, data, "mine", "ann")
    entry = studio.workspace.adapters.add(type(entry)(**(vars(entry) | {"trigger_words": ("cat",)})))
    request = {"file": entry.sha256, "rule": {"rank": 1}}
    made = result(call, studio, tool="resize", request=request, name="mine small")
    found = studio.workspace.adapters.get(made["adapter"], "ann")
    assert (found.name, found.trigger_words, found.rank) == ("mine small", ("cat",), 1)


def test_what_a_page_may_not_name(call: Call, studio: Studio) -> None:
    lora = sample(call)
    secret = adapter_entry(studio.workspace, safetensors({"name": "secret"}), "secret", "ben")
    studio.workspace.adapters.add(secret)
    with pytest.raises(InvalidInput, match="has no tool 'extract'"):
        call("workbench", job=uid(), tool="extract", request={"before": "/", "after": "/", "rule": {"rank": 1}})
    parts = [{"file": lora["sha256"]}, {"file": secret.sha256}]
    for tool, request in (
        ("inspect", {"file": secret.sha256}),
        ("inspect", {"file": lora["sha256"], "other": secret.sha256}),
        ("combine", {"parts": parts}),
        ("meta", {"file": secret.sha256}),
        ("meta", {"file": lora["sha256"], "thumbnail": secret.sha256}),
    ):
        with pytest.raises(NotFound):
            call("workbench", job=uid(), tool=tool, request=request)
    assert result(call, studio, "ben", tool="meta", request={"file": secret.sha256})["changes"] == []
