"""One instance: where it is, what waits on whom and since when, what was done, and what can be done now.

Steps, time, table, history, data and versions are tabs of one address; a step's drawer is a parameter
of it, so that every view is a link. Commands are asked with a preview before they are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console import words
from topstitch.console.hands import Hands
from topstitch.console.icons import drawn
from topstitch.console.pages.exceptions import ticket_number
from topstitch.console.pages.sight import Sight, look, verified
from topstitch.console.picture import instance_svg
from topstitch.console.site import Site, back, sent, twin
from topstitch.console.stream import looked_on
from topstitch.console.timeline import BESIDE, WHOLE, timeline_svg
from topstitch.console.times import Zone
from topstitch.console.trace import handoffs
from topstitch.execution.operate import RETRYABLE, SKIPPABLE, Command
from topstitch.foundation.errors import NotFoundError, RequestError, TopstitchError
from topstitch.foundation.timetext import parse_time
from topstitch.model.instance import Mode
from topstitch.model.kinds import Kind
from topstitch.model.query import parse_query
from topstitch.store import items
from topstitch.store.searches import head_position, neighbours

TABS = ("steps", "time", "table", "history", "data", "versions")
HISTORY_ROWS_MAX = 400
COMMANDS: dict[str, tuple[str, str, str]] = {
    "retry": ("Retry from step", "Retry it", "The step waits again, and so does what was not run because of it."),
    "skip": ("Skip a step", "Skip it", "The step is left out; what needs it is not run."),
    "pause": ("Pause", "Pause it", "No new call is made until it is resumed. Deadlines keep running."),
    "resume": ("Resume", "Resume it", "Calls are made again."),
    "cancel": ("Cancel", "Cancel the instance", "Nothing new is started; you choose what becomes of what is done."),
}


@looked_on
async def instance(request: Request) -> Response:
    """``GET /instances/{name}?view=&step=&at=``."""
    site: Site = request.app.state.site
    name = request.path_params["name"]
    position = await head_position(site.hands.store)
    sight = await look(site.hands, name, request.query_params.get("at"))
    tab = request.query_params.get("view", "steps")
    tab = tab if tab in TABS else "steps"
    count, broken = await verified(site.hands, name)
    approvals = [] if sight.at else await items.list_approvals(site.hands.store, instance=name)
    zone = site.zone(request)
    differing = _differing(sight)
    asks = bool(approvals) or _asks(sight, differing)
    pictures = {
        "lanes": drawn(instance_svg(sight.plan, sight.state, sight.records, sight.rows, zone, sight.at))
        if tab == "steps"
        else "",
        "timeline": drawn(timeline_svg(sight.rows, zone, BESIDE if asks and tab == "steps" else WHOLE))
        if tab in ("steps", "time")
        else "",
    }
    return await site.render(
        request,
        "instance.html",
        nav="instances",
        title=sight.state.title,
        sight=sight,
        view=sight.view,
        tab=tab,
        tabs=TABS,
        said_state=_said(sight),
        tale=_tale(site.hands, sight, zone),
        promise=max(sight.plan.sla, key=lambda s: s.within_seconds, default=None),
        handoffs=_handoffs(sight),
        system_names=_named(sight),
        count=count,
        broken=broken,
        pictures=pictures,
        approvals=[await approval_card(site.hands, row["id"], sight) for row in approvals],
        drawer=_drawer(sight, request.query_params.get("step")),
        beside=await _beside(request, name),
        actions=_actions(sight, request),
        live=f"/stream?instance={name}" if not sight.at else None,
        position=position,
        differing=differing,
        asks=asks,
        twin=f"/instances/{name}.json",
        command=f"topstitch instance show {name}",
        history_max=HISTORY_ROWS_MAX,
        kinds=Kind,
    )


async def _beside(request: Request, name: str) -> dict[str, str | None] | None:
    """Return the instances before and after this one in the list that one came from."""
    text = request.query_params.get("list")
    if text is None:
        return None
    hands: Hands = request.app.state.hands
    try:
        query = parse_query(text)
    except RequestError:
        return None
    newer, older = await neighbours(hands.store, query, hands.clock.now(), name)
    return {"list": text, "newer": newer, "older": older}


async def instance_json(request: Request) -> Response:
    """``GET /instances/{name}.json``: the facts, as ``topstitch instance show --json`` prints them."""
    hands: Hands = request.app.state.hands
    sight = await look(hands, request.path_params["name"], request.query_params.get("at"))
    share = sight.shares
    time = (
        {}
        if share is None
        else {
            f"{part}_ms": round(getattr(share, part).total_seconds() * 1000)
            for part in ("whole", "systems", "seams", "people")
        }
    )
    return twin({**sight.view, "time": time, "as_of": sight.at})


async def ask(request: Request) -> Response:
    """``GET /instances/{name}/{command}``: what a command would do, with the form that gives it."""
    site: Site = request.app.state.site
    name, wanted = request.path_params["name"], request.path_params["command"]
    if wanted not in COMMANDS:
        raise NotFoundError(
            "unknown-command", f"there is no command {wanted}; the instance's page offers those there are"
        )
    sight = await look(site.hands, name)
    choice, step = request.query_params.get("choice"), request.query_params.get("step")
    steps = _steps_for(sight, wanted)
    step = step or (steps[0][0] if steps else None)
    choice = choice if choice in ("rollback", "stop") else "rollback" if wanted == "cancel" else None
    preview, problem = await _preview(
        site.hands,
        request,
        name,
        Command(name=wanted, reason="preview", step=step if wanted in ("retry", "skip") else None, choice=choice),
    )
    return await site.render(
        request,
        "command.html",
        nav="instances",
        title=COMMANDS[wanted][0],
        sight=sight,
        wanted=wanted,
        verb=COMMANDS[wanted][1],
        explained=COMMANDS[wanted][2],
        steps=steps,
        step=step,
        choice=choice,
        preview=preview,
        problem=problem,
        why_not=request.state.person.why_not("operate"),
        inputs=_inputs(sight, step) if wanted == "retry" else {},
    )


async def command(request: Request) -> Response:
    """``POST /instances/{name}/{command}``: give it."""
    hands: Hands = request.app.state.hands
    name, wanted = request.path_params["name"], request.path_params["command"]
    if wanted not in COMMANDS:
        raise NotFoundError(
            "unknown-command", f"there is no command {wanted}; the instance's page offers those there are"
        )
    form = await sent(request)
    step = str(form.get("step") or "") or None
    changed = {k.removeprefix("input."): str(v) for k, v in form.items() if k.startswith("input.")}
    sight = await look(hands, name)
    before = _inputs(sight, step)
    edited = {k: v for k, v in changed.items() if k in before and v != before[k]}
    given = Command(
        name=wanted,
        reason=str(form.get("reason") or ""),
        step=step if wanted in ("retry", "skip") else None,
        choice=str(form.get("choice") or "") or None,
        input=edited or None,
    )
    await hands.commands.operate(name, request.state.person, given)
    return back(request, f"/instances/{name}", f"{COMMANDS[wanted][0]}: done, and kept with your reason.")


async def _preview(hands: Hands, request: Request, name: str, wanted: Command) -> tuple[list[str], str | None]:
    try:
        return list(await hands.commands.preview(name, request.state.person, wanted)), None
    except TopstitchError as error:
        return [], error.message


def _steps_for(sight: Sight, wanted: str) -> list[tuple[str, str]]:
    allowed = {"retry": RETRYABLE, "skip": SKIPPABLE}.get(wanted, frozenset())
    return [(n, sight.plan.steps[n].title) for n, s in sight.state.steps.items() if s.status in allowed]


def _inputs(sight: Sight, step: str | None) -> dict[str, str]:
    """Return the fields of a step's payload that can be changed in a form: plain text ones."""
    known = sight.state.steps.get(step or "")
    payload = known.input if known is not None else None
    return {k: v for k, v in payload.items() if isinstance(v, str)} if isinstance(payload, Mapping) else {}


