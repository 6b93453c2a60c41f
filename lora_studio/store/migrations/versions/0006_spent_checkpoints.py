"""Checkpoints of runs that are done or discarded go: nothing can be continued from them.

Revision ID: 0006
"""

import time

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SPENT = "SELECT id FROM job WHERE state IN ('done', 'cancelled')"


def upgrade() -> None:
    """Drop their rows; the files are removed when the workspace settles."""
    held = f"holder = 'checkpoint' AND holder_id IN ({SPENT})"
    op.get_bind().execute(
        sa.text(
            "INSERT OR IGNORE INTO doomed_file (sha256, owner, since) "
            f"SELECT sha256, owner, :now FROM file_reference WHERE {held}"
        ),
        {"now": time.time()},
    )
    op.execute(f"DELETE FROM file_reference WHERE {held}")
    op.execute(f"DELETE FROM checkpoint WHERE job_id IN ({SPENT})")


def downgrade() -> None:
    """Nothing to undo: the tables are the same."""
