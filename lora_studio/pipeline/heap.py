"""What the C library keeps of memory that was freed, and how it is given back to the system.

glibc raises its threshold for blocks of their own up to 32 MB as such blocks are freed; from then on activations lie
between small live objects on its heap, and what a step needed once stays taken (measured: 250 MB beside a base of
1.1 GB). A fixed threshold keeps large blocks apart, and `give_back` returns what is free between jobs, which takes
milliseconds. Without glibc both do nothing. See mallopt(3) and malloc_trim(3).
"""

from __future__ import annotations

import ctypes
import functools
import platform
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_OWN_BLOCK = 4 << 20
"""Bytes from which a block is one of its own. Blocks of 128 KB made a training a third slower (page faults), of
4 MB and more not at all (dev/LOG.md)."""
_FREE_AT_THE_TOP = 64 << 20


@functools.cache
def _glibc() -> Any:
    """The C library, or None where it is another one."""
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None


@functools.cache
def settle() -> None:
    """Fix the allocator's thresholds for this process."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_MMAP_THRESHOLD, _OWN_BLOCK)
        libc.mallopt(_M_TRIM_THRESHOLD, _FREE_AT_THE_TOP)


def give_back() -> None:
    """Return to the system what is free."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)
