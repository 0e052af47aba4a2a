"""The rows that the metrics measure: steps done, seams crossed, exceptions, and what is open now.

Reads only, and exact: every figure on a board and every alert comes from these rows. Each
query is answered from an index, whatever the database has grown to; a test holds the query
plans. Times are milliseconds since 1970, as they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
from sqlalchemy import Connection, TextClause, bindparam, text

if TYPE_CHECKING:
    from topstitch.store.store import Store

PAIRS_MAX: Final = 2000
"""How many seams, and how many steps, are looked at in one reading."""
OPEN_MAX: Final = 50_000
"""How many open instances are looked at in one reading, oldest first."""
FACTS_INSTANCES_MAX: Final = 500
"""For how many instances the journal itself is asked in one reading."""


class Crossings(NamedTuple):
    """The handoffs over one edge of one version that ended in one slot of time."""

    workflow: str
    version: str
    from_system: str
    to_system: str
    from_step: str
    to_step: str
    slot: int
    net_ms: list[int]
    gross_ms: list[int]


class LongCrossing(NamedTuple):
    """One handoff that took longer than it should."""

    instance: str
    workflow: str
    version: str
    from_system: str
    to_system: str
    from_step: str
    to_step: str
    started_ms: int
    net_ms: int


class Durations(NamedTuple):
    """The executions of one step of one version that were confirmed in one slot of time."""

    workflow: str
    version: str
    step: str
    slot: int
    duration_ms: list[int]


class Duration(NamedTuple):
    """One step that was done and confirmed."""

    instance: str
    step: str
    done_ms: int
    duration_ms: int


class Exceptional(NamedTuple):
    """Something that went wrong at a boundary. ``what`` is its class."""

    instance: str
    workflow: str
    version: str
    digest: str
    step: str
    record: str
    """The record of a discrepancy; empty for a step."""
    what: str
    at_ms: int


class Tried(NamedTuple):
    """How many instances crossed a seam."""

    workflow: str
    version: str
    from_system: str
    to_system: str
    instances: int


class OpenRow(NamedTuple):
    """An instance that is not executed yet."""

    instance: str
    workflow: str
    version: str
    digest: str
    stage: str
    status: str
    started_ms: int
    head_seq: int
    wake_ms: int | None
    lease_ms: int | None


class StepRow(NamedTuple):
    """A step of an instance, as far as it has come."""

    instance: str
    step: str
    status: str
    started_ms: int | None
    done_ms: int | None
    failed_ms: int | None


class AskedRow(NamedTuple):
    """A time in which a person was asked."""

    instance: str
    step: str
    asked_ms: int
    closed_ms: int | None


class Fact(NamedTuple):
    """That a record of this kind stands in an instance's journal."""

    instance: str
    kind: str
    step: str | None
    at_ms: int


class Picture(NamedTuple):
    """What is open now, read in one transaction."""

    instances: Sequence[OpenRow]
    steps: Sequence[StepRow]
    asked: Sequence[AskedRow]


# --- What has ended ---------------------------------------------------------------------------

