"""Decides what the database holds of saved views: a search of one list that somebody gave a name.

Beside ``tables``, whose metadata it adds to; ``schema`` makes both. Views help people to look and
decide nothing. It holds no SQL that reads or writes.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Table, Text

from topstitch.store.tables import metadata

saved_views: Final = Table(
    "saved_views",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("list", Text, nullable=False),  # instances, or another list of the console
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),  # the parameters of the list's address
    Column("shared", BigInteger, nullable=False),
    Column("saved_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_saved_views_list", saved_views.c.list, saved_views.c.person)

__all__ = ["metadata", "saved_views"]
