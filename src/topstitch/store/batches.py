"""Batches as they are shown while they are carried out: the frozen items, and how each went.

``office.batches`` writes here beside the installation's journal, which stays what counts. Reads are
for the doors. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson
from sqlalchemy import func, select

from topstitch.foundation.errors import NotFoundError
from topstitch.model.record import Draft
from topstitch.store.api_tables import batch_items, batches
from topstitch.store.database import Backend
from topstitch.store.ledger import note_down_with
from topstitch.store.rows import Shown, all_shown
from topstitch.store.sealing import milliseconds, moment

if TYPE_CHECKING:
    from topstitch.store.store import Store

WAITING, DONE, FAILED, LEFT = "waiting", "done", "failed", "left"


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """One batch."""

    id: str
    action: str
    wish: Mapping[str, Any]
    count: int
    frozen_at: datetime
    frozen_by: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    counts: Mapping[str, int] = {}
    """How many items have each status."""

    @property
    def status(self) -> str:
        """``previewed``, ``started`` or ``ended``."""
        return "ended" if self.ended_at else "started" if self.started_at else "previewed"


_ITEM: Final = (
    "INSERT INTO batch_items (batch, number, instance, title, possible, says, status, code)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


async def freeze(
    store: Store, name: str, wish: Mapping[str, Any], items: Sequence[Mapping[str, Any]], at: datetime, by: str
) -> None:
    """Keep a selection with what would become of each item."""

    def do(backend: Backend) -> None:
        backend.execute(
            "INSERT INTO batches (id, action, wish, count, frozen_at, frozen_by) VALUES (?, ?, ?, ?, ?, ?)",
            (name, wish["name"], orjson.dumps(dict(wish)).decode(), len(items), milliseconds(at), by),
        )
        for number, item in enumerate(items):
            says = orjson.dumps(item["says"]).decode()
            row = (name, number, item["instance"], item["title"], int(item["ok"]), says, WAITING, item.get("code"))
            backend.execute(_ITEM, row)

    await store.work(do)


async def start(store: Store, name: str, at: datetime) -> None:
    """Note that a batch is being carried out."""
    statement = "UPDATE batches SET started_at = ? WHERE id = ?"
    await store.work(lambda backend: backend.execute(statement, (milliseconds(at), name)))


async def told(store: Store, name: str, instance: str, result: Mapping[str, Any]) -> None:
    """Note how one item went."""
    status = DONE if result["ok"] else FAILED
    values = (status, result.get("code"), result.get("message"), result.get("seq"), name, instance)
    await store.work(
        lambda backend: backend.execute(
            "UPDATE batch_items SET status = ?, code = ?, message = ?, seq = ? WHERE batch = ? AND instance = ?", values
        )
    )


async def end(store: Store, name: str, at: datetime, note: Draft) -> None:
    """Note that a batch is over, here and in the installation's journal at once; what was not reached is left."""

    def do(backend: Backend) -> None:
        note_down_with(backend, note)
        backend.execute("UPDATE batches SET ended_at = ? WHERE id = ?", (milliseconds(at), name))
        backend.execute("UPDATE batch_items SET status = ? WHERE batch = ? AND status = ?", (LEFT, name, WAITING))

    await store.work(do)


async def get(store: Store, name: str) -> Batch:
    """Return a batch; raise ``NotFoundError`` when there is none."""
    found = await listing(store, name=name)
    if not found:
        raise NotFoundError("no-batch", f"there is no batch {name}; preview one, then start it by its id")
    return found[0]


async def listing(store: Store, *, name: str | None = None, limit: int = 200) -> list[Batch]:
    """Return batches, newest first."""
    query = select(batches).order_by(batches.c.frozen_at.desc(), batches.c.id.desc()).limit(limit)
    if name is not None:
        query = query.where(batches.c.id == name)
    i = batch_items.c
    counted = select(i.batch, i.status, func.count()).group_by(i.batch, i.status)
    if name is not None:
        counted = counted.where(i.batch == name)

    def read(connection: Any) -> list[Batch]:
        counts: dict[str, dict[str, int]] = {}
        for batch, status, count in connection.execute(counted):
            counts.setdefault(batch, {})[status] = int(count)
        return [_batch(row, counts.get(row["id"], {})) for row in connection.execute(query).mappings()]

    return await store.read(read)


async def items(store: Store, name: str, *, after: int = -1, limit: int = 200) -> list[Shown]:
    """Return the items of a batch, in order."""
    query = (
        select(batch_items)
        .where(batch_items.c.batch == name, batch_items.c.number > after)
        .order_by(batch_items.c.number)
        .limit(limit)
    )
    rows = await store.read(lambda c: all_shown(c.execute(query).mappings()))
    return [{**row, "possible": bool(row["possible"]), "says": orjson.loads(row["says"])} for row in rows]


def _batch(row: Mapping[str, Any], counts: Mapping[str, int]) -> Batch:
    return Batch(
        id=row["id"],
        action=row["action"],
        wish=orjson.loads(row["wish"]),
        count=int(row["count"]),
        frozen_at=moment(row["frozen_at"]),
        frozen_by=row["frozen_by"],
        started_at=moment(row["started_at"]) if row["started_at"] is not None else None,
        ended_at=moment(row["ended_at"]) if row["ended_at"] is not None else None,
        counts=counts,
    )
