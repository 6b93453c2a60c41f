"""The library of adapters: stars, side files, reports, deletion that can be undone; files in folders read in place.

The table is made anew because SQLite reads a row from its beginning: metadata of 100 KB must stand behind what every
list shows.

Revision ID: 0004
"""

import json
import time

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEPT = (
    "number, sha256, owner, name, created, size, base_sha256, family, rank, alpha, trigger_words, cover, run, "
    "recommended_weight, notes, sample"
)
HINTS = ("ss_output_name", "modelspec.title", "modelspec.license", "sshs_model_hash", "sshs_legacy_hash")


def _first_columns() -> list[sa.Column]:
    return [
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("created", sa.Float(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("base_sha256", sa.String(), nullable=False),
        sa.Column("family", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("alpha", sa.Float(), nullable=True),
        sa.Column("trigger_words", sa.JSON(), nullable=False),
        sa.Column("cover", sa.String(), nullable=True),
        sa.Column("run", sa.String(), nullable=True),
        sa.Column("recommended_weight", sa.Float(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("sample", sa.Boolean(), nullable=False),
    ]


def _keys() -> list[sa.Constraint]:
    return [
        sa.PrimaryKeyConstraint("number", name=op.f("pk_adapter")),
        sa.UniqueConstraint("sha256", "owner", name=op.f("uq_adapter_sha256_owner")),
    ]


def _replace(columns: list[sa.Column]) -> None:
    """Make the table anew behind the old one's back: `adapter_old` is what was."""
    op.drop_index("ix_adapter_owner_name", table_name="adapter")
    op.rename_table("adapter", "adapter_old")
    op.create_table("adapter", *columns, *_keys(), sqlite_autoincrement=True)
    op.create_index("ix_adapter_owner_name", "adapter", ["owner", "name"], unique=False)


def upgrade() -> None:
    """Make the new tables and take over what was there."""
    _replace(
        [
            *_first_columns(),
            sa.Column("stem", sa.String(), nullable=False),
            sa.Column("stars", sa.Integer(), nullable=False),
            sa.Column("kept", sa.Boolean(), nullable=False),
            sa.Column("deleted", sa.Float(), nullable=True),
            sa.Column("changed", sa.Float(), nullable=False),
            sa.Column("edited", sa.JSON(), nullable=False),
            sa.Column("side", sa.JSON(), nullable=False),
            sa.Column("hints", sa.JSON(), nullable=False),
            sa.Column("report", sa.JSON(), nullable=False),
            sa.Column("metadata", sa.JSON(), nullable=False),
        ]
    )
    op.create_index("ix_adapter_changed", "adapter", ["changed"], unique=False)
    connection = op.get_bind()
    for row in connection.execute(sa.text("SELECT number, metadata FROM adapter_old")).all():
        found = json.loads(row.metadata or "{}")
        hints = json.dumps({key: found[key][:200] for key in HINTS if found.get(key)})
        connection.execute(
            sa.text(
                f"INSERT INTO adapter ({KEPT}, stem, stars, kept, deleted, changed, edited, side, hints, report, "
                f"metadata) SELECT {KEPT}, '', 0, 1, NULL, :now, '[]', '{{}}', :hints, '{{}}', metadata "
                "FROM adapter_old WHERE number = :number"
            ),
            {"now": time.time(), "hints": hints, "number": row.number},
        )
    op.drop_table("adapter_old")
    op.create_table(
        "folder_file",
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("folder", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("modified", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("gone", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_folder_file")),
    )
    op.create_index("ix_folder_file_sha256", "folder_file", ["sha256"], unique=False)


def downgrade() -> None:
    """Take the new columns away; entries whose files lie in folders are lost."""
    op.drop_table("folder_file")
    op.drop_index("ix_adapter_changed", table_name="adapter")
    _replace([*_first_columns(), sa.Column("metadata", sa.JSON(), nullable=False)])
    op.execute(f"INSERT INTO adapter ({KEPT}, metadata) SELECT {KEPT}, metadata FROM adapter_old WHERE kept")
    op.drop_table("adapter_old")
