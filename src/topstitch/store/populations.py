"""Keeps when whole populations are compared, and what was found; a difference has no journal of ours behind it.

``bootstrap.populations`` asks what is due and writes what it found: a difference that is seen again
after the grace is open, one that is not seen any more is resolved. What people say of one is
kept in the installation's own journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from sqlalchemy import exists, func, select

from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.foundation.ids import derived_id
from topstitch.foundation.timetext import rfc3339
from topstitch.model.kinds import Kind
from topstitch.model.record import Actor, Draft, Stage
from topstitch.store.database import Backend
from topstitch.store.ledger import note_down_with
from topstitch.store.reconciliation_tables import differences, populations
from topstitch.store.rows import Shown, all_shown
from topstitch.store.sealing import milliseconds
from topstitch.store.tables import discrepancies, effects, instances

if TYPE_CHECKING:
    from topstitch.store.store import Store

KEYS_AT_ONCE: Final = 500
LISTING_MAX: Final = 1000
UNREADABLE_AGAIN_MS: Final = 1_800_000
"""When a side that could not be read is asked again."""
RESOLVED_KEPT_MS: Final = 400 * 86_400_000


async def schedule(store: Store, wanted: Mapping[str, tuple[str, int]], now: datetime) -> None:
    """Have each workflow's populations compared every so many milliseconds: the first time at once.

    ``wanted`` is workflow -> definition and interval; a workflow that asks for none any more is forgotten.
    """
    now_ms = milliseconds(now)

    def do(backend: Backend) -> None:
        for (known,) in backend.execute("SELECT workflow FROM populations"):
            if known not in wanted:
                backend.execute("DELETE FROM populations WHERE workflow = ?", (known,))
        for workflow, (digest, every_ms) in wanted.items():
            backend.execute(
                "INSERT INTO populations (workflow, digest, due_at) VALUES (?, ?, ?) ON CONFLICT (workflow) DO UPDATE"
                " SET digest = excluded.digest, due_at = CASE WHEN populations.due_at > ? THEN ? ELSE"
                " populations.due_at END",
                (workflow, digest, now_ms, now_ms + every_ms, now_ms + every_ms),
            )

    await store.work(do)


async def take_due(store: Store, now: datetime, every_ms: Mapping[str, int]) -> list[str]:
    """Return the workflows whose comparison is due, and make each due again later: one process has each."""
    now_ms = milliseconds(now)

    def do(backend: Backend) -> list[str]:
        due = [str(w) for (w,) in backend.execute("SELECT workflow FROM populations WHERE due_at <= ?", (now_ms,))]
        taken = []
        for workflow in due:
            again = now_ms + every_ms.get(workflow, 86_400_000)
            if backend.execute(
                "UPDATE populations SET due_at = ? WHERE workflow = ? AND due_at <= ? RETURNING workflow",
                (again, workflow, now_ms),
            ):
                taken.append(workflow)
        return taken

    return await store.work(do)


async def state_of(store: Store, workflow: str) -> Shown | None:
    """Return when a workflow's populations are due, when they were compared last and what came of it."""
    query = select(populations).where(populations.c.workflow == workflow)
    rows = await store.read(lambda c: all_shown(c.execute(query).mappings()))
    return rows[0] if rows else None


async def instances_for(store: Store, workflow: str, system: str, keys: Iterable[str], since: datetime) -> list[Shown]:
    """Return the workflow's instances for these keys, and all that were started since.

    ``adopted`` says that it found its record in ``system`` there before it, instead of making one.
    """
    wanted = sorted(set(keys))
    there = exists().where(effects.c.instance == instances.c.id, effects.c.system == system, effects.c.found == 1)
    columns = (
        instances.c.id,
        instances.c.correlation,
        instances.c.status,
        instances.c.started_at,
        instances.c.ended_at,
        there.label("adopted"),
    )
    found: dict[str, Shown] = {}
    recent = select(*columns).where(instances.c.workflow == workflow, instances.c.started_at >= milliseconds(since))
    queries = [recent] + [
        select(*columns).where(
            instances.c.workflow == workflow, instances.c.correlation.in_(wanted[start : start + KEYS_AT_ONCE])
        )
        for start in range(0, len(wanted), KEYS_AT_ONCE)
    ]
    for query in queries:
        for row in await store.read(lambda c, query=query: all_shown(c.execute(query).mappings())):  # type: ignore[misc]
            found[str(row["id"])] = row
    return sorted(found.values(), key=lambda row: (row["started_at"], row["id"]))


class Standing(NamedTuple):
    """What is open between the populations of one workflow."""

    how_many: int
    since: datetime
    oldest: list[Shown]


async def keep(
    store: Store,
    workflow: str,
    found: Sequence[tuple[str, str, str, str | None]],
    counts: Mapping[str, int],
    now: datetime,
    grace_ms: int,
) -> list[Shown]:
    """Write one comparison: ``(what, system, subject, instance)`` each; return what is not resolved."""
    now_ms = milliseconds(now)
    seen = {difference_id(workflow, *one[:3]): one for one in found}

    def do(backend: Backend) -> None:
        standing = {
            str(name): (str(state), int(seen_at), until)
            for name, state, seen_at, until in backend.execute(
                "SELECT id, state, seen_at, waived_until FROM population_differences WHERE workflow = ?", (workflow,)
            )
        }
        for name, (what, system, subject, instance) in seen.items():
            state, first, until = standing.get(name, ("resolved", now_ms, None))
            after, since = _after(state, first, until, now_ms, grace_ms)
            opened = now_ms if after == "open" and state != "open" else None
            backend.execute(
                "INSERT INTO population_differences (id, workflow, what, system, subject, instance, seen_at, opened_at,"
                " changed_at, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
                " instance = excluded.instance, seen_at = excluded.seen_at, changed_at = excluded.changed_at,"
                " state = excluded.state, opened_at = coalesce(excluded.opened_at, population_differences.opened_at)",
                (name, workflow, what, system, subject, instance, since, opened, now_ms, after),
            )
        for name, (state, _, _) in standing.items():
            if name not in seen and state != "resolved":
                backend.execute(
                    "UPDATE population_differences SET state = 'resolved', changed_at = ? WHERE id = ?", (now_ms, name)
                )
        backend.execute(
            "DELETE FROM population_differences WHERE state = 'resolved' AND changed_at < ?",
            (now_ms - RESOLVED_KEPT_MS,),
        )
        backend.execute(
            "UPDATE populations SET ran_at = ?, outcome = ? WHERE workflow = ?",
            (now_ms, orjson.dumps(dict(counts)).decode(), workflow),
        )

    await store.work(do)
    return await listing(store, workflow=workflow)


