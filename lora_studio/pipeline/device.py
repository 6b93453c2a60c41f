"""Where the base runs and in which numbers: probed once, never assumed.

Processors differ by ten times and more: bf16 matmul without AVX512/AMX is 60 to 250 times slower than fp32, with it
two to four times faster. So on a CPU weights stay in float32 and a millisecond-scale matmul decides whether
autocast to bf16 pays. It does not know models.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from lora_studio.errors import InvalidInput
from lora_studio.types import DeviceInfo

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
PAYS_FROM = 1.5
"""bf16 is chosen on a CPU when its matmul is at least this many times faster."""


@dataclass(frozen=True)
class Precision:
    """Device and numbers.

    Attributes:
        device: cpu, cuda or mps.
        weights: dtype in which the base's weights are held.
        autocast: dtype of autocast during model calls; None computes in `weights`.
    """

    device: torch.device
    weights: torch.dtype = torch.float32
    autocast: torch.dtype | None = None

    @property
    def name(self) -> str:
        """The numbers in words, e.g. `float32, bfloat16 in matmuls`."""
        held = str(self.weights).removeprefix("torch.")
        return held if self.autocast is None else f"{held}, {str(self.autocast).removeprefix('torch.')} in matmuls"

    @property
    def loss_scale(self) -> float:
        """By what a training's loss is multiplied before its backward pass, and its gradients are divided afterwards.

        The numbers of float16 end at 6e-8, and a picture's gradients lie below (Micikevicius et al. 2018, arXiv
        1710.03740, section 3.2); bfloat16 and float32 reach as far down as one needs.
        """
        return 2.0**12 if self.weights == torch.float16 else 1.0

    def inference(self) -> AbstractContextManager[None]:
        """Context of a model call without gradients."""
        return self._context(grad=False)

    def training(self) -> AbstractContextManager[None]:
        """Context of a training's forward pass; backward runs outside it."""
        return self._context(grad=True)

    @contextlib.contextmanager
    def _context(self, grad: bool) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.set_grad_enabled(grad))
            if self.autocast is not None:
                stack.enter_context(torch.autocast(self.device.type, self.autocast))
                if grad and self.device.type == "cpu":
                    stack.enter_context(_Float32Attention())
            yield


class _Float32Attention(TorchFunctionMode):
    """Computes attention alone in float32: its bf16 backward on a CPU is four times slower (head sizes 16 to 48)."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            with torch.autocast("cpu", enabled=False):
                out = func(*(t.float() if isinstance(t, torch.Tensor) else t for t in args), **(kwargs or {}))
            return out.to(args[0].dtype)
        return func(*args, **(kwargs or {}))


def probe(device: str = "auto", dtype: str = "auto") -> Precision:
    """Choose device and numbers.

    Args:
        device: auto, cpu, cuda or mps; which of several GPUs is "cuda" says CUDA_VISIBLE_DEVICES.
        dtype: auto, float32, bfloat16 or float16. On a CPU bfloat16 means autocast over float32 weights, and there is
            no float16.

    Raises:
        InvalidInput: a device that this machine lacks, or a dtype that is not known or not there on the device.
    """
    place = torch.device(_pick_device() if device == "auto" else _checked_device(device))
    if dtype != "auto" and dtype not in _DTYPES:
        raise InvalidInput(
            f"The dtype {dtype!r} is not known; allowed are auto, {', '.join(_DTYPES)}; choose one of these.",
            code="dtype_unknown",
            given=dtype,
            allowed=", ".join(["auto", *_DTYPES]),
        )
    if place.type == "cpu":
        if dtype == "float16":
            raise InvalidInput(
                "The dtype 'float16' was asked for on a CPU, which computes in float32 or, where that is faster, with "
                "bfloat16 in matmuls; choose auto, float32 or bfloat16.",
                code="dtype_on_cpu",
                given=dtype,
                allowed="auto, float32, bfloat16",
            )
        fast = dtype == "bfloat16" or (dtype == "auto" and _bf16_gain() >= PAYS_FROM)
        return Precision(place, torch.float32, torch.bfloat16 if fast else None)
    if dtype == "auto":
        # GPUs before Ampere (T4, RTX 20xx) take bfloat16 and emulate its arithmetic, several times slower than float16.
        own = place.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return Precision(place, torch.bfloat16 if own else torch.float16)
    return Precision(place, _DTYPES[dtype])


def _pick_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _checked_device(device: str) -> str:
    known = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not known.get(device, False):
        have = ", ".join(name for name, there in known.items() if there)
        raise InvalidInput(
            f"The device {device!r} is not there on this machine or in this build of torch; there is {have}; choose "
            "one of these or auto.",
            code="device_missing",
            given=device,
            allowed=have,
        )
    return device


def _bf16_gain() -> float:
    """How many times faster a bf16 matmul is than one in float32 here.

    Both in turn and the best of twelve each, about 60 ms: the same machine must choose the same numbers when others
    keep it busy, or a picture made again after a restart differs in its last bits.
    """
    pairs = {dtype: torch.ones(384, 384, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)}
    best = dict.fromkeys(pairs, math.inf)
    for turn in range(13):
        for dtype, a in pairs.items():
            start = time.perf_counter()
            a @ a
            taken = time.perf_counter() - start
            if turn:  # the first of each warms up
                best[dtype] = min(best[dtype], taken)
    return best[torch.float32] / best[torch.bfloat16]


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that the device has too little memory; on a CPU torch says so in words alone."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "not enough memory" in str(error)


def describe(precision: Precision) -> DeviceInfo:
    """What a page shows of the device; memory in bytes."""
    kind = precision.device.type
    if kind == "cuda":
        free, total = torch.cuda.mem_get_info(precision.device)
        return DeviceInfo("cuda", torch.cuda.get_device_name(precision.device), precision.name, total, free)
    total, free = _host_memory()
    name = f"{os.cpu_count() or 1} cores" if kind == "cpu" else "Apple GPU"
    return DeviceInfo(kind, name, precision.name, total, free)


def _host_memory() -> tuple[int, int]:
    """Total and free main memory in bytes, zeros where the system does not say."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0, 0
