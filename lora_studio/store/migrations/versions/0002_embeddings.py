"""Textual-inversion embeddings.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of embeddings."""
    op.create_table(
        "embedding",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("vectors", sa.Integer(), nullable=False),
        sa.Column("widths", sa.JSON(), nullable=False),
        sa.Column("tensors", sa.String(), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("deleted", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_embedding")),
        sa.UniqueConstraint("sha256", "owner", name=op.f("uq_embedding_sha256_owner")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_embedding_owner_name", "embedding", ["owner", "name"], unique=False)


def downgrade() -> None:
    """Take the table away; the embeddings' files stay until they are swept."""
    op.drop_table("embedding")
