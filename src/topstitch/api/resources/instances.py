"""Instances: found by the shared query language, looked at from every side, started, and acted on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Request, Response

from topstitch import lifecycle
from topstitch.api.answers import bad_cursor, cut, page, send, single, split_cursor
from topstitch.api.guard import KEY, caller_of
from topstitch.api.hands import ApiHands
from topstitch.api.operations import PAGE, After, Count, Declare, Id, Limit, Search, operation, router
from topstitch.api.shapes import (
    Cancel,
    Edit,
    InstancePage,
    InstanceShown,
    PageOf,
    Reason,
    Reassign,
    Recorded,
    Retry,
    Signal,
    Skip,
    Start,
    Started,
)
from topstitch.execution.operate import Command
from topstitch.foundation.errors import ConflictError, NotFoundError, RequestError
from topstitch.foundation.timetext import parse_time, rfc3339
from topstitch.governance.access import part_of, require
from topstitch.model.query import parse_query
from topstitch.model.record import parse_actor
from topstitch.office.commands import preview
from topstitch.store import definitions, instances, searches, traces
from topstitch.store.ledger_reader import open_ledger
from topstitch.trigger.accept import accept_made
from topstitch.trigger.cloudevents import CloudEvent

api = router("instances")
SOURCE = "topstitch/api"
HIDDEN = frozenset({"head_hash", "epoch", "lease_owner", "lease_until", "wake_at", "what"})
At = Annotated[
    str | None,
    Query(
        max_length=40,
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$",
        description="As it stood then; without it, now.",
    ),
]
Preview = Annotated[bool, Query(description="Say what would become of it; nothing is recorded.")]


async def seen(request: Request, name: str, rule: str = "instances.read") -> Mapping[str, Any]:
    """Return an instance's row, once the caller may do ``rule`` to its workflow."""
    hands: ApiHands = request.app.state.hands
    row = await instances.get(hands.store, name)
    require(caller_of(request), rule, row["workflow"])
    return {k: v for k, v in row.items() if k not in HIDDEN}


@operation(api, "GET", "/instances", "instances.read", shape=InstancePage, command="topstitch instances -q QUERY")
async def list_instances(
    request: Request, q: Search = "", limit: Limit = PAGE, after: After = None, count: Count = None
) -> Response:
    """List instances, newest first."""
    hands: ApiHands = request.app.state.hands
    split_cursor(after)
    found = await searches.search(
        hands.store,
        parse_query(q),
        hands.clock.now(),
        after=after,
        limit=limit,
        part=part_of(caller_of(request), "instances.read"),
        counted=count is not None,
    )
    rows = [{k: v for k, v in row.items() if k not in HIDDEN} for row in found.rows]
    return page(request, rows, found.next, count=found.total if count else None)


@operation(api, "GET", "/instances/{name}", "instances.read", shape=InstanceShown,
           command="topstitch instance show {name}")  # fmt: skip
async def get_instance(request: Request, name: Id) -> Response:
    """Show where an instance stands."""
    return single(request, await seen(request, name))


@operation(api, "GET", "/instances/{name}/picture", "instances.read", command="topstitch instance show {name} --json")
async def get_picture(request: Request, name: Id, at: At = None) -> Response:
    """Show the whole picture of an instance, now or as it stood at a moment; what waits on whom."""
    hands: ApiHands = request.app.state.hands
    await seen(request, name)
    picture = await hands.desk.picture(name)
    now = hands.clock.now()
    moment = _moment(at) if at is not None else max(now, picture.records[-1].at)  # a clock may have been set back
    records = [record for record in picture.records if record.at <= moment]
    if not records:
        began = rfc3339(picture.records[0].at)
        raise NotFoundError("not-begun", f"{name} had not begun at {at}; it did at {began}: ask for a later time")
    state = lifecycle.initial(picture.plan, name)
    for record in records:
        state = lifecycle.fold(picture.plan, state, record)
    shown = hands.view(picture.plan, state, records, min(moment, now))
    return single(request, {**shown, "as_of": records[-1].at, "seq": records[-1].seq})


@operation(api, "GET", "/instances/{name}/steps", "instances.read", shape=PageOf)
async def list_steps(request: Request, name: Id, limit: Limit = PAGE, after: After = None) -> Response:
    """List the steps of an instance, each with its status, tries and times."""
    hands: ApiHands = request.app.state.hands
    await seen(request, name)
    picture = await hands.desk.picture(name)
    view = hands.view(picture.plan, picture.state, picture.records, hands.clock.now())
    return cut(request, view["steps"], after, limit)


