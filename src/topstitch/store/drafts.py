"""Drafts of Definition Versions: texts that were checked and handed in, and are not in force.

The API keeps one when a designer hands it in, and takes it when somebody publishes it. A draft may
be replaced until its version is published; what is published is in ``definitions`` and never changes.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec
from sqlalchemy import select

from topstitch.foundation.errors import NotFoundError
from topstitch.store.api_tables import definition_drafts
from topstitch.store.sealing import milliseconds, moment

if TYPE_CHECKING:
    from topstitch.store.store import Store

_KEEP: Final = (
    "INSERT INTO definition_drafts (workflow, version, digest, text, made_at, made_by) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (workflow, version) DO UPDATE SET digest = excluded.digest, text = excluded.text,"
    " made_at = excluded.made_at, made_by = excluded.made_by"
)


class DefinitionDraft(msgspec.Struct, frozen=True, kw_only=True):
    """One draft: the author's text, and the digest it would be published under."""

    workflow: str
    version: str
    digest: str
    text: str
    made_at: datetime
    made_by: str


async def keep(store: Store, draft: DefinitionDraft) -> None:
    """Keep a draft, in place of an earlier one of its version."""
    values = (draft.workflow, draft.version, draft.digest, draft.text, milliseconds(draft.made_at), draft.made_by)
    await store.work(lambda backend: backend.execute(_KEEP, values))


async def forget(store: Store, workflow: str, version: str) -> None:
    """Delete a draft; harmless when there is none."""
    statement = "DELETE FROM definition_drafts WHERE workflow = ? AND version = ?"
    await store.work(lambda backend: backend.execute(statement, (workflow, version)))


async def get(store: Store, workflow: str, version: str) -> DefinitionDraft:
    """Return a draft; raise ``NotFoundError`` when there is none."""
    for draft in await of(store, workflow):
        if draft.version == version:
            return draft
    message = f"there is no draft of {workflow} {version}; hand one in, or see which versions there are"
    raise NotFoundError("no-draft", message)


async def of(store: Store, workflow: str) -> list[DefinitionDraft]:
    """Return the drafts of a workflow, newest first."""
    d = definition_drafts.c
    query = (
        select(d.workflow, d.version, d.digest, d.text, d.made_at, d.made_by)
        .where(d.workflow == workflow)
        .order_by(d.made_at.desc(), d.version.desc())
    )
    return await store.read(
        lambda c: [
            DefinitionDraft(workflow=w, version=v, digest=h, text=t, made_at=moment(at), made_by=by)
            for w, v, h, t, at, by in c.execute(query)
        ]
    )
