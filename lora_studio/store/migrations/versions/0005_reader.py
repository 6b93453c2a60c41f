"""Which reader looked at a file of a folder: those that an older one looked at are looked at once more.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("folder_file", sa.Column("reader", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("folder_file", "reader")
