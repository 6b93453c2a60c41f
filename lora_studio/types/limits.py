"""What one person may take of a machine that many share, and what must stay free on its disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a workspace; 0 is no bound. The command line, which is the operator's own, has the last one alone."""

    jobs: int = 0
    """Jobs of one person that wait or run at once."""
    megabytes: int = 0
    """MB that one person's files may take."""
    free_megabytes: int = 0
    """MB that must be free on the disk before a training, a download or a tool of the workbench is begun."""