_SEAM: Final = (
    " FROM handoffs h JOIN instances i ON i.id = h.instance WHERE h.from_system = :from_system"
    " AND h.to_system = :to_system AND h.started_at >= :since AND h.started_at < :until"
)
CROSSINGS: Final = (
    "SELECT i.workflow, i.version, h.from_step, h.to_step, (h.started_at - :since) / :slot_ms AS slot,"
    " json_group_array(h.net_ms), json_group_array(h.gross_ms)"
    f"{_SEAM} GROUP BY i.workflow, i.version, h.from_step, h.to_step, slot"
)
LONG_CROSSINGS: Final = text(
    "SELECT h.instance, i.workflow, i.version, h.from_system, h.to_system, h.from_step, h.to_step, h.started_at,"
    f" h.net_ms{_SEAM} AND h.net_ms > :over_ms ORDER BY h.net_ms DESC LIMIT :limit"
)
TRIED: Final = text(f"SELECT i.workflow, i.version, count(DISTINCT h.instance){_SEAM} GROUP BY i.workflow, i.version")
_NEXT_TO: Final = text(
    "SELECT from_system, to_system FROM handoffs WHERE from_system = :from_system AND to_system > :to_system"
    " ORDER BY to_system LIMIT 1"
)
_NEXT_FROM: Final = text(
    "SELECT from_system, to_system FROM handoffs WHERE from_system > :from_system"
    " ORDER BY from_system, to_system LIMIT 1"
)
DURATIONS: Final = (
    "SELECT i.workflow, i.version, s.step, (s.done_at - :since) / :slot_ms AS slot, json_group_array(s.duration_ms)"
    " FROM steps s JOIN instances i ON i.id = s.instance"
    " WHERE s.step = :step AND s.done_at >= :since AND s.done_at < :until AND s.duration_ms IS NOT NULL"
    " GROUP BY i.workflow, i.version, s.step, slot"
)
_NEXT_STEP: Final = text("SELECT step FROM steps WHERE step > :step AND duration_ms IS NOT NULL ORDER BY step LIMIT 1")
RECENT: Final = text(
    "SELECT s.instance, s.step, s.done_at, s.duration_ms"
    " FROM steps s JOIN instances i ON i.id = s.instance"
    " WHERE s.step = :step AND s.done_at >= :since AND s.done_at <= :until AND s.duration_ms IS NOT NULL"
    " AND s.failure IS NULL AND i.digest IN :digests ORDER BY s.done_at DESC LIMIT :limit"
).bindparams(bindparam("digests", expanding=True))
FAILED_STEPS: Final = text(
    "SELECT s.instance, i.workflow, i.version, i.digest, s.step, '', s.failure, s.failed_at"
    " FROM steps s JOIN instances i ON i.id = s.instance"
    " WHERE s.failed_at >= :since AND s.failed_at < :until"
)
OPENED_DISCREPANCIES: Final = text(
    "SELECT d.instance, i.workflow, i.version, i.digest, '', coalesce(d.record, ''), 'discrepancy', d.opened_at"
    " FROM discrepancies d JOIN instances i ON i.id = d.instance"
    " WHERE d.opened_at >= :since AND d.opened_at < :until"
)
FAILED_UNDOS: Final = text(
    "SELECT j.instance, i.workflow, i.version, i.digest, coalesce(j.step, ''), '', 'undo_failed', j.at"
    " FROM journal j JOIN instances i ON i.id = j.instance"
    " WHERE j.kind = 'step.undo_failed' AND j.at >= :since AND j.at < :until"
)
CROSSED: Final = text(
    "SELECT DISTINCT instance, from_system, to_system FROM handoffs WHERE instance IN :instances"
    " AND started_at >= :since AND started_at < :until"
).bindparams(bindparam("instances", expanding=True))


async def pairs(store: Store) -> list[tuple[str, str]]:
    """Return every pair of systems that work has passed between."""
    return await store.read(_pairs)


async def crossings(store: Store, since_ms: int, until_ms: int, *, slot_ms: int) -> list[Crossings]:
    """Return the handoffs that ended in a time, by edge, version and slot."""

    def read(c: Connection) -> list[Crossings]:
        query = _gathering(CROSSINGS, c)
        given = {"since": since_ms, "until": until_ms, "slot_ms": slot_ms}
        return [
            Crossings(workflow, version, a, b, from_step, to_step, slot, _list(net), _list(gross))
            for a, b in _pairs(c)
            for workflow, version, from_step, to_step, slot, net, gross in c.execute(
                query, {"from_system": a, "to_system": b, **given}
            )
        ]

    return await store.read(read)


async def long_crossings(
    store: Store, since_ms: int, until_ms: int, *, over_ms: int, limit: int = 100
) -> list[LongCrossing]:
    """Return the longest handoffs over each seam that ended in a time and took longer than ``over_ms``."""
    given = {"since": since_ms, "until": until_ms, "over_ms": over_ms, "limit": limit}

    def read(c: Connection) -> list[LongCrossing]:
        return [
            LongCrossing._make(row)
            for a, b in _pairs(c)
            for row in c.execute(LONG_CROSSINGS, {"from_system": a, "to_system": b, **given})
        ]

    return await store.read(read)


async def tried(store: Store, since_ms: int, until_ms: int) -> list[Tried]:
    """Return how many instances crossed each seam, by version."""

    def read(c: Connection) -> list[Tried]:
        return [
            Tried(workflow, version, a, b, count)
            for a, b in _pairs(c)
            for workflow, version, count in c.execute(
                TRIED, {"from_system": a, "to_system": b, "since": since_ms, "until": until_ms}
            )
        ]

    return await store.read(read)


