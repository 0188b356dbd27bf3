"""Runs migrations over the connection that ``server.registry.database.migrate`` hands in."""

from alembic import context

from server.registry.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
