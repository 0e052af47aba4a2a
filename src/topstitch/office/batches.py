"""Acts on many instances at once: a frozen, counted selection, previewed, then carried out as single commands are.

``preview`` chooses, freezes and shows; ``start`` carries out exactly what was previewed, a few a second.
Both stand in the installation's journal with actor and reason, and each item in its own instance's.
The doors call them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec.structs import replace

from topstitch import lifecycle
from topstitch.execution.begin import rendered
from topstitch.execution.operate import Command
from topstitch.foundation.canonical import parse
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import ConflictError, NotFoundError, RequestError, TopstitchError
from topstitch.foundation.ids import new_id
from topstitch.language.expressions import ExpressionError, runtime_expression
from topstitch.model.instance import SETTLED
from topstitch.model.kinds import Kind
from topstitch.model.query import parse_query
from topstitch.model.record import Actor, Draft, Stage
from topstitch.model.state import InstanceState
from topstitch.office.cases import cases_of, group_of
from topstitch.office.commands import sentences
from topstitch.office.desk import Desk
from topstitch.office.selections import ITEMS_MAX, Done, one_by_one
from topstitch.plan.plan import Plan
from topstitch.plan.scope import facts
from topstitch.store import batches as stored, instances, searches
from topstitch.store.ledger import INSTALLATION, note_down

VERBS: Final = ("retry", "skip", "pause", "resume", "cancel", "edit")
PREVIEWED, STARTED, ENDED = "batch.preview", "batch.start", "batch.end"


async def preview(here: Desk, wish: Mapping[str, Any], chosen: Mapping[str, Any], actor: Actor) -> dict[str, Any]:
    """Choose, freeze and note down; return the batch with what would become of each item."""
    names = await selected(here, chosen)
    items = [await previewed(here, name, wish, actor) for name in names]
    name = new_id("bat", here.now())
    body = {"command": PREVIEWED, "batch": name, "wish": wish, "chosen": chosen, "items": names}
    await note(here, actor, body)
    await stored.freeze(here.store, name, wish, items, here.now(), str(actor))
    return {"batch": name, "verb": wish["name"], "items": items}


async def begin(here: Desk, name: str, actor: Actor) -> Mapping[str, Any]:
    """Note down that a batch starts, or goes on after it was cut off; return what was previewed.

    A batch is carried out once: raise ``ConflictError`` when it is over.
    """
    found = await kept(here, name)
    if ENDED in found:
        raise ConflictError("batch-started", f"{name} is over; topstitch batch show {name} says how it went")
    asked = found[PREVIEWED]
    body = {"command": STARTED, "batch": name, "reason": asked["wish"]["reason"], "count": len(asked["items"])}
    await note(here, actor, body | ({"again": True} if STARTED in found else {}))
    await stored.start(here.store, name, here.now())
    return asked


async def carry_out(
    here: Desk, name: str, asked: Mapping[str, Any], actor: Actor, clock: Clock, *, per_second: float
) -> list[Done]:
    """Carry out what was previewed, item by item, and note down how each went.

    Cut off in the middle, it can be begun again: it goes on with what is left, and an instance whose journal
    holds this batch already is not acted on twice, though nobody lived to note that it was done.
    """
    gone = await results_so_far(here, name)

    async def do(item: str) -> int | None:
        plan = (await here.picture(item)).plan
        records = await here.say(
            item,
            lambda state, now: wished(plan, state, asked["wish"], actor, now, name),
            said=lambda record: record.kind == Kind.OPERATOR_COMMANDED and record.body.get("batch") == name,
        )
        return records[-1].seq

    async def told(done: Done) -> None:
        gone[done.item] = done
        await stored.told(here.store, name, done.item, done.document())

    left = [item for item in asked["items"] if item not in gone]
    await one_by_one(left, do, clock, per_second=per_second, told=told)
    results = [gone[item] for item in asked["items"]]
    body = {"command": ENDED, "batch": name, "results": [one.document() for one in results]}
    await stored.end(here.store, name, here.now(), _noted(here, actor, body))
    return results


async def results_so_far(here: Desk, name: str) -> dict[str, Done]:
    """Return how the items went that were carried out already."""
    found: dict[str, Done] = {}
    after = -1
    while rows := await stored.items(here.store, name, after=after):
        after = int(rows[-1]["number"])
        for row in rows:
            if row["status"] in (stored.DONE, stored.FAILED):
                ok = row["status"] == stored.DONE
                code = None if ok else row["code"]
                item = str(row["instance"])
                found[item] = Done(item=item, ok=ok, code=code, message=row["message"], seq=row["seq"])
    return found


async def selected(here: Desk, chosen: Mapping[str, Any]) -> list[str]:
    """Return the instances that are meant, frozen: by name, by case, or by what the list can tell apart."""
    if chosen.get("names"):
        found = [await here.named(name) for name in chosen["names"]]
    elif chosen.get("group"):
        found = [c["instance"] for c in await cases_of(here) if c["instance"] and group_of(c) == chosen.get("group")]
    elif chosen.get("workflow") or chosen.get("statuses"):
        found = await _listed(here, chosen.get("workflow"), chosen.get("statuses") or ())
    elif chosen.get("q") is not None:
        found = await searches.names(here.store, parse_query(chosen["q"]), here.now(), limit=ITEMS_MAX + 1)
    else:
        raise RequestError("nothing-chosen", "name instances, or choose them with --group, --workflow or --status")
    if not found:
        raise NotFoundError("nothing-chosen", "no instance is chosen by this; see topstitch instances")
    if len(found) > ITEMS_MAX:
        message = f"more than {ITEMS_MAX:,} instances match; narrow the search, and act on the rest afterwards"
        raise RequestError("selection-too-large", message)
    return list(dict.fromkeys(str(name) for name in found))


async def _listed(here: Desk, workflow: str | None, statuses: Sequence[str]) -> list[str]:
    """Return all instances that the list shows, page by page; one more than may be chosen tells of too many."""
    found: list[str] = []
    last: tuple[datetime, str] | None = None
    while len(found) <= ITEMS_MAX:
        rows = await instances.listing(
            here.store, workflow=workflow, statuses=statuses, started_before=last, limit=instances.LISTING_MAX
        )
        if not rows:
            break
        found += [str(row["id"]) for row in rows]
        last = (rows[-1]["started_at"], str(rows[-1]["id"]))
    return found


async def previewed(here: Desk, name: str, wish: Mapping[str, Any], actor: Actor) -> dict[str, Any]:
    """Return what would become of one instance, in sentences; nothing is recorded."""
    seen = await here.picture(name)
    now = max(here.now(), seen.records[-1].at)
    item: dict[str, Any] = {"instance": name, "title": seen.state.title, "seq": seen.records[-1].seq}
    try:
        drafts = wished(seen.plan, seen.state, wish, actor, now, "preview")
    except TopstitchError as error:
        return {**item, "ok": False, "code": error.code, "says": [error.message]}
    return {**item, "ok": True, "says": _says(seen.plan, seen.state, drafts, wish)}


def wished(
    plan: Plan, state: InstanceState, wish: Mapping[str, Any], actor: Actor, now: datetime, name: str
) -> list[Draft]:
    """Return the records of what a batch wishes of one instance: its edits, then its command."""
    reason = f"{wish['reason']} [{name}]"
    return [_of_batch(draft, name) for draft in _wished(plan, state, wish, actor, now, reason)]


def _of_batch(draft: Draft, name: str) -> Draft:
    return replace(draft, body={**draft.body, "batch": name}) if draft.kind == Kind.OPERATOR_COMMANDED else draft


def _wished(
    plan: Plan, state: InstanceState, wish: Mapping[str, Any], actor: Actor, now: datetime, reason: str
) -> list[Draft]:
    drafts: list[Draft] = []
    for change in wish["edits"]:
        path, value = _edited(plan, state, change)
        edit = Command(name="edit", reason=reason, path=path, value=value)
        for draft in lifecycle.operate(plan, state, edit, actor, now):
            drafts.append(draft)
            state = lifecycle.fold(plan, state, draft)
    if wish["name"] == "edit":
        if not drafts:
            raise RequestError("no-edit", "say what to change with --edit PATH=VALUE")
        return drafts
    asked = Command(name=wish["name"], reason=reason, step=wish["step"], choice=wish["choice"])
    return [*drafts, *lifecycle.operate(plan, state, asked, actor, now)]


def _edited(plan: Plan, state: InstanceState, change: str) -> tuple[str, Any]:
    """Read ``path=value``; a value that begins with ``=`` is an expression on the instance's own data."""
    path, equals, value = change.partition("=")
    if not equals or not path:
        raise RequestError("bad-change", f"{change!r} changes nothing; write it as PATH=VALUE")
    if value.startswith("="):
        return path.strip(), runtime_expression(value[1:].strip()).evaluate(facts(plan, state))
    try:
        return path.strip(), parse(value)
    except ValueError:
        return path.strip(), value


