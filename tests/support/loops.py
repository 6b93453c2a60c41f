"""Building things inside an event loop of their own, also where another one runs in this thread already."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_own_loop(make: Callable[[], T]) -> T:
    """What `make` returns, called inside a loop: outside of one Gradio makes loops and never closes them."""

    async def inside() -> T:
        return make()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, inside()).result()
