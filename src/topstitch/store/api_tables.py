"""Decides what the database holds for programs that call: answers kept by key, drafts, batches, webhooks going out.

Beside ``tables``, whose metadata it adds to; ``schema`` makes both. Secrets of webhooks are not here
but in the vault. It holds no SQL that reads or writes.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from topstitch.store.tables import metadata

_BY_KEY: Final[dict[str, Any]] = {"sqlite_with_rowid": False}

idempotency_keys: Final = Table(
    "idempotency_keys",
    metadata,
    Column("caller", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),  # of method, path and body
    Column("started_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("status", BigInteger),  # null while the first one is being carried out
    Column("headers", Text),
    Column("body", Text),
    PrimaryKeyConstraint("caller", "key"),
    **_BY_KEY,
)
Index("ix_idempotency_keys_ends", idempotency_keys.c.ends_at)

definition_drafts: Final = Table(
    "definition_drafts",
    metadata,
    Column("workflow", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("made_by", Text, nullable=False),
    PrimaryKeyConstraint("workflow", "version"),
    **_BY_KEY,
)

batches: Final = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("action", Text, nullable=False),
    Column("wish", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("frozen_at", BigInteger, nullable=False),
    Column("frozen_by", Text, nullable=False),
    Column("started_at", BigInteger),
    Column("ended_at", BigInteger),
    **_BY_KEY,
)
Index("ix_batches_frozen", batches.c.frozen_at, batches.c.id)

batch_items: Final = Table(
    "batch_items",
    metadata,
    Column("batch", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("instance", Text, nullable=False),
    Column("title", Text),
    Column("possible", BigInteger, nullable=False),
    Column("says", Text, nullable=False),
    Column("status", Text, nullable=False),  # waiting, done, failed or left
    Column("code", Text),
    Column("message", Text),
    Column("seq", BigInteger),
    PrimaryKeyConstraint("batch", "number"),
    UniqueConstraint("batch", "instance"),
    **_BY_KEY,
)

webhook_endpoints: Final = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("types", Text, nullable=False),  # a JSON list: exact types, or topstitch.approval.*
    Column("description", Text),
    Column("owner", Text, nullable=False),
    Column("status", Text, nullable=False),  # enabled or disabled
    Column("because", Text),
    Column("failing_since", BigInteger),
    Column("secrets", Text, nullable=False),  # a JSON list of {name, ends_at}: names in the vault, newest first
    Column("made_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    **_BY_KEY,
)

webhook_deliveries: Final = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("event", Text, nullable=False),  # the event's id: the same for every endpoint, try and replay
    Column("type", Text, nullable=False),
    Column("instance", Text),
    Column("body", Text, nullable=False),
    Column("made_at", BigInteger, nullable=False),
    Column("status", Text, nullable=False),  # waiting, sent or given_up
    Column("tries", BigInteger, nullable=False),
    Column("next_at", BigInteger),  # null once it is sent or given up
    Column("claimed_until", BigInteger),
    Column("sent_at", BigInteger),
    Column("answered", BigInteger),  # the HTTP status of the last try
    Column("problem", Text),
    Column("replay_of", Text),
    **_BY_KEY,
)
Index("ix_webhook_deliveries_endpoint", webhook_deliveries.c.endpoint, webhook_deliveries.c.made_at)
Index(
    "ix_webhook_deliveries_due",
    webhook_deliveries.c.next_at,
    postgresql_where=webhook_deliveries.c.next_at.isnot(None),
    sqlite_where=webhook_deliveries.c.next_at.isnot(None),
)
