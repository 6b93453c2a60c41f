"""Run by Alembic: applies the scripts on the connection that `run.config` was given. Online only."""

from alembic import context

from lora_studio.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller's transaction holds everything; Alembic must not commit in between
)
context.run_migrations()
