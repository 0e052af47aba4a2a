"""Lists of what waits for people, a page at a time, narrowed by the shared search of their instances.

The API asks here; ``items`` has the same rows whole. Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from sqlalchemy import and_, func, or_, select

from topstitch.model.query import Query
from topstitch.store.rows import Shown, all_shown
from topstitch.store.searches import matching
from topstitch.store.tables import approvals, asked_people, instances, tasks

if TYPE_CHECKING:
    from topstitch.store.store import Store

APPROVALS: Final = "approvals"
TASKS: Final = "tasks"
_LISTS: Final = {APPROVALS: (approvals, approvals.c.asked_at), TASKS: (tasks, tasks.c.opened_at)}


class ItemsPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page, oldest first."""

    rows: Sequence[Shown]
    next: str | None
    count: int | None = None


async def items(
    store: Store,
    list_: str,
    query: Query,
    now: datetime,
    *,
    status: str | None = None,
    person: str | None = None,
    part: Sequence[str] | None = None,
    after: tuple[int, str] | None = None,
    limit: int = 50,
    counted: bool = False,
) -> ItemsPage:
    """Return approvals or tasks, oldest first, whose instances match; those asked of one person when named."""
    table, since = _LISTS[list_]
    wanted: list[Any] = matching(store, query, now, part)
    if status is not None:
        wanted.append(table.c.status == status)
    if person is not None:
        wanted.append(table.c.id.in_(select(asked_people.c.item).where(asked_people.c.person == person)))
    joined = table.join(instances, instances.c.id == table.c.instance)
    shown = select(table, instances.c.workflow, instances.c.title.label("instance_title")).select_from(joined)
    rows = shown.where(*wanted).order_by(since, table.c.id).limit(limit + 1)
    if after is not None:
        rows = rows.where(or_(since > after[0], and_(since == after[0], table.c.id > after[1])))
    totals = select(func.count()).select_from(joined).where(*wanted)

    def read(connection: Any) -> tuple[list[Any], int | None]:
        found = [dict(row) for row in connection.execute(rows).mappings()]
        return found, int(connection.execute(totals).scalar_one()) if counted else None

    found, count = await store.read(read)
    more, found = len(found) > limit, found[:limit]
    last = found[-1] if more else None
    following = f"{last[since.name]}.{last['id']}" if last else None
    return ItemsPage(rows=all_shown(found), next=following, count=count)