async def durations(store: Store, since_ms: int, until_ms: int, *, slot_ms: int) -> list[Durations]:
    """Return the steps that were done and confirmed in a time, by step, version and slot."""

    def read(c: Connection) -> list[Durations]:
        query = _gathering(DURATIONS, c)
        given = {"since": since_ms, "until": until_ms, "slot_ms": slot_ms}
        return [
            Durations(workflow, version, step, slot, _list(values))
            for name in _steps(c)
            for workflow, version, step, slot, values in c.execute(query, {"step": name, **given})
        ]

    return await store.read(read)


def _gathering(sql: str, c: Connection) -> TextClause:
    """Write a query that gathers values into lists, so that thousands of them cost one row."""
    return text(sql if c.dialect.name == "sqlite" else sql.replace("json_group_array", "json_agg"))


def _list(value: Any) -> list[int]:
    found: list[int] = orjson.loads(value) if isinstance(value, str) else value
    return found


class Wanted(NamedTuple):
    """Which executions of a step are wanted: of these definition versions, the newest first."""

    step: str
    digests: Sequence[str]
    since_ms: int
    limit: int


async def recent(store: Store, wanted: Sequence[Wanted], until_ms: int) -> list[list[Duration]]:
    """Return, for each wish, the newest clean executions: confirmed, and without an exception."""

    def read(c: Connection) -> list[list[Duration]]:
        return [
            [
                Duration._make(row)
                for row in c.execute(
                    RECENT,
                    {
                        "step": one.step,
                        "digests": list(one.digests),
                        "since": one.since_ms,
                        "until": until_ms,
                        "limit": one.limit,
                    },
                )
            ]
            for one in wanted
        ]

    return await store.read(read)


async def exceptions(store: Store, since_ms: int, until_ms: int) -> list[Exceptional]:
    """Return what went wrong in a time: steps, undos, and discrepancies."""
    given = {"since": since_ms, "until": until_ms}

    def read(c: Connection) -> list[Exceptional]:
        return [
            Exceptional._make(row)
            for query in (FAILED_STEPS, OPENED_DISCREPANCIES, FAILED_UNDOS)
            for row in c.execute(query, given)
        ]

    return await store.read(read)


async def crossed(store: Store, instances: Sequence[str], since_ms: int, until_ms: int) -> set[tuple[str, str, str]]:
    """Return which of these instances crossed which seam in a time."""
    if not instances:
        return set()
    given = {"instances": list(instances), "since": since_ms, "until": until_ms}
    return await store.read(lambda c: {(str(i), str(a), str(b)) for i, a, b in c.execute(CROSSED, given)})


def _pairs(c: Connection) -> list[tuple[str, str]]:
    """Leap through the index from one pair to the next: as many looks as there are pairs."""
    found: list[tuple[str, str]] = []
    last = ("", "")
    for _ in range(PAIRS_MAX):
        given = {"from_system": last[0], "to_system": last[1]}
        row = c.execute(_NEXT_TO, given).first() or c.execute(_NEXT_FROM, given).first()
        if row is None:
            break
        last = (str(row[0]), str(row[1]))
        found.append(last)
    return found


def _steps(c: Connection) -> list[str]:
    found: list[str] = []
    last = ""
    for _ in range(PAIRS_MAX):
        row = c.execute(_NEXT_STEP, {"step": last}).first()
        if row is None:
            break
        last = str(row[0])
        found.append(last)
    return found


# --- What is open -----------------------------------------------------------------------------

_AT_WORK: Final = "i.status IN ('running', 'waiting', 'paused') AND i.stage IN ('trigger', 'context', 'execution')"
OPEN_INSTANCES: Final = text(
    "SELECT i.id, i.workflow, i.version, i.digest, i.stage, i.status, i.started_at, i.head_seq, i.wake_at,"  # noqa: S608 -- constants
    " i.lease_until FROM instances i WHERE " + _AT_WORK + " ORDER BY i.started_at LIMIT :limit"
)
OPEN_STEPS: Final = text(
    "SELECT s.instance, s.step, s.status, s.started_at, s.done_at, s.failed_at"  # noqa: S608 -- constants
    " FROM instances i JOIN steps s ON s.instance = i.id WHERE " + _AT_WORK
)
OPEN_APPROVALS: Final = text(
    "SELECT a.instance, coalesce(a.step, ''), a.asked_at, a.closed_at"  # noqa: S608 -- constants
    " FROM instances i JOIN approvals a ON a.instance = i.id WHERE " + _AT_WORK
)
FACTS: Final = text(
    "SELECT instance, kind, step, at FROM journal WHERE instance IN :instances AND kind IN :kinds"
    " ORDER BY instance, seq"
).bindparams(bindparam("instances", expanding=True), bindparam("kinds", expanding=True))