@operation(api, "GET", "/instances/{name}/handoffs", "instances.read", shape=PageOf)
async def list_handoffs(request: Request, name: Id, limit: Limit = PAGE, after: After = None) -> Response:
    """List the crossings of seams, in order of time; net is without approvals and declared waits."""
    hands: ApiHands = request.app.state.hands
    await seen(request, name)
    rows = await traces.list_handoffs(hands.store, name)
    named = [{"id": f"{row['from_step']}>{row['to_step']}", **row} for row in rows]
    return cut(request, named, after, limit)


@operation(api, "GET", "/instances/{name}/context", "instances.read", shape=PageOf)
async def list_context(request: Request, name: Id, limit: Limit = PAGE, after: After = None) -> Response:
    """List what was read for the context: from which system, which record, when."""
    hands: ApiHands = request.app.state.hands
    await seen(request, name)
    rows = await traces.list_context_reads(hands.store, name)
    return cut(request, rows, after, limit, key="name")


@operation(api, "GET", "/instances/{name}/history", "instances.read", shape=PageOf,
           command="topstitch instance watch {name} --no-wait")  # fmt: skip
async def list_history(request: Request, name: Id, limit: Limit = PAGE, after: After = None) -> Response:
    """List every record of an instance as a sentence, oldest first."""
    hands: ApiHands = request.app.state.hands
    await seen(request, name)
    picture = await hands.desk.picture(name)
    teller = hands.teller(picture.plan)
    begin = _number(after)
    rows = [
        {
            "seq": record.seq,
            "at": record.at,
            "kind": record.kind,
            "actor": str(record.actor),
            "stage": str(record.stage),
            "step": record.step,
            "text": teller(record),
            "body": record.body,
        }
        for record in picture.records[begin : begin + limit]
    ]
    end = begin + len(rows)
    return page(request, rows, str(end) if end < len(picture.records) else None)


@operation(api, "GET", "/instances/{name}/audit", "audit.read", shape=PageOf, command="topstitch audit show {name}")
async def list_audit(request: Request, name: Id, limit: Limit = PAGE, after: After = None) -> Response:
    """List the records exactly as they are chained: the hashed text, its hash, its place in the signed tree."""
    hands: ApiHands = request.app.state.hands
    await seen(request, name, "audit.read")
    with open_ledger(hands.store) as reader:
        records, leaves = reader.records(name), reader.leaves_of(name)
    begin = _number(after)
    rows = [
        {"seq": one.seq, "kind": one.kind, "hash": one.hash, "leaf": leaves.get(one.seq), "text": one.text}
        for one in records[begin : begin + limit]
    ]
    end = begin + len(rows)
    return page(request, rows, str(end) if end < len(records) else None)


# --- Starting and acting ----------------------------------------------------------------------------


@operation(api, "POST", "/instances", "instances.start", shape=Started, status=202, key="required",
           command="topstitch trigger EVENT --field NAME=VALUE")  # fmt: skip
async def start_instance(request: Request, given: Start) -> Response:
    """Start a workflow by hand, with the data of the event that it starts on."""
    hands: ApiHands = request.app.state.hands
    caller = caller_of(request)
    require(caller, "instances.start", given.workflow)
    found = await definitions.in_force_of(hands.store, given.workflow)
    if found is None:
        message = f"no workflow {given.workflow!r} is published; publish it, or correct the name"
        raise NotFoundError("no-workflow", message)
    plan = await hands.load(found.digest)
    return await _accepted(hands, f"{caller.actor}/{request.headers[KEY]}", plan.trigger.event_type, given.data)


@operation(api, "POST", "/instances/{name}/signals", "instances.operate", shape=Started, status=202, key="required")
async def signal_instance(request: Request, name: Id, given: Signal) -> Response:
    """Send the event that an instance waits for."""
    hands: ApiHands = request.app.state.hands
    await seen(request, name, "instances.operate")
    waits = [w["event"] for w in await traces.list_waits(hands.store, name) if w["status"] == "open"]
    if given.type not in waits:
        known = f"it waits for {', '.join(waits)}" if waits else "it waits for no event"
        raise ConflictError("not-waiting", f"{name} does not wait for {given.type}; {known}")
    return await _accepted(hands, f"{caller_of(request).actor}/{request.headers[KEY]}", given.type, given.data)


