"""The kinds of LoRA files that are read or refused: one table, from which the tests and docs/adapter-formats.md come.

A kind differs from every other in its key layout, its arithmetic or its defect, not in size. Each says how a file of it
is made on tiny models, and what must come of it: the effect of a dense difference that is reckoned here by plain code
(or by the library that wrote the file), or a refusal's code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from tests.support.tiny_models import Delta, Outputs, TinyModels


@dataclass
class Made:
    """One file and what must come of it.

    Attributes:
        deltas: ΔW and Δb by layer key, where they are known; else `outputs` are what an independent library gives.
        warns: codes of warnings that must be among the report's.
        quiet: no warning at all is allowed.
        loose: how far outputs may be apart, relative, where the numbers in the file are rounded by its writer.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    deltas: dict[str, Delta] = field(default_factory=dict)
    outputs: Outputs | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    path: Path | None = None
    raw: bytes | None = None
    suffix: str = ".safetensors"
    warns: tuple[str, ...] = ()
    says: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    Attributes:
        name: short.
        group: layout, arithmetic or defect.
        says: what is special about it.
        base: sd or sdxl.
        refused: code of the refusal, "" where it acts.
        make: builds one in a folder of its own.
    """

    name: str
    group: str
    says: str
    make: Callable[[TinyModels, Path], Made]
    base: str = "sd"
    refused: str = ""
    writer: str = "plain code"


def kinds() -> tuple[Kind, ...]:
    """All of them."""
    from tests.adapters import corpus_arithmetic, corpus_defects, corpus_layouts, corpus_writers

    found: list[Kind] = []
    for part in (corpus_layouts, corpus_arithmetic, corpus_writers, corpus_defects):
        found += part.kinds()
    names = [kind.name for kind in found]
    assert len(set(names)) == len(names), "a kind stands twice"
    return tuple(found)


def table(of: Iterable[Kind]) -> str:
    """The rows as Markdown, by group."""
    heads = {
        "layout": ("## Key layouts", "How a trainer names the same factors."),
        "arithmetic": ("## Arithmetic", "What the numbers of a module come to."),
        "defect": ("## Defects", "What is refused in one sentence, and what acts with a warning."),
    }
    lines = []
    for group, (head, text) in heads.items():
        own = [kind for kind in of if kind.group == group]
        lines += [
            f"{head} ({len(own)})",
            "",
            text,
            "",
            "| Kind | What it is | Written by | Outcome |",
            "|---|---|---|---|",
        ]
        for kind in own:
            outcome = f"refused (`{kind.refused}`)" if kind.refused else "acts as W + ΔW"
            lines.append(f"| {kind.name} | {kind.says} | {kind.writer} | {outcome} |")
        lines.append("")
    return "\n".join(lines)
