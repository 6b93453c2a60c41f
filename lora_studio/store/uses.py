"""What a person's notebook and trainings have to do with a LoRA file, asked before it is deleted."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from lora_studio.store.database import Database
from lora_studio.store.tables import cell, cell_adapter, job

_SHOWN = 3


@dataclass(frozen=True)
class Uses:
    """Cells that mention the file (deleted ones left out) with the first prompts, and names of runs that made it."""

    cells: int
    prompts: tuple[str, ...]
    runs: tuple[str, ...]


def uses_of(database: Database, sha256: str, owner: str) -> Uses:
    """What of `owner`'s has to do with a file."""
    mine = (
        select(cell.c.request)
        .join(cell_adapter, cell_adapter.c.cell_id == cell.c.id)
        .where(cell_adapter.c.sha256 == sha256, cell.c.owner == owner, cell.c.deleted.is_(None))
        .order_by(cell.c.position)
    )
    trained = select(job.c.payload, job.c.result).where(
        job.c.owner == owner, job.c.kind == "train", job.c.state == "done", job.c.hidden.is_(False)
    )
    with database.read() as connection:
        requests = connection.scalars(mine).all()
        rows = connection.execute(trained).all()
    prompts = [str((one.get("with") or one).get("prompt", "")) for one in requests]
    made = [row.payload for row in rows if (row.result or {}).get("adapter") == sha256]
    names = tuple(str(dict(payload.get("config") or {}).get("name", "")) for payload in made)
    return Uses(len(prompts), tuple(prompts[:_SHOWN]), names)