OVERDUE: Final = text(
    "SELECT id, workflow, version, digest, wake_at FROM instances WHERE wake_at IS NOT NULL AND wake_at < :before"
    " AND stage = 'reconciliation' AND ended_at IS NULL AND (lease_until IS NULL OR lease_until < :now)"
    " ORDER BY wake_at LIMIT :limit"
)


class Overdue(NamedTuple):
    """An instance whose reconciliation check is due and that nobody carries on."""

    instance: str
    workflow: str
    version: str
    digest: str
    due_ms: int


async def overdue(store: Store, before_ms: int, now_ms: int, *, limit: int = 500) -> list[Overdue]:
    """Return the checks that were due before a time and have not begun, the oldest first."""
    given = {"before": before_ms, "now": now_ms, "limit": limit}
    return await store.read(lambda c: [Overdue._make(row) for row in c.execute(OVERDUE, given)])


async def picture(store: Store) -> Picture:
    """Return the instances that are not executed yet, and how far each has come."""

    def read(c: Connection) -> Picture:
        return Picture(
            [OpenRow._make(row) for row in c.execute(OPEN_INSTANCES, {"limit": OPEN_MAX})],
            [StepRow._make(row) for row in c.execute(OPEN_STEPS)],
            [AskedRow._make(row) for row in c.execute(OPEN_APPROVALS)],
        )

    return await store.read(read)


async def facts(store: Store, instances: Sequence[str], kinds: Sequence[str]) -> list[Fact]:
    """Return when records of some kinds were made, straight from the journals of a few instances."""
    if not instances or not kinds:
        return []
    given = {"instances": list(instances)[:FACTS_INSTANCES_MAX], "kinds": [str(kind) for kind in kinds]}
    return await store.read(lambda c: [Fact._make(row) for row in c.execute(FACTS, given)])


# --- One workflow in a time: for promises and reports -------------------------------------------

BEGUN: Final = text(
    "SELECT id, workflow, version, digest, stage, status, started_at, head_seq, wake_at, lease_until, ended_at"
    " FROM instances WHERE workflow = :workflow AND started_at >= :since AND started_at < :until"
    " ORDER BY started_at LIMIT :limit"
)
BEGUN_STEPS: Final = text(
    "SELECT s.instance, s.step, s.status, s.started_at, s.done_at, s.failed_at"
    " FROM instances i JOIN steps s ON s.instance = i.id"
    " WHERE i.workflow = :workflow AND i.started_at >= :since AND i.started_at < :until"
)
BEGUN_APPROVALS: Final = text(
    "SELECT a.instance, coalesce(a.step, ''), a.asked_at, a.closed_at"
    " FROM instances i JOIN approvals a ON a.instance = i.id"
    " WHERE i.workflow = :workflow AND i.started_at >= :since AND i.started_at < :until"
)
BEGUN_TASKS: Final = text(
    "SELECT t.instance, coalesce(t.step, ''), t.opened_at, coalesce(t.done_at, t.closed_at)"
    " FROM instances i JOIN tasks t ON t.instance = i.id"
    " WHERE i.workflow = :workflow AND i.started_at >= :since AND i.started_at < :until"
)


class Begun(NamedTuple):
    """The instances of one workflow that began in a time, and what they have come to."""

    instances: Sequence[OpenRow]
    ended: dict[str, int]
    """Instance -> when it ended."""
    steps: Sequence[StepRow]
    asked: Sequence[AskedRow]
    tasks: Sequence[AskedRow]


async def begun(store: Store, workflow: str, since_ms: int, until_ms: int) -> Begun:
    """Return what began in a time; the oldest ``OPEN_MAX`` of it."""
    given = {"workflow": workflow, "since": since_ms, "until": until_ms}

    def read(c: Connection) -> Begun:
        rows = c.execute(BEGUN, {**given, "limit": OPEN_MAX}).all()
        return Begun(
            [OpenRow._make(row[:10]) for row in rows],
            {str(row[0]): int(row[10]) for row in rows if row[10] is not None},
            [StepRow._make(row) for row in c.execute(BEGUN_STEPS, given)],
            [AskedRow._make(row) for row in c.execute(BEGUN_APPROVALS, given)],
            [AskedRow._make(row) for row in c.execute(BEGUN_TASKS, given)],
        )

    return await store.read(read)
