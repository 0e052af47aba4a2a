"""What waits for people: approvals, tasks, exception cases and discrepancies, as they are listed.

Projections, written by the records that open and close them. The doors ask here; deciding
is an ``append_outside`` with the guard ``Still``. Reads only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Table, select

from topstitch.foundation.errors import NotFoundError
from topstitch.store.rows import Shown, all_shown
from topstitch.store.tables import answers, approvals, asked_people, cases, discrepancies, instances, tasks

if TYPE_CHECKING:
    from topstitch.store.store import Store


async def list_approvals(
    store: Store,
    *,
    status: str | None = "open",
    person: str | None = None,
    instance: str | None = None,
    limit: int = 200,
) -> list[Shown]:
    """Return approvals, oldest first; those asked of one person when named."""
    return await _listing(store, approvals, "asked_at", status=status, person=person, instance=instance, limit=limit)


async def list_tasks(
    store: Store,
    *,
    status: str | None = "open",
    person: str | None = None,
    assignee: str | None = None,
    instance: str | None = None,
    limit: int = 200,
) -> list[Shown]:
    """Return tasks, oldest first; those of one person or one group when named."""
    return await _listing(
        store, tasks, "opened_at", status=status, person=person, instance=instance, limit=limit, assignee=assignee
    )


async def list_cases(
    store: Store, *, status: str | None = "open", instance: str | None = None, limit: int = 200
) -> list[Shown]:
    """Return exception cases, oldest first."""
    return await _listing(store, cases, "opened_at", status=status, person=None, instance=instance, limit=limit)


async def list_discrepancies(
    store: Store, *, status: str | None = "open", instance: str | None = None, limit: int = 200
) -> list[Shown]:
    """Return discrepancies, oldest first."""
    return await _listing(store, discrepancies, "opened_at", status=status, person=None, instance=instance, limit=limit)


async def get_approval(store: Store, approval: str) -> Shown:
    """Return an approval with its ``answers`` and everybody it was asked of (``asked_people``)."""
    row = await _one(store, approvals, approval, "approval")
    given = select(answers).where(answers.c.approval == approval).order_by(answers.c.at, answers.c.actor)
    return {
        **row,
        "answers": await store.read(lambda c: all_shown(c.execute(given).mappings())),
        "asked_people": await _people(store, approval),
    }


async def get_task(store: Store, task: str) -> Shown:
    """Return a task with everybody it was given to (``asked_people``)."""
    return {**await _one(store, tasks, task, "task"), "asked_people": await _people(store, task)}


async def get_case(store: Store, case: str) -> Shown:
    """Return an exception case."""
    return await _one(store, cases, case, "exception case")


async def get_discrepancy(store: Store, discrepancy: str) -> Shown:
    """Return a discrepancy."""
    return await _one(store, discrepancies, discrepancy, "discrepancy")


async def _listing(
    store: Store,
    table: Table,
    order: str,
    *,
    status: str | None,
    person: str | None,
    instance: str | None,
    limit: int,
    assignee: str | None = None,
) -> list[Shown]:
    query = (
        select(table, instances.c.workflow, instances.c.title.label("instance_title"))
        .select_from(table.join(instances, instances.c.id == table.c.instance))
        .order_by(table.c[order], table.c.id)
        .limit(limit)
    )
    conditions: list[Any] = []
    if status is not None:
        conditions.append(table.c.status == status)
    if instance is not None:
        conditions.append(table.c.instance == instance)
    if assignee is not None:
        conditions.append(table.c.assignee == assignee)
    if person is not None:
        conditions.append(table.c.id.in_(select(asked_people.c.item).where(asked_people.c.person == person)))
    return await store.read(lambda c: all_shown(c.execute(query.where(*conditions)).mappings()))


async def _one(store: Store, table: Table, name: str, noun: str) -> Shown:
    rows: Sequence[Shown] = await store.read(
        lambda c: all_shown(c.execute(select(table).where(table.c.id == name)).mappings())
    )
    if not rows:
        raise NotFoundError("unknown-id", f"there is no {noun} {name}; list what is open and use an id from there")
    return rows[0]


async def _people(store: Store, item: str) -> list[Shown]:
    query = (
        select(asked_people).where(asked_people.c.item == item).order_by(asked_people.c.since, asked_people.c.person)
    )
    return await store.read(lambda c: all_shown(c.execute(query).mappings()))