def _after(state: str, first: int, until: Any, now_ms: int, grace_ms: int) -> tuple[str, int]:
    """Return the state of a difference that is seen now, and since when it is seen."""
    if state == "accepted" or (state == "waived" and until is not None and int(until) > now_ms):
        return state, first
    if state == "resolved":
        first = now_ms
    return ("open" if state in ("open", "waived") or now_ms - first >= grace_ms else "suspected"), first


async def could_not(store: Store, workflow: str, because: str, now: datetime) -> None:
    """Note that a comparison came to nothing: a side that cannot be read is no difference, and is asked again soon."""
    text, now_ms = orjson.dumps({"problem": because}).decode(), milliseconds(now)

    def do(backend: Backend) -> None:
        backend.execute(
            "UPDATE populations SET ran_at = ?, outcome = ?, due_at = CASE WHEN due_at > ? THEN ? ELSE due_at END"
            " WHERE workflow = ?",
            (now_ms, text, now_ms + UNREADABLE_AGAIN_MS, now_ms + UNREADABLE_AGAIN_MS, workflow),
        )

    await store.work(do)


async def listing(
    store: Store, *, workflow: str | None = None, every: bool = False, limit: int = LISTING_MAX
) -> list[Shown]:
    """Return differences, oldest first; with ``every`` the resolved and accepted ones too."""
    query = select(differences).order_by(differences.c.seen_at, differences.c.id).limit(min(limit, LISTING_MAX))
    if workflow is not None:
        query = query.where(differences.c.workflow == workflow)
    if not every:
        query = query.where(differences.c.state.in_(("suspected", "open", "waived")))
    return await store.read(lambda c: all_shown(c.execute(query).mappings()))


async def resolved_at(store: Store, workflow: str, moment_ms: int) -> list[Shown]:
    """Return the differences of a workflow that a comparison at this moment did not find any more."""
    query = select(differences).where(
        differences.c.workflow == workflow, differences.c.state == "resolved", differences.c.changed_at == moment_ms
    )
    return await store.read(lambda c: all_shown(c.execute(query).mappings()))


async def open_differences(store: Store, *, each: int) -> Mapping[str, Standing]:
    """Return of each workflow how many differences are open, since when, and which are the oldest."""
    workflow, opened_at = differences.c.workflow, differences.c.opened_at
    count = func.count().over(partition_by=workflow)
    first = func.min(opened_at).over(partition_by=workflow)
    own = exists().where(
        discrepancies.c.instance == differences.c.instance,
        discrepancies.c.system == differences.c.system,
        discrepancies.c.status == "open",
    )
    number = func.row_number().over(partition_by=workflow, order_by=(opened_at, differences.c.id))
    numbered = (
        select(differences, count.label("count"), first.label("since"), number.label("number"))
        .where(differences.c.state == "open", ~own)
        .subquery()
    )
    query = select(numbered).where(numbered.c.number <= each).order_by(numbered.c.workflow, numbered.c.number)
    rows = await store.read(lambda c: all_shown(c.execute(query).mappings()))
    found: dict[str, Standing] = {}
    for row in rows:
        mine = found.setdefault(str(row["workflow"]), Standing(int(row["count"]), row["opened_at"], []))
        mine.oldest.append(row)
    return found


async def settle(
    store: Store, name: str, actor: Actor, reason: str, now: datetime, *, until: datetime | None = None
) -> None:
    """Waive a difference until a day, or accept it for good when there is none."""
    state = "waived" if until is not None else "accepted"
    body: dict[str, Any] = {"command": "waive" if until else "accept", "difference": name, "reason": reason}
    if until is not None:
        body["until"] = rfc3339(until)
    note = Draft(
        kind=Kind.OPERATOR_COMMANDED,
        at=now,
        actor=actor,
        stage=Stage.RECONCILIATION,
        body=body,
    )

    def do(backend: Backend) -> None:
        rows = backend.execute("SELECT state FROM population_differences WHERE id = ?", (name,))
        if not rows:
            raise NotFoundError("unknown-id", f"there is no {name}; list what is open and use an id from there")
        if rows[0][0] in ("resolved", "accepted"):
            raise ConflictError("discrepancy-settled", f"{name} is {rows[0][0]} already; nothing is left to do")
        backend.execute(
            "UPDATE population_differences SET state = ?, waived_until = ?, because = ?, changed_by = ?, changed_at = ?"
            " WHERE id = ?",
            (state, milliseconds(until) if until else None, reason, str(actor), milliseconds(now), name),
        )
        note_down_with(backend, note)

    await store.work(do)


def difference_id(workflow: str, what: str, system: str, subject: str) -> str:
    """Return the id that follows from what a difference is about."""
    return derived_id("pop", workflow, what, system, subject)
