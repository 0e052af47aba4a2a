"""Decides what the database holds of whole populations: when each is compared, and what was found.

Beside ``tables``, whose metadata it adds to; ``schema`` makes both. A difference has no journal of
its own, for nothing of ours wrote it; ``populations`` writes it. It holds no SQL that reads or writes.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Table, Text

from topstitch.store.tables import metadata

populations: Final = Table(
    "populations",
    metadata,
    Column("workflow", Text, primary_key=True),
    Column("digest", Text, nullable=False),  # the definition that said when
    Column("due_at", BigInteger, nullable=False),
    Column("ran_at", BigInteger),
    Column("outcome", Text),  # the counts of the last comparison, or why there was none
    sqlite_with_rowid=False,
)
Index("ix_populations_due", populations.c.due_at)

differences: Final = Table(
    "population_differences",
    metadata,
    Column("id", Text, primary_key=True),
    Column("workflow", Text, nullable=False),
    Column("what", Text, nullable=False),  # no_instance, missing, extra, duplicate
    Column("system", Text, nullable=False),  # the alias of the side it was found on
    Column("subject", Text, nullable=False),  # the key, as the two sides share it
    Column("instance", Text),
    Column("seen_at", BigInteger, nullable=False),  # first
    Column("opened_at", BigInteger),  # once it had outlived the grace
    Column("changed_at", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # suspected, open, waived, resolved
    Column("waived_until", BigInteger),
    Column("because", Text),
    Column("changed_by", Text),
    sqlite_with_rowid=False,
)
Index("ix_population_differences_workflow", differences.c.workflow, differences.c.state)