def _says(plan: Plan, before: InstanceState, drafts: Sequence[Draft], wish: Mapping[str, Any]) -> list[str]:
    """Say what would follow: the data that changes, the payloads that change with it, the steps."""
    said, after = [], before
    for draft in drafts:
        after = lifecycle.fold(plan, after, draft)
        if draft.body.get("command") == "edit":
            said.append(f"{draft.body['path']}: {draft.body['before']!r} becomes {draft.body['after']!r}")
    said += _payloads(plan, before, after)
    if wish["name"] != "edit":
        command_ = Command(name=wish["name"], reason=wish["reason"], step=wish["step"], choice=wish["choice"])
        said += sentences(plan, before, after, command_)
    return said


def _payloads(plan: Plan, before: InstanceState, after: InstanceState) -> list[str]:

    said = []
    for name, step in plan.steps.items():
        if after.steps[name].status in SETTLED:
            continue
        old, new = _payload(plan, before, name), _payload(plan, after, name)
        said += [
            f"{step.title} would send {field}: {old.get(field)!r} becomes {new.get(field)!r}"
            for field in sorted({*old, *new})
            if old.get(field) != new.get(field)
        ]
    return said


def _payload(plan: Plan, state: InstanceState, name: str) -> Mapping[str, Any]:

    try:
        payload = rendered(plan, plan.steps[name], state)
    except ExpressionError:
        return {}
    return payload if isinstance(payload, Mapping) else {"items": payload}


async def kept(here: Desk, name: str) -> dict[str, dict[str, Any]]:
    """Return what the installation's journal holds of a batch, by what was done with it."""
    found: dict[str, dict[str, Any]] = {}
    after = 0
    while rows := await instances.stored_records(here.store, after_position=after, instance=INSTALLATION):
        after = rows[-1].position
        for row in rows:
            if row.kind != Kind.OPERATOR_COMMANDED:
                continue
            document = parse(row.body)
            body = document["body"]
            if body.get("batch") == name:
                found[body["command"]] = {**body, "actor": document["actor"], "at": document["at"]}
    if PREVIEWED not in found:
        raise NotFoundError("no-batch", f"there is no batch {name}; make one with topstitch batch preview")
    return found


async def note(here: Desk, actor: Actor, body: Mapping[str, Any]) -> None:
    """Write down in the installation's journal what became of a batch."""
    await note_down(here.store, _noted(here, actor, body))


def _noted(here: Desk, actor: Actor, body: Mapping[str, Any]) -> Draft:
    return Draft(kind=Kind.OPERATOR_COMMANDED, at=here.now(), actor=actor, stage=Stage.AUDIT, body=body)
