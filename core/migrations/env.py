"""Alembic's entry: runs the steps on the connection that core.database.migrate already holds."""

from alembic import context

from core.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
