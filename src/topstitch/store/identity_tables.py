"""Decides what the database holds of people: who they are, what they were granted, sessions, tokens, attempts.

Beside ``tables``, whose metadata it adds to; ``schema`` makes both. No password, cookie or token is
here, only what proves one: an argon2id hash, a SHA-256. Who changed a row stands in the installation's
own journal too. It holds no SQL that reads or writes.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, Identity, Index, Integer, PrimaryKeyConstraint, Table, Text, UniqueConstraint

from topstitch.store.tables import metadata

_BY_KEY: Final[dict[str, Any]] = {"sqlite_with_rowid": False}

people: Final = Table(
    "people",
    metadata,
    Column("id", Text, primary_key=True),  # as records name them
    Column("kind", Text, nullable=False),  # human or service
    Column("name", Text),
    Column("email", Text),
    Column("owner", Text),  # who answers for a service account
    Column("password", Text),  # argon2id, for who signs in here
    Column("provider", Text),  # who vouches for them, and as whom
    Column("provider_subject", Text),
    Column("member_of", Text, nullable=False),  # a JSON list of groups
    Column("made_at", BigInteger, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("signed_in_at", BigInteger),
    Column("disabled_at", BigInteger),
    Column("disabled_by", Text),
    UniqueConstraint("provider", "provider_subject"),
    **_BY_KEY,
)

role_grants: Final = Table(
    "role_grants",
    metadata,
    Column("principal", Text, nullable=False),  # a person, or group:NAME
    Column("role", Text, nullable=False),
    Column("place", Text, nullable=False),  # empty: everywhere; a workflow; a prefix with *
    Column("granted_at", BigInteger, nullable=False),
    Column("granted_by", Text, nullable=False),
    PrimaryKeyConstraint("principal", "role", "place"),
    **_BY_KEY,
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("secret", Text, primary_key=True),  # SHA-256 of what the cookie holds
    Column("id", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("signed_in_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("provider", Text),
    Column("provider_session", Text),
    Column("provider_subject", Text),
    **_BY_KEY,
)
Index("ix_sessions_person", sessions.c.person)
Index("ix_sessions_ends", sessions.c.ends_at)

tokens: Final = Table(
    "tokens",
    metadata,
    Column("secret", Text, primary_key=True),  # SHA-256 of the token
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("maker", Text, nullable=False),
    Column("scopes", Text, nullable=False),  # a JSON list
    Column("made_at", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("revoked_by", Text),
    Column("used_at", BigInteger),
    UniqueConstraint("id"),
    **_BY_KEY,
)
Index("ix_tokens_person", tokens.c.person)

sign_in_attempts: Final = Table(
    "sign_in_attempts",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), Identity(always=True), primary_key=True),
    Column("account", Text, nullable=False),  # SHA-256 of what was typed: people type passwords there
    Column("address", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)
Index("ix_sign_in_attempts_account", sign_in_attempts.c.account, sign_in_attempts.c.at)
Index("ix_sign_in_attempts_address", sign_in_attempts.c.address, sign_in_attempts.c.at)

sign_in_flows: Final = Table(
    "sign_in_flows",
    metadata,
    Column("state", Text, primary_key=True),  # SHA-256 of what goes to the provider and back
    Column("provider", Text, nullable=False),
    Column("nonce", Text, nullable=False),
    Column("verifier", Text, nullable=False),
    Column("target", Text, nullable=False),  # where to go afterwards
    Column("ends_at", BigInteger, nullable=False),
    **_BY_KEY,
)

publish_proposals: Final = Table(
    "publish_proposals",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("workflow", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("normal", Text, nullable=False),
    Column("parent", Text),
    Column("because", Text, nullable=False),  # a JSON list: why it needs a second person
    Column("proposed_at", BigInteger, nullable=False),
    Column("proposed_by", Text, nullable=False),
    Column("settled_at", BigInteger),
    Column("settled_by", Text),
    Column("ending", Text),  # published or withdrawn
    **_BY_KEY,
)

__all__ = [
    "metadata", "people", "publish_proposals", "role_grants", "sessions", "sign_in_attempts", "sign_in_flows",
    "tokens",
]  # fmt: skip
