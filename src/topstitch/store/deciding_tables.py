"""Decides what the database holds of who decides: delegations, agents, calendars, what letters left.

Beside ``tables``, whose metadata it adds to; ``schema`` makes both. The first three are truth:
``deciding`` writes them together with a record in the installation's own journal. Codes and
messages help people to decide and decide nothing themselves. A
calendar's proposal waits for a second person. It holds no SQL that reads or writes.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, Table, Text

from topstitch.store.tables import metadata

delegations: Final = Table(
    "delegations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("grantor", Text, nullable=False),
    Column("delegate", Text, nullable=False),
    Column("of_group", Text),  # only what is asked of this group
    Column("starts_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("because", Text, nullable=False),
    Column("granted_at", BigInteger, nullable=False),
    Column("granted_by", Text, nullable=False),
    Column("ended_at", BigInteger),  # earlier than it would have ended
    Column("ended_by", Text),
    sqlite_with_rowid=False,
)

agents: Final = Table(
    "agents",
    metadata,
    Column("id", Text, primary_key=True),
    Column("document", Text, nullable=False),  # owner and limits
    Column("changed_at", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
    sqlite_with_rowid=False,
)

calendars: Final = Table(
    "calendars",
    metadata,
    Column("environment", Text, primary_key=True),
    Column("document", Text, nullable=False),  # the file as it was loaded
    Column("loaded_at", BigInteger, nullable=False),
    Column("loaded_by", Text, nullable=False),
    sqlite_with_rowid=False,
)

calendar_proposals: Final = Table(
    "calendar_proposals",
    metadata,
    Column("environment", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("document", Text, nullable=False),
    Column("parent", Text),
    Column("because", Text, nullable=False),  # a JSON list: why it needs a second person
    Column("proposed_at", BigInteger, nullable=False),
    Column("proposed_by", Text, nullable=False),
    PrimaryKeyConstraint("environment", "digest"),
    sqlite_with_rowid=False,
)

codes: Final = Table(
    "decision_codes",
    metadata,
    Column("approval", Text, nullable=False),
    Column("recipient", Text, nullable=False),  # which of those who were asked, as the link names them
    Column("digest", Text, nullable=False),  # of the code, keyed
    Column("made_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("tries", BigInteger, nullable=False),
    Column("made", BigInteger, nullable=False),  # how many were sent
    PrimaryKeyConstraint("approval", "recipient"),
    sqlite_with_rowid=False,
)

messages: Final = Table(
    "decision_messages",
    metadata,
    Column("approval", Text, nullable=False),
    Column("connection", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("ts", Text, nullable=False),
    Column("posted_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),  # when its buttons were taken away
    PrimaryKeyConstraint("approval", "connection", "channel", "ts"),
    sqlite_with_rowid=False,
)

__all__ = ["agents", "calendar_proposals", "calendars", "codes", "delegations", "messages", "metadata"]
