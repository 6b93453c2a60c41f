"""Styles: named pieces of prompt.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "style",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("negative_prompt", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_style")),
        sa.UniqueConstraint("owner", "name", name=op.f("uq_style_owner_name")),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Styles are lost."""
    op.drop_table("style")