def _said(sight: Sight) -> words.Said:
    status = str(sight.view["status"])
    asks = any(w["kind"] in ("approval", "task") for w in sight.view["waiting"])
    troubled = bool(sight.state.open_cases) or any(not d.resolved for d in sight.state.discrepancies.values())
    if sight.state.mode is Mode.ROLLING_BACK and sight.state.ended is None and sight.state.executed_at is None:
        return words.COMPENSATING
    outcome = str(sight.state.outcome or "")
    if sight.state.ended is None and not asks and outcome in words.INSTANCE and outcome != "completed":
        return words.INSTANCE[outcome]
    return words.instance(status, asks=asks, cases=troubled, settled=sight.state.executed_at is not None)


def _local(text: str | None, record: Any, zone: Zone) -> str | None:
    """Return a sentence with the time of the next try in the page's zone; the doors write it in UTC."""
    when = record.body.get("again_at") or record.body.get("next_at")
    if text is None or not isinstance(when, str):
        return text
    moment = parse_time(when)
    return text.replace(f"at {moment.strftime('%H:%M:%S')}", f"at {zone.clock(moment)}")


def _tale(hands: Hands, sight: Sight, zone: Zone) -> list[dict[str, Any]]:
    tell = hands.teller(sight.plan)
    return [
        {"record": r, "text": _local(tell(r), r, zone), "what": str(r.kind).replace(".", " ").replace("_", " ")}
        for r in sight.records
    ]


