"""Freed memory goes back to the system, measured in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from lora_studio.pipeline import heap

HOLES = """
import ctypes
import psutil
from lora_studio.pipeline import heap

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]

def taken():
    return psutil.Process().memory_info().rss

def block(size):
    place = libc.malloc(size)
    ctypes.memset(place, 1, size)
    return place

heap.settle()
before = taken()
rows = [(block(1 << 20), block(70_000)) for _ in range(200)]
for large, _ in rows:
    libc.free(large)
held = taken() - before
heap.give_back()
print(held, taken() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc's allocator")
def test_what_lies_free_between_live_objects_is_given_back() -> None:
    run = subprocess.run([sys.executable, "-c", HOLES], check=True, capture_output=True, text=True)
    held, kept = map(int, run.stdout.split())
    assert held > 150 << 20
    assert kept < 20 << 20


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    for function in (heap._glibc, heap.settle):
        function.cache_clear()
    try:
        assert heap._glibc() is None
        heap.settle()
        heap.give_back()
    finally:
        for function in (heap._glibc, heap.settle):
            function.cache_clear()
