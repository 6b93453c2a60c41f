"""Names in the library: which one is free, and which are near to one that is not there. It knows no tables."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_NEAR = 5


def free_name(name: str, taken: Iterable[str]) -> str:
    """`name`, or `name 2` ... where it is taken already (in any case)."""
    seen = {other.casefold() for other in taken}
    candidate, number = name, 2
    while candidate.casefold() in seen:
        candidate, number = f"{name} {number}", number + 1
    return candidate


def near_names(name: str, names: Iterable[str]) -> list[str]:
    """Up to five names that look like what was asked for, the nearest first."""
    folded = name.casefold()
    by_fold: dict[str, str] = {}
    for other in names:
        by_fold.setdefault(other.casefold(), other)
    close = difflib.get_close_matches(folded, by_fold, n=_NEAR, cutoff=0.5)
    holding = [fold for fold in by_fold if folded and (folded in fold or fold in folded) and fold not in close]
    return [by_fold[fold] for fold in (close + holding)[:_NEAR]]
