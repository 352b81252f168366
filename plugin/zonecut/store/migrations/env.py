"""Run by alembic inside `zonecut.store.schema.upgrade`, which brings the connection and its transaction."""

from alembic import context

from zonecut.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
