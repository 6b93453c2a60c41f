"""The tables. `migrations` makes them; a test holds the two equal.

Every table says whose its rows are. Rows that mention files are entered in `file_reference`, so that a file is
removed exactly when nobody refers to it any more; `doomed_file` remembers files whose removal was decided in a
transaction until they are gone. Times are seconds since 1970.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

workspace = Table(
    "workspace",
    metadata,
    Column("id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("created", Float, nullable=False),
)

job = Table(
    "job",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("payload", JSON, nullable=False),
    Column("created", Float, nullable=False),
    Column("finished", Float),
    Column("result", JSON(none_as_null=True)),
    Column("error", JSON(none_as_null=True)),
    Column("base_sha256", String, nullable=False),
    Column("hidden", Boolean, nullable=False),
    Column("opener", String, nullable=False),
    Index("ix_job_owner_number", "owner", "number"),
    sqlite_autoincrement=True,
)

job_event = Table(
    "job_event",
    metadata,
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("owner", String, nullable=False),
    Column("time", Float, nullable=False),
    Column("type", String, nullable=False),
    Column("data", JSON, nullable=False),
    sqlite_with_rowid=False,
)

job_adapter = Table(
    "job_adapter",
    metadata,
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("sha256", String, primary_key=True, index=True),
    Column("owner", String, nullable=False),
    Column("weight", Float, nullable=False),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("job_id", ForeignKey("job.id", ondelete="CASCADE"), primary_key=True),
    Column("owner", String, nullable=False),
    Column("step", Integer, nullable=False),
    Column("sha256", String, nullable=False),
    Column("created", Float, nullable=False),
)

adapter = Table(
    "adapter",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("sha256", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("name", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("size", Integer, nullable=False),
    Column("base_sha256", String, nullable=False),
    Column("family", String, nullable=False),
    Column("rank", Integer),
    Column("alpha", Float),
    Column("trigger_words", JSON, nullable=False),
    Column("cover", String),
    Column("run", String),
    Column("recommended_weight", Float, nullable=False),
    Column("notes", Text, nullable=False),
    Column("sample", Boolean, nullable=False),
    Column("stem", String, nullable=False),
    Column("stars", Integer, nullable=False),
    Column("kept", Boolean, nullable=False),  # the file is in the store; else it lies in a folder alone
    Column("deleted", Float),
    Column("changed", Float, nullable=False, index=True),
    Column("edited", JSON, nullable=False),  # fields that a person changed: what side files say leaves them alone
    Column("side", JSON, nullable=False),
    Column("hints", JSON, nullable=False),  # the few entries of the metadata that lists need
    Column("report", JSON, nullable=False),
    Column("metadata", JSON, nullable=False),  # the last, being large: SQLite reads rows from their beginning
    UniqueConstraint("sha256", "owner"),
    Index("ix_adapter_owner_name", "owner", "name"),
    sqlite_autoincrement=True,
)

folder_file = Table(
    "folder_file",
    metadata,
    Column("path", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("folder", String, nullable=False),
    Column("size", Integer, nullable=False),
    Column("modified", Integer, nullable=False),  # nanoseconds since 1970
    Column("sha256", String, nullable=False, index=True),  # "" for a file that is no LoRA
    Column("side", String, nullable=False),  # names, sizes and times of the files beside it
    Column("problem", String, nullable=False),
    Column("gone", Float),
    Column("reader", Integer, nullable=False, server_default="0"),  # `headers.adapter.READER` that looked at it
)

embedding = Table(
    "embedding",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("sha256", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("name", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("size", Integer, nullable=False),
    Column("vectors", Integer, nullable=False),
    Column("widths", JSON, nullable=False),
    Column("tensors", String, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("deleted", Float),
    UniqueConstraint("sha256", "owner"),
    Index("ix_embedding_owner_name", "owner", "name"),
    sqlite_autoincrement=True,
)

dataset = Table(
    "dataset",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("owner", String, nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("created", Float, nullable=False),
    sqlite_autoincrement=True,
)

dataset_item = Table(
    "dataset_item",
    metadata,
    Column("dataset_id", ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True),
    Column("sha256", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("position", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("caption", Text, nullable=False),
    Column("source", String, nullable=False),
    Column("warnings", JSON, nullable=False),
    Column("likeness", String, nullable=False),
)

dataset_refusal = Table(
    "dataset_refusal",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("dataset_id", ForeignKey("dataset.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("source", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("code", String, nullable=False),
    Column("message", Text, nullable=False),
    Column("values", JSON, nullable=False),
)

notebook = Table(
    "notebook",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String, nullable=False, unique=True),
    Column("owner", String, nullable=False, index=True),
    Column("name", String, nullable=False),
    Column("created", Float, nullable=False),
    sqlite_autoincrement=True,
)

cell = Table(
    "cell",
    metadata,
    Column("id", String, primary_key=True),
    Column("notebook_id", ForeignKey("notebook.id", ondelete="CASCADE"), nullable=False),
    Column("owner", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("position", Float, nullable=False),
    Column("created", Float, nullable=False),
    Column("request", JSON, nullable=False),
    Column("job_id", String, index=True),
    Column("result", JSON(none_as_null=True)),
    Column("note", Text, nullable=False),
    Column("deleted", Float),
    Column("sample", Boolean, nullable=False),
    Column("base_sha256", String, nullable=False),
    Index("ix_cell_notebook_id_position", "notebook_id", "position"),
)

cell_adapter = Table(
    "cell_adapter",
    metadata,
    Column("cell_id", ForeignKey("cell.id", ondelete="CASCADE"), primary_key=True),
    Column("sha256", String, primary_key=True, index=True),
    Column("owner", String, nullable=False),
    Column("weight", Float, nullable=False),
)

sample = Table(
    "sample",
    metadata,
    Column("name", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("entered", Float, nullable=False),
)

sample_cell = Table(
    "sample_cell",
    metadata,
    Column("position", Integer, primary_key=True),
    Column("owner", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("request", JSON, nullable=False),
    Column("result", JSON(none_as_null=True)),
    Column("note", Text, nullable=False),
)

style = Table(
    "style",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("owner", String, nullable=False),
    Column("name", String, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("negative_prompt", Text, nullable=False),
    UniqueConstraint("owner", "name"),
    sqlite_autoincrement=True,
)

file_reference = Table(
    "file_reference",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("holder", String, primary_key=True),
    Column("holder_id", String, primary_key=True),
    Column("owner", String, nullable=False),
    Index("ix_file_reference_holder_holder_id", "holder", "holder_id"),
    sqlite_with_rowid=False,
)

doomed_file = Table(
    "doomed_file",
    metadata,
    Column("sha256", String, primary_key=True),
    Column("owner", String, nullable=False),
    Column("since", Float, nullable=False),
)
