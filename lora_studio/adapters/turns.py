"""Work that is cut into turns, taken in one go: for whoever has nobody beside them to let in between.

It does not know what the work is.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")


def finished(work: Generator[Any, None, T]) -> T:
    """What `work` returns when all its turns are taken."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
