"""Discrepancies as they are listed and looked up: each with its instance, its state and its age.

Projections, written by the records that open, change and resolve them. The command line, the
console and the API ask here; acting on one is ``reconciliation.desk``. Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, Select, func, literal, or_, select, tuple_

from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.store.rows import Shown, all_shown
from topstitch.store.sealing import milliseconds
from topstitch.store.tables import discrepancies, instances

if TYPE_CHECKING:
    from topstitch.store.store import Store

OPEN: Final = ("confirmed", "ticketed", "healing")
"""The states in which a discrepancy is somebody's to deal with."""
LISTING_MAX: Final = 1000
NAMED_MAX: Final = 2

_SINCE: Final = func.coalesce(discrepancies.c.opened_at, discrepancies.c.suspected_at, discrepancies.c.changed_at)


async def list_discrepancies(
    store: Store,
    state: str | None = None,
    system: str | None = None,
    workflow: str | None = None,
    after: str | None = None,
    limit: int = 50,
    *,
    instance: str | None = None,
    matching: Sequence[ColumnElement[bool]] = (),
) -> list[Shown]:
    """Return discrepancies, oldest first, each with ``workflow``, ``instance_title`` and ``since_at``.

    ``state`` is one of its states, or ``open`` for all that need somebody; ``system`` is an
    alias of the definition; ``after`` is the id of the last row of the page before; ``matching`` are
    conditions on their instances, as ``searches`` makes them.
    """
    query = _rows().where(*matching).order_by(_SINCE, discrepancies.c.id).limit(min(limit, LISTING_MAX))
    if state == "open":
        query = query.where(discrepancies.c.state.in_(OPEN))
    elif state is not None:
        query = query.where(discrepancies.c.state == state)
    for column, wanted in (
        (discrepancies.c.system, system),
        (instances.c.workflow, workflow),
        (discrepancies.c.instance, instance),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    if after is not None:
        last = await discrepancy(store, after)
        query = query.where(_behind(last["since_at"], last["id"]))
    return await store.read(lambda c: all_shown(c.execute(query).mappings()))


async def discrepancy(store: Store, name: str) -> Shown:
    """Return one discrepancy by its id, or by the first characters of it when only one begins so."""
    query = (
        _rows()
        .where(discrepancies.c.id >= name, discrepancies.c.id < name + "\uffff")
        .order_by(discrepancies.c.id)
        .limit(NAMED_MAX)
    )
    rows = await store.read(lambda c: all_shown(c.execute(query).mappings())) if name else []
    if not rows:
        raise NotFoundError("unknown-id", f"there is no discrepancy {name}; list what is open and use an id from there")
    if len(rows) > 1 and rows[0]["id"] != name:
        raise ConflictError("id-unclear", f"more than one discrepancy begins with {name}; type more of it")
    return rows[0]


async def same_in_a_while(store: Store, workflow: str, record: str, field: str, since: datetime) -> tuple[int, int]:
    """Return how many instances showed this difference since then, and how many instances are open or that young."""
    ms = milliseconds(since)
    shows = (
        select(discrepancies.c.instance, discrepancies.c.fields)
        .select_from(discrepancies.join(instances, instances.c.id == discrepancies.c.instance))
        .where(
            discrepancies.c.opened_at >= ms,
            discrepancies.c.record == record,
            instances.c.workflow == workflow,
        )
        .limit(LISTING_MAX)
    )
    all_of = select(func.count()).where(
        instances.c.workflow == workflow, or_(instances.c.ended_at.is_(None), instances.c.ended_at >= ms)
    )

    def read(connection: Any) -> tuple[int, int]:
        found = all_shown(connection.execute(shows).mappings())
        same = {row["instance"] for row in found if any(_is(f, field) for f in row["fields"] or ())}
        return len(same), int(connection.execute(all_of).scalar_one())

    return await store.read(read)


def _is(row: Any, field: str) -> bool:
    return isinstance(row, dict) and row.get("field") == field


def _rows() -> Select[Any]:
    return select(
        discrepancies, instances.c.workflow, instances.c.title.label("instance_title"), _SINCE.label("since_at")
    ).select_from(discrepancies.join(instances, instances.c.id == discrepancies.c.instance))


def _behind(since: datetime, name: str) -> Any:
    return tuple_(_SINCE, discrepancies.c.id) > tuple_(literal(milliseconds(since)), literal(name))
