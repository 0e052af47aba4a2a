"""Decides what the database holds of policies: the bundles, and which was put in force where, when and by whom.

Beside ``tables``, whose metadata it adds to; ``schema`` makes both. Bundles and moves are truth and
only ever grow: a bundle explains the decisions that were taken under it for as long as these
are kept. A proposal is a bundle that waits for a second person, or has waited. It holds no SQL that reads or writes.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from topstitch.store.tables import metadata

bundles: Final = Table(
    "policy_bundles",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("normal", Text, nullable=False),
    Column("published_at", BigInteger, nullable=False),
    Column("published_by", Text, nullable=False),
    UniqueConstraint("name", "version"),
)

moves: Final = Table(
    "policy_moves",
    metadata,
    Column("environment", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),  # the highest of an environment is in force
    Column("digest", Text, nullable=False),
    Column("moved_at", BigInteger, nullable=False),
    Column("moved_by", Text, nullable=False),
    PrimaryKeyConstraint("environment", "revision"),
    sqlite_with_rowid=False,
)

proposals: Final = Table(
    "policy_proposals",
    metadata,
    Column("environment", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("normal", Text, nullable=False),
    Column("parent", Text),
    Column("because", Text, nullable=False),  # a JSON list: why it needs a second person
    Column("proposed_at", BigInteger, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("settled_at", BigInteger),
    Column("settled_by", Text),
    Column("ending", Text),  # published or withdrawn
    PrimaryKeyConstraint("environment", "digest"),
    sqlite_with_rowid=False,
)

__all__ = ["bundles", "metadata", "moves", "proposals"]