def _handoffs(sight: Sight) -> dict[str, Any]:
    """Return how many automated handoffs stayed within the target, and the slowest."""
    found = [h for h in handoffs(sight.records) if h["from_system"] != h["to_system"]]
    target = sight.plan.monitor.handoff_target_seconds * 1000
    slowest = max(found, key=lambda h: h["net_ms"], default=None)
    names = _named(sight)
    if slowest is not None:
        slowest = {
            **slowest,
            "seam": " → ".join(names.get(slowest[k], str(slowest[k])) for k in ("from_system", "to_system")),
        }
    return {
        "all": len(found),
        "within": sum(1 for h in found if h["net_ms"] <= target),
        "slowest": slowest,
        "tone": words.seam_tone(slowest["net_ms"]) if slowest else "ok",
    }


def _named(sight: Sight) -> dict[str, str]:
    """Return what people call the systems, by the connectors' names."""
    return {s.connector.partition("@")[0]: s.title for s in sight.plan.systems.values()}


def _asks(sight: Sight, differing: Sequence[Mapping[str, Any]]) -> bool:
    """Whether anything here wants a person, who finds it beside the rest."""
    tasks = any(w["kind"] == "task" for w in sight.view["waiting"])
    cases = any(c["status"] == "open" for c in sight.view["cases"])
    return tasks or cases or any(not d["resolved"] for d in differing)


def _differing(sight: Sight) -> list[dict[str, Any]]:
    found = []
    for d in sight.state.discrepancies.values():
        system = sight.plan.systems.get(d.system)
        fields = [f for f in d.fields if f.get("verdict") not in ("match", None)] or list(d.fields)
        found.append(
            {
                "id": d.id,
                "system": system.title if system else d.system,
                "record": d.record,
                "check": d.check,
                "severity": d.severity,
                "fields": fields,
                "resolved": d.resolved,
                "ticket": ticket_number(d.ticket),
            }
        )
    return found


def _drawer(sight: Sight, step: str | None) -> dict[str, Any] | None:
    """Return everything there is to know of one step."""
    if step is None or step not in sight.plan.steps:
        return None
    plan, state = sight.plan.steps[step], sight.state.steps[step]
    shown = next(s for s in sight.view["steps"] if s["id"] == step)
    acts = [a for a in sight.state.acts.values() if a.step == step]
    own = [r for r in sight.records if r.step == step]
    return {
        "plan": plan,
        "state": state,
        "said": words.STEP[state.status],
        "shown": shown,
        "acts": acts,
        "tries": _tries(own),
        "system": sight.plan.systems.get(plan.system),
        "decisions": [d for d in sight.view["decisions"] if d["step"] == step],
        "span": next((row for row in sight.rows if row.id == step), None),
        "request": next((a.request for a in reversed(acts) if a.request), None),
    }