async def _accepted(hands: ApiHands, identity: str, type_: str, data: Mapping[str, Any]) -> Response:
    verdict = await accept_made(hands.intake, CloudEvent(id=identity, source=SOURCE, type=type_, data=data))
    location = {"Location": f"/api/v1/instances/{verdict.instances[0]}"} if verdict.instances else {}
    return send(verdict.document(), 202 if verdict.first else 200, location)


async def _act(request: Request, name: str, command: Command, *, only_preview: bool) -> Response:
    hands: ApiHands = request.app.state.hands
    await seen(request, name, "instances.operate")
    actor = parse_actor(caller_of(request).actor)
    if only_preview:
        return send({"instance": name, "says": list(await preview(hands.desk, name, command, actor))})
    record = await hands.desk.operate(name, command, actor)
    body = {"instance": name, "command": command.name, "seq": record.seq, "actor": str(record.actor)}
    return send(body, 202, {"Location": f"/api/v1/instances/{name}"})


def _acting(verb: str) -> Declare:
    return operation(
        api, "POST", f"/instances/{{name}}/{verb}", "instances.operate", shape=Recorded, status=202, key="required",
        command=f"topstitch instance {verb} {{name}} -m REASON",
    )  # fmt: skip


@_acting("retry")
async def retry_instance(request: Request, name: Id, given: Retry, *, preview: Preview = False) -> Response:
    """Try a step again that came to nothing, and what was not run because of it."""
    wish = Command(name="retry", reason=given.reason, step=given.step, input=given.input)
    return await _act(request, name, wish, only_preview=preview)


@_acting("skip")
async def skip_step(request: Request, name: Id, given: Skip, *, preview: Preview = False) -> Response:
    """Leave a step out that has left nothing behind; what needs it is not run."""
    return await _act(request, name, Command(name="skip", reason=given.reason, step=given.step), only_preview=preview)


@_acting("pause")
async def pause_instance(request: Request, name: Id, given: Reason, *, preview: Preview = False) -> Response:
    """Start nothing more until it is resumed; what is under way lands."""
    return await _act(request, name, Command(name="pause", reason=given.reason), only_preview=preview)


@_acting("resume")
async def resume_instance(request: Request, name: Id, given: Reason, *, preview: Preview = False) -> Response:
    """Go on where it was paused."""
    return await _act(request, name, Command(name="resume", reason=given.reason), only_preview=preview)


@_acting("cancel")
async def cancel_instance(request: Request, name: Id, given: Cancel, *, preview: Preview = False) -> Response:
    """End an instance: take back what is done, or keep it."""
    wish = Command(name="cancel", reason=given.reason, choice=given.choice)
    return await _act(request, name, wish, only_preview=preview)


@operation(api, "POST", "/instances/{name}/compensate", "instances.operate", shape=Recorded, status=202,
           key="required", command="topstitch instance cancel {name} --rollback -m REASON")  # fmt: skip
async def compensate_instance(request: Request, name: Id, given: Reason, *, preview: Preview = False) -> Response:
    """Take back what is done, in reverse order of need: cancel with rollback."""
    wish = Command(name="cancel", reason=given.reason, choice="rollback")
    return await _act(request, name, wish, only_preview=preview)


@_acting("edit")
async def edit_instance(request: Request, name: Id, given: Edit, *, preview: Preview = False) -> Response:
    """Change process data; an approval of the old payload is void."""
    wish = Command(name="edit", reason=given.reason, path=given.path, value=given.value)
    return await _act(request, name, wish, only_preview=preview)


@_acting("reassign")
async def reassign_item(request: Request, name: Id, given: Reassign, *, preview: Preview = False) -> Response:
    """Give an open approval or task to somebody else, who is told."""
    people = ({"id": given.to, "email": given.to, "for": "reassigned"},)
    wish = Command(name="reassign", reason=given.reason, item=given.item, people=people)
    return await _act(request, name, wish, only_preview=preview)


def _moment(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError:
        raise RequestError("time-unclear", f"{text!r} is no time; write it as 2026-01-05T09:00:00Z") from None


def _number(after: str | None) -> int:
    if after is None:
        return 0
    if not after.isdigit() or len(after) > 9:
        raise bad_cursor(after)
    return int(after)
