"""Derives every projection again from the journal.

For the test that holds tables and journal together, for an operator who doubts a table, and
for an erasure, after which the projections must not know more than the journal. It changes
no truth: neither journal, nor leases, nor events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from topstitch.foundation.canonical import GENESIS
from topstitch.model.kinds import Kind
from topstitch.model.record import Record
from topstitch.store import sql
from topstitch.store.database import Backend
from topstitch.store.journal import write_changes
from topstitch.store.loading import load_rows
from topstitch.store.project import project
from topstitch.store.projections import ERASED_TEXT
from topstitch.store.sealing import open_rows
from topstitch.store.tables import PROJECTIONS
from topstitch.store.values import Summary

if TYPE_CHECKING:
    from topstitch.store.store import Store

Summarise = Callable[[str, Sequence[Record]], Summary]
"""From a definition's digest and an instance's records to its summary."""
BATCH: Final = 200


async def rebuild(store: Store, summarise: Summarise | None = None, *, instances: Sequence[str] | None = None) -> int:
    """Derive the projections of all instances, or of those named, again; return of how many.

    ``summarise`` derives stage, status and what is waited for as well; without it they stay.
    One transaction a batch: an engine may go on meanwhile.
    """
    names = list(instances) if instances is not None else await store.work(_all_instances)
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        await store.work(lambda backend, batch=batch: rebuild_with(store, backend, batch, summarise))  # type: ignore[misc]
    return len(names)


def _all_instances(backend: Backend) -> list[str]:
    return [str(name) for (name,) in backend.execute("SELECT id FROM instances ORDER BY id")]


def rebuild_with(store: Store, backend: Backend, names: Sequence[str], summarise: Summarise | None) -> None:
    """Derive the projections of instances again inside the present transaction."""
    heads = backend.fetch(sql.HEADS, [(name,) for name in names])  # locked: nobody appends meanwhile
    keys = {
        name: (subject, wrapped)
        for name, subject, wrapped in backend.fetch(sql.SUBJECT_KEYS, [(name,) for name in names])
    }
    stored = load_rows(backend, names)
    for table in PROJECTIONS:
        for name in names:
            backend.execute(f"DELETE FROM {table.name} WHERE instance = ?", (name,))  # noqa: S608 -- from the metadata
    for name, *_ in heads:
        key = store.installation_key.unwrap(name, *keys[name]) if name in keys else None
        records = open_rows(name, stored.get(name, ()), key, prev=GENESIS)
        write_changes(backend, [change for record in records for change in project(record)])
        _resummarise(backend, name, records, summarise)


def _resummarise(backend: Backend, name: str, records: Sequence[Record], summarise: Summarise | None) -> None:
    first = records[0]
    if first.kind == Kind.STARTED:
        title = first.body.get("title")
        backend.execute(
            "UPDATE instances SET title = ? WHERE id = ?",
            (title if isinstance(title, str) or title is None else ERASED_TEXT, name),
        )
    if summarise is not None:
        digest = backend.execute("SELECT digest FROM instances WHERE id = ?", (name,))[0][0]
        summary = summarise(str(digest), records)
        backend.execute(
            "UPDATE instances SET stage = ?, status = ?, waiting_on = ? WHERE id = ?",
            (summary.stage, summary.status, summary.waiting_on, name),
        )