def _tries(own: Any) -> list[dict[str, Any]]:
    """Return each try and look of a step with what came back."""
    kinds = {
        Kind.ACT_INTENT: "sent",
        Kind.ACT_RESULT: "answer",
        Kind.ACT_LOOKED_UP: "look-up",
        Kind.ACT_READ_BACK: "read back",
        Kind.ACT_IN_DOUBT: "in doubt",
        Kind.ACT_QUIESCED: "stopped",
    }
    found = []
    for r in own:
        if r.kind in kinds:
            b = r.body
            outcome = (
                b.get("result")
                or b.get("answer")
                or ("agrees" if b.get("agrees") else "does not agree yet" if r.kind == Kind.ACT_READ_BACK else "")
            )
            tone = {
                "ok": "ok",
                "found": "ok",
                "agrees": "ok",
                "transient": "warn",
                "unknown": "warn",
                "refused": "breach",
            }.get(str(outcome), "idle")
            found.append(
                {
                    "at": r.at,
                    "seq": r.seq,
                    "what": kinds[r.kind],
                    "act": b.get("act"),
                    "attempt": b.get("attempt"),
                    "outcome": str(outcome),
                    "tone": tone,
                    "problem": b.get("problem"),
                    "next_at": b.get("next_at"),
                    "request": b.get("request"),
                    "duration_ms": b.get("duration_ms"),
                }
            )
    return found


def _actions(sight: Sight, request: Request) -> list[dict[str, Any]]:
    """Return what can be done, and where not, why."""
    state, person = sight.state, request.state.person
    forbidden = "You look at the past; go back to now." if sight.at else person.why_not("operate")
    ended = f"It has ended {state.ended}." if state.ended else None
    retryable = None if _steps_for(sight, "retry") else "No step has come to nothing."
    skippable = ended or (None if _steps_for(sight, "skip") else "No step can be left out any more.")
    pausing = "resume" if state.paused else "pause"
    cancel = ended or ("It is being rolled back already." if state.mode is Mode.ROLLING_BACK else None)
    listed = (("retry", retryable), ("skip", skippable), (pausing, ended), ("cancel", cancel))
    return [
        {"name": n, "label": COMMANDS[n][0] + ("…" if n != "resume" else ""), "why_not": forbidden or why}
        for n, why in listed
    ]


def _amounts_to(row: Mapping[str, Any]) -> bool:
    """Whether the answers so far decide, though the instance may not have been carried on yet."""
    said = [answer["answer"] for answer in row["answers"]]
    return "refuse" in said or len(said) >= (row["quorum"] or 1)


async def approval_card(hands: Hands, name: str, sight: Sight | None = None) -> dict[str, Any]:
    """Return what a person must know to decide: the question, the facts, why it is asked, what each answer does."""
    row = await items.get_approval(hands.store, name)
    sight = sight or await look(hands, row["instance"])
    decision = next((r.body for r in reversed(sight.records) if r.kind == Kind.DECISION and r.step == row["step"]), {})
    plan = sight.plan.steps.get(row["step"] or "")
    payload = decision.get("payload")
    facts = list(payload.items()) if isinstance(payload, Mapping) else []
    tell = hands.teller(sight.plan)
    return {
        "row": row,
        "decided": _amounts_to(row),
        "sight": sight,
        "step": plan,
        "facts": facts,
        "because": decision.get("because", []),
        "risk": decision.get("risk"),
        "system": sight.plan.systems.get(plan.system) if plan else None,
        "payload": payload,
        "history": [{"record": r, "text": tell(r)} for r in sight.records if r.step == row["step"] and tell(r)],
    }
