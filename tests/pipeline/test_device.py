"""Where the base runs and in which numbers, on devices that this machine need not have."""

from __future__ import annotations

import pytest
import torch

from lora_studio.errors import InvalidInput
from lora_studio.pipeline import probe
from lora_studio.pipeline.device import Precision, lacks_memory


def with_gpu(monkeypatch: pytest.MonkeyPatch, emulated: bool) -> None:
    """A GPU that has bfloat16, or only takes it and emulates its arithmetic, as torch tells of it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not emulated
    )


@pytest.mark.parametrize(("emulated", "weights"), [(True, torch.float16), (False, torch.bfloat16)])
def test_a_gpu_that_emulates_bfloat16_computes_in_float16(
    emulated: bool, weights: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch counts emulation in unless it is told not to: T4 and RTX 20xx ran several times slower than they can."""
    with_gpu(monkeypatch, emulated)
    for device in ("cuda", "auto"):
        found = probe(device)
        assert (found.device.type, found.weights, found.autocast) == ("cuda", weights, None)
    assert probe("cuda", "float32").weights == torch.float32
    assert probe("cuda", "float16").weights == torch.float16


def test_float16_is_refused_on_a_cpu() -> None:
    """It was float32 without a word."""
    with pytest.raises(InvalidInput, match="choose auto, float32 or bfloat16") as caught:
        probe("cpu", "float16")
    assert caught.value.code == "dtype_on_cpu"
    assert probe("cpu", "float32") == Precision(torch.device("cpu"))
    assert probe("cpu", "bfloat16").autocast == torch.bfloat16


@pytest.mark.parametrize(("device", "dtype"), [("cuda:1", "auto"), ("tpu", "auto"), ("cpu", "int8")])
def test_what_is_not_known_is_refused(device: str, dtype: str) -> None:
    with pytest.raises(InvalidInput):
        probe(device, dtype)


def test_which_errors_say_that_there_is_too_little_memory() -> None:
    assert lacks_memory(torch.OutOfMemoryError("x"))
    assert lacks_memory(MemoryError())
    assert lacks_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"))
    assert not lacks_memory(RuntimeError("shapes do not fit"))


def test_losses_are_scaled_in_float16_alone() -> None:
    kinds = (torch.float32, torch.bfloat16, torch.float16)
    scales = [Precision(torch.device("cpu"), kind).loss_scale for kind in kinds]
    assert scales[:2] == [1.0, 1.0]
    assert scales[2] > 1000
