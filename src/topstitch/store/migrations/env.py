"""Runs migrations on the connection that ``store.schema`` hands over; Alembic loads this file by path."""

from __future__ import annotations

from alembic import context

from topstitch.store.tables import metadata


def run() -> None:
    """Carry the migrations out inside the caller's transaction."""
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False
    )
    context.run_migrations()


run()
