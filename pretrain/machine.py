"""Where a training computes and in which numbers: probed once, then kept with the checkpoint.

Weights stay in float32. On a CPU bf16 autocast pays where the processor multiplies bf16 itself (AVX512, AMX) and costs
sixty times and more where not, so a convolution and a matmul of milliseconds decide. Attention stays in float32 there:
its bf16 backward is slower. On CUDA autocast is bf16 throughout. It does not know models.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

PAYS_FROM = 1.2  # bf16 is chosen when it is at least this many times faster


@dataclass(frozen=True)
class Machine:
    """Device (`cpu` or `cuda`), whether autocast is on, whether attention alone stays in float32."""

    device: str
    bf16: bool
    attention_fp32: bool

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Context of forward passes; backward runs outside it."""
        with contextlib.ExitStack() as stack:
            if self.bf16:
                stack.enter_context(torch.autocast(self.device, torch.bfloat16))
                if self.attention_fp32:
                    stack.enter_context(_Float32Attention(self.device))
            yield

    @property
    def iteration_dtype(self) -> torch.dtype:
        """Numbers of Muon's iteration."""
        return torch.bfloat16 if self.bf16 else torch.float32

    @property
    def memory_format(self) -> torch.memory_format:
        """Layout of kernels and pictures: bf16 convolutions want channels last, float32 ones on a CPU do not."""
        return torch.channels_last if self.bf16 else torch.contiguous_format

    def as_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return asdict(self)

    def __str__(self) -> str:
        attention = ", attention in float32" if self.attention_fp32 else ""
        return f"{self.device}, {'bf16' if self.bf16 else 'float32'}{attention}, {torch.get_num_threads()} threads"


class _Float32Attention(TorchFunctionMode):
    """Computes attention alone in float32."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        given = [one.float() if isinstance(one, torch.Tensor) else one for one in args]
        named = {name: one.float() if isinstance(one, torch.Tensor) else one for name, one in kwargs.items()}
        with torch.autocast(self._device, enabled=False):
            out = func(*given, **named)
        return out.to(args[0].dtype)


def choose(device: str = "auto", numbers: str = "auto", saved: dict[str, Any] | None = None) -> Machine:
    """The machine for a training.

    Args:
        device: auto, cpu or cuda. numbers: auto, bf16 or fp32.
        saved: what a checkpoint was made with. Under `auto` it is taken again instead of probing, if the device is the
            same, so that the numbers of a resumed training are those of an uninterrupted one.

    Raises:
        ValueError: CUDA was asked for and is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError('The device "cuda" is not there on this machine; there is cpu; write device = "auto".')
    place = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if place == "cuda":
        torch.set_float32_matmul_precision("high")
    if saved is not None and numbers == "auto" and saved["device"] == place:
        if saved["bf16"] and place == "cpu" and bf16_gain() < 1:
            print(
                "the checkpoint was made in bf16, which is slower than float32 on this processor; to go on in float32 "
                "say --set numbers=fp32 --accept-changes",
                flush=True,
            )
        return Machine(**saved)
    if place == "cuda":
        return Machine(place, numbers != "fp32", False)
    bf16 = numbers == "bf16" or (numbers == "auto" and bf16_gain() >= PAYS_FROM)
    return Machine(place, bf16, bf16 and attention_gain() < 1)


def bf16_gain() -> float:
    """How many times faster bf16 is than float32 on this CPU, for a convolution and a matmul together; about 50 ms."""
    taken = {}
    for dtype in (torch.float32, torch.bfloat16):
        x, kernel = torch.ones(4, 64, 16, 16, dtype=dtype), torch.ones(64, 64, 3, 3, dtype=dtype)
        a, b = torch.ones(1024, 192, dtype=dtype), torch.ones(192, 768, dtype=dtype)

        def work(x: Any = x, kernel: Any = kernel, a: Any = a, b: Any = b) -> None:
            F.conv2d(x, kernel, padding=1)
            a @ b

        taken[dtype] = _best(work)
    return taken[torch.float32] / taken[torch.bfloat16]


def attention_gain() -> float:
    """How many times faster attention, forward and backward, is in bf16 than in float32 on this CPU."""
    taken = {}
    for dtype in (torch.float32, torch.bfloat16):
        q = torch.ones(4, 4, 256, 32, dtype=dtype, requires_grad=True)
        k = torch.ones(4, 4, 77, 32, dtype=dtype, requires_grad=True)

        def work(q: Any = q, k: Any = k) -> None:
            torch.autograd.backward(F.scaled_dot_product_attention(q, k, k).sum())

        taken[dtype] = _best(work)
    return taken[torch.float32] / taken[torch.bfloat16]


def _best(work: Callable[[], None], times: int = 5) -> float:
    """Seconds of the fastest of some calls, after one that is not counted."""
    work()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)
