"""What waits for people: approvals and the decision, tasks, exception cases, discrepancies."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query, Request, Response

from topstitch.api.answers import cut, page, require_match, send, single, split_cursor
from topstitch.api.guard import caller_of
from topstitch.api.hands import ApiHands
from topstitch.api.operations import PAGE, After, Count, Declare, Id, Limit, Search, operation, router
from topstitch.api.resources.instances import seen
from topstitch.api.shapes import DecisionGiven, PageOf, Reason, Recorded, TaskDone, Waive
from topstitch.foundation.errors import NotFoundError
from topstitch.governance.access import Identity, covered, part_of, require
from topstitch.model.kinds import Kind
from topstitch.model.query import Query as Asked, parse_query
from topstitch.model.record import parse_actor
from topstitch.office import cases, discrepancies as acting
from topstitch.store import discrepancies, instances, items, pages, searches

api = router("waiting")
Status = Annotated[str, Query(pattern="^(open|all)$", description="open, or all.")]
Person = Annotated[
    str | None, Query(max_length=200, pattern=r"^[^\x00]+$", description="Only what this person was asked.")
]


# --- Approvals ----------------------------------------------------------------------------------


@operation(api, "GET", "/approvals", "approvals.read", shape=PageOf, command="topstitch approvals list")
async def list_approvals(
    request: Request,
    q: Search = "",
    status: Status = "open",
    person: Person = None,
    limit: Limit = PAGE,
    after: After = None,
    count: Count = None,
) -> Response:
    """List what waits for a decision, oldest first."""
    return await _listed(request, pages.APPROVALS, "approvals.read", (q, status, person), (limit, after, count))


@operation(api, "GET", "/approvals/{name}", "approvals.read", command="topstitch approvals show {name}")
async def get_approval(request: Request, name: Id) -> Response:
    """Show what a decision is about: the payload, why it is asked, what each answer leads to."""
    return single(request, await _approval(request, name))


@operation(api, "POST", "/approvals/{name}/decision", "approvals.decide", shape=Recorded, key="optional", match=True,
           command="topstitch approvals approve {name} -m REASON")  # fmt: skip
async def decide(request: Request, name: Id, given: DecisionGiven) -> Response:
    """Approve or refuse exactly the payload that was looked at; If-Match says which picture that was."""
    hands: ApiHands = request.app.state.hands
    approval = await _approval(request, name, "approvals.decide")
    require_match(request, approval)
    caller = caller_of(request)
    record = await hands.desk.answer(
        name, caller, given.decision, comment=given.reason, digest=given.payload_digest, via="api"
    )
    body = {"approval": name, "decision": given.decision, "instance": approval["instance"], "seq": record.seq}
    return send({**body, "actor": str(record.actor)})


async def _approval(request: Request, name: str, rule: str = "approvals.read") -> dict[str, Any]:
    hands: ApiHands = request.app.state.hands
    row = await items.get_approval(hands.store, name)
    await seen(request, row["instance"], rule)
    records = await instances.records(hands.store, row["instance"])
    decision: Mapping[str, Any] = next(
        (r.body for r in reversed(records) if r.kind == Kind.DECISION and r.step == row["step"]), {}
    )
    return {**row, **{part: decision.get(part) for part in ("payload", "because", "risk")}}


# --- Tasks --------------------------------------------------------------------------------------


@operation(api, "GET", "/tasks", "tasks.read", shape=PageOf, command="topstitch tasks list")
async def list_tasks(
    request: Request,
    q: Search = "",
    status: Status = "open",
    person: Person = None,
    limit: Limit = PAGE,
    after: After = None,
    count: Count = None,
) -> Response:
    """List work that people do by hand, oldest first."""
    return await _listed(request, pages.TASKS, "tasks.read", (q, status, person), (limit, after, count))


@operation(api, "GET", "/tasks/{name}", "tasks.read", command="topstitch tasks show {name}")
async def get_task(request: Request, name: Id) -> Response:
    """Show a task: whose it is, what is to be done, the form."""
    return single(request, await _task(request, name, "tasks.read"))


@operation(api, "POST", "/tasks/{name}/done", "tasks.finish", shape=Recorded, key="required",
           command="topstitch tasks done {name} --output NAME=VALUE")  # fmt: skip
async def finish_task(request: Request, name: Id, given: TaskDone) -> Response:
    """Hand a task in: it is checked against the form, then read back from the system."""
    hands: ApiHands = request.app.state.hands
    row = await _task(request, name, "tasks.finish")
    record = await hands.desk.finish_task(name, spoken(caller_of(request)), given.output, given.comment)
    return send({"task": name, "instance": row["instance"], "seq": record.seq, "actor": str(record.actor)})


@operation(api, "POST", "/tasks/{name}/fail", "tasks.finish", shape=Recorded, key="required",
           command="topstitch tasks fail {name} -m REASON")  # fmt: skip
async def fail_task(request: Request, name: Id, given: Reason) -> Response:
    """Say that a task cannot be done; what the definition declares for that follows."""
    hands: ApiHands = request.app.state.hands
    row = await _task(request, name, "tasks.finish")
    record = await hands.desk.fail_task(name, spoken(caller_of(request)), given.reason)
    return send({"task": name, "instance": row["instance"], "seq": record.seq, "actor": str(record.actor)})


async def _task(request: Request, name: str, rule: str) -> Mapping[str, Any]:
    hands: ApiHands = request.app.state.hands
    row = await items.get_task(hands.store, name)
    await seen(request, row["instance"], rule)
    return row


async def _listed(
    request: Request,
    list_: str,
    rule: str,
    what: tuple[str, str, str | None],
    paging: tuple[int, str | None, str | None],
) -> Response:
    hands: ApiHands = request.app.state.hands
    (q, status, person), (limit, after, count) = what, paging
    found = await pages.items(
        hands.store,
        list_,
        parse_query(q),
        hands.clock.now(),
        status=None if status == "all" else status,
        person=person,
        part=part_of(caller_of(request), rule),
        after=split_cursor(after),
        limit=limit,
        counted=count is not None,
    )
    return page(request, found.rows, found.next, count=found.count)


# --- Exception cases ------------------------------------------------------------------------------


@operation(api, "GET", "/exceptions", "exceptions.read", shape=PageOf, command="topstitch exceptions list --each")
async def list_exceptions(
    request: Request,
    q: Search = "",
    status: Status = "open",
    group: Annotated[str | None, Query(max_length=300, description="Only cases of this cause.")] = None,
    limit: Limit = PAGE,
    after: After = None,
    count: Count = None,
) -> Response:
    """List exception cases, oldest first, each with its cause as group; without a search, paused connections too."""
    found = await _cases(request, every=status == "all", query=parse_query(q))
    rows = [row for row in found if group is None or row["group"] == group]
    response = cut(request, rows, after, limit)
    if count is None:
        return response
    begin = [row["id"] for row in rows].index(after) + 1 if after else 0
    following = str(rows[begin + limit - 1]["id"]) if begin + limit < len(rows) else None
    return page(request, rows[begin : begin + limit], following, count=len(rows))


@operation(api, "GET", "/exceptions/{name}", "exceptions.read", command="topstitch exceptions show {name}")
async def get_exception(request: Request, name: Id) -> Response:
    """Show a case: cause, both systems, whose it is, the remedy."""
    return single(request, await _case(request, name))


async def _cases(request: Request, *, every: bool, query: Asked | None = None) -> list[dict[str, Any]]:
    hands: ApiHands = request.app.state.hands
    part = part_of(caller_of(request), "exceptions.read")
    found = await cases.cases_of(hands.desk, every=every, query=query)
    return [
        {**row, "problem": cases.problem_of(row), "group": cases.group_of(row)}
        for row in found
        if part is None or (row["instance"] is not None and covered(part, str(row["workflow"])))
    ]


async def _case(request: Request, name: str) -> dict[str, Any]:
    found = next((row for row in await _cases(request, every=True) if row["id"] == name), None)
    if found is None:
        raise NotFoundError("no-case", f"there is no case {name}; topstitch exceptions list --each names them")
    return found


def _case_act(verb: str) -> Declare:
    return operation(
        api, "POST", f"/exceptions/{{name}}/{verb}", "exceptions.handle", key="required",
        command=f"topstitch exceptions {verb} {{name}} -m REASON",
    )  # fmt: skip


@_case_act("take")
async def take_exception(request: Request, name: Id, given: Reason) -> Response:
    """Make a case your own matter."""
    return await _on_case(request, name, given.reason, "take")


@_case_act("retry")
async def retry_exception(request: Request, name: Id, given: Reason) -> Response:
    """Try again what the case is about, and close it; a paused connection is resumed."""
    return await _on_case(request, name, given.reason, "retry")


@_case_act("waive")
async def waive_exception(request: Request, name: Id, given: Reason) -> Response:
    """Close a case as it is, with a reason."""
    return await _on_case(request, name, given.reason, "waive")


async def _on_case(request: Request, name: str, reason: str, verb: str) -> Response:
    hands: ApiHands = request.app.state.hands
    caller = caller_of(request)
    case = await _case(request, name)
    require(caller, "exceptions.handle", case.get("workflow"))
    seq = await cases.on_case(hands.desk, case, parse_actor(caller.actor), reason, verb)
    return send({"case": name, "verb": verb, "instance": case["instance"], "seq": seq, "actor": caller.actor})


# --- Discrepancies --------------------------------------------------------------------------------


@operation(api, "GET", "/discrepancies", "discrepancies.read", shape=PageOf, command="topstitch discrepancies list")
async def list_discrepancies(
    request: Request,
    q: Search = "",
    state: Annotated[str, Query(pattern="^[a-z_]{1,30}$", description="open, all, or one state.")] = "open",
    system: Annotated[str | None, Query(max_length=100, pattern="^[A-Za-z0-9_-]+$")] = None,
    workflow: Annotated[str | None, Query(max_length=100, pattern="^[A-Za-z0-9_-]+$")] = None,
    limit: Limit = PAGE,
    after: After = None,
) -> Response:
    """List what a system holds otherwise than it should, oldest first."""
    hands: ApiHands = request.app.state.hands
    part = part_of(caller_of(request), "discrepancies.read")
    wanted = None if state == "all" else state
    if after is not None:
        await discrepancies.discrepancy(hands.store, after)
    matching = searches.matching(hands.store, parse_query(q), hands.clock.now(), part)
    rows = await discrepancies.list_discrepancies(
        hands.store, wanted, system, workflow, after, limit + 1, matching=matching
    )
    following = str(rows[limit - 1]["id"]) if len(rows) > limit else None
    return page(request, rows[:limit], following)


@operation(api, "GET", "/discrepancies/{name}", "discrepancies.read", command="topstitch discrepancies show {name}")
async def get_discrepancy(request: Request, name: Id) -> Response:
    """Show a discrepancy: each field as it was intended, committed and observed."""
    return single(request, await _discrepancy(request, name, "discrepancies.read"))


async def _discrepancy(request: Request, name: str, rule: str) -> Mapping[str, Any]:
    hands: ApiHands = request.app.state.hands
    row = await discrepancies.discrepancy(hands.store, name)
    require(caller_of(request), rule, row["workflow"])
    return row


def _discrepancy_act(verb: str) -> Declare:
    return operation(
        api, "POST", f"/discrepancies/{{name}}/{verb}", "discrepancies.handle", key="required", status=202,
        command=f"topstitch discrepancies {verb} {{name}} -m REASON",
    )  # fmt: skip


@_discrepancy_act("recheck")
async def recheck_discrepancy(request: Request, name: Id, given: Reason) -> Response:
    """Read the systems again and compare anew."""
    return await _on_discrepancy(request, name, given.reason, "recheck")


@_discrepancy_act("repair")
async def repair_discrepancy(request: Request, name: Id, given: Reason) -> Response:
    """Write what was intended again, as the definition allows it."""
    return await _on_discrepancy(request, name, given.reason, "repair")


@_discrepancy_act("accept")
async def accept_discrepancy(request: Request, name: Id, given: Reason) -> Response:
    """Take what is observed for right."""
    return await _on_discrepancy(request, name, given.reason, "accept")


@_discrepancy_act("waive")
async def waive_discrepancy(request: Request, name: Id, given: Waive) -> Response:
    """Leave it as it is for a time, with a reason."""
    return await _on_discrepancy(request, name, given.reason, "waive", given.until)


async def _on_discrepancy(
    request: Request, name: str, reason: str, verb: str, until: datetime | None = None
) -> Response:
    hands: ApiHands = request.app.state.hands
    caller = caller_of(request)
    row = await _discrepancy(request, name, "discrepancies.handle")
    record = await acting.act(hands.desk, name, verb, parse_actor(caller.actor), reason, until=until)
    body = {"discrepancy": row["id"], "verb": verb, "instance": row["instance"], "actor": caller.actor}
    return send({**body, "seq": record.seq if record is not None else None}, 202)


def spoken(caller: Identity) -> dict[str, str]:
    """Return who asks as the rules of approvals and tasks know a person."""
    return {"id": caller.id, **({"email": caller.email} if caller.email else {})}
