"""Discrepancies: records that are not as they were left, field by field, and what a person may do about one.

Recheck reads now, a repair goes its ordinary way under policy and approval, what is accepted counts as
right from then on, a waiver has an end: ``reconciliation.desk`` judges and records each. Looking changes
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from difflib import SequenceMatcher
from itertools import groupby
from typing import Any, Final

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.bulk import Bulk
from topstitch.console.hands import Hands
from topstitch.console.pages.exceptions import asked_for, matching, system_names, ticket_number
from topstitch.console.pages.sight import look
from topstitch.console.rights import theirs
from topstitch.console.site import Site, back, human, sent, sheet, twin
from topstitch.console.stream import looked_on
from topstitch.foundation.errors import NotAllowedError, RequestError, TopstitchError
from topstitch.model.record import Actor, ActorKind
from topstitch.office import discrepancies as office
from topstitch.reconciliation import desk
from topstitch.store import discrepancies as kept

ROWS_MAX: Final = 200
SHOWS: Final = (("open", "Open"), ("suspected", "Suspected"), ("waived", "Waived"), ("all", "All"))
VERBS: Final = {
    "recheck": ("Recheck now", "The record is read again now; nothing is written."),
    "repair": ("Write the expected value", "The declared repair is sent, under policy and approval, as any write is."),
    "accept": ("Accept as is", "What is there counts as right from now on."),
    "waive": ("Waive until", "It stands as it is until the end you name, and is compared again then."),
}
COLUMNS: Final = (
    "id", "instance", "instance_title", "workflow", "system", "record", "check_name", "last_check", "severity",
    "state", "owner", "ticket", "opened_at", "changed_at", "resolved_at", "fields",
)  # fmt: skip


@looked_on
async def listing(request: Request) -> Response:
    """``GET /discrepancies?show=&system=&q=``."""
    site: Site = request.app.state.site
    query, unreadable = asked_for(request)
    show, rows = await _rows(request)
    names = await system_names(site.hands)
    return await site.render(
        request,
        "discrepancies.html",
        nav="discrepancies",
        title="Discrepancies",
        rows=[{**r, "wrong": wrong(r), "number": ticket_number(r["ticket"])} for r in rows],
        show=show,
        shows=SHOWS,
        matrix=_matrix(rows),
        system=request.query_params.get("system", ""),
        q=query,
        unreadable=unreadable,
        limit=ROWS_MAX,
        live="/stream",
        names=names,
        twin=f"/discrepancies.json?{request.url.query}",
        sheet=f"/discrepancies.csv?{request.url.query}",
        command="topstitch discrepancies list",
    )


async def listing_json(request: Request) -> Response:
    """``GET /discrepancies.json?show=&system=&q=``."""
    return twin({"items": (await _rows(request, strict=True))[1]})


async def listing_csv(request: Request) -> Response:
    """``GET /discrepancies.csv?show=&system=&q=``."""
    return sheet(COLUMNS, (await _rows(request, strict=True))[1])


async def _rows(request: Request, *, strict: bool = False) -> tuple[str, list[Any]]:
    hands: Hands = request.app.state.hands
    show = request.query_params.get("show", "open")
    state = {"all": None, "suspected": "suspected", "waived": "waived"}.get(show, "open")
    system = request.query_params.get("system") or None
    searched = bool(request.query_params.get("q", "").strip())
    most = kept.LISTING_MAX if searched else ROWS_MAX
    found = await kept.list_discrepancies(hands.store, state=state, system=system, limit=most)
    found = theirs(request, "discrepancies.read", found)
    rows = (await matching(request, found, strict=strict))[:ROWS_MAX]
    return show if any(show == key for key, _ in SHOWS) else "open", rows[::-1]


def _matrix(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Return how many there are by system, the most first."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["system"]] = counts.get(row["system"], 0) + 1
    return sorted(counts.items(), key=lambda one: -one[1])


def wrong(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the fields that differ; all of them when it is not said which."""
    fields = row["fields"] or []
    return [f for f in fields if f.get("verdict") not in ("match", None)] or list(fields)


async def discrepancy(request: Request) -> Response:
    """``GET /discrepancies/{name}``: what was meant, what was committed, what is there, and what can be done."""
    site: Site = request.app.state.site
    row = await kept.discrepancy(site.hands.store, request.path_params["name"])
    sight = await look(site.hands, row["instance"])
    system = sight.plan.systems.get(row["system"] or "")
    person, now = request.state.person, site.hands.clock.now()
    why_not = person.why_not("discrepancies.handle")
    actor = Actor(ActorKind.HUMAN, person.id.removeprefix("human:"))
    acts = [
        {"verb": verb, "label": label, "explained": explained, "why_not": why_not or _cannot(sight, row, verb, actor)}
        for verb, (label, explained) in VERBS.items()
    ]
    return await site.render(
        request,
        "discrepancy.html",
        nav="discrepancies",
        title=f"{system.title if system else row['system']} differs",
        row=row,
        number=ticket_number(row["ticket"]),
        sight=sight,
        system=system,
        fields=[{**f, "shown": compared(f)} for f in row["fields"] or []],
        checks=sight.view["checks"],
        acts=acts,
        until=(now + timedelta(days=7)).date().isoformat(),
        twin=f"/discrepancies/{row['id']}.json",
        command=f"topstitch discrepancies recheck {row['id']} --reason '…'",
    )


async def discrepancy_json(request: Request) -> Response:
    """``GET /discrepancies/{name}.json``."""
    hands: Hands = request.app.state.hands
    return twin(await kept.discrepancy(hands.store, request.path_params["name"]))


def _cannot(sight: Any, row: Mapping[str, Any], verb: str, actor: Actor) -> str | None:
    """Say why an act cannot be done on it as it stands; nothing when it can."""
    try:
        until = sight.now + timedelta(days=1)
        desk.act(sight.plan, sight.state, row["id"], verb, actor, "judged", sight.now, until=until)
    except TopstitchError as error:
        return error.message
    return None


async def act(request: Request) -> Response:
    """``POST /discrepancies/{name}/act``: recheck, repair, accept or waive it, with a reason."""
    bulk: Bulk = request.app.state.bulk
    person, name = request.state.person, request.path_params["name"]
    why = person.why_not("discrepancies.handle")
    if why is not None:
        raise NotAllowedError("not-allowed", f"you may not act on discrepancies; {why}")
    form = await sent(request)
    verb = form.get("verb", "")
    if verb not in VERBS:
        raise RequestError("unknown-command", f"a discrepancy knows {', '.join(VERBS)}; choose one of them")

    actor = Actor(ActorKind.HUMAN, person.id.removeprefix("human:"))
    until = _end(form.get("until", ""), request.app.state.site.zone(request).info) if verb == "waive" else None
    reason = form.get("reason", "")
    await office.act(bulk.desk, name, verb, actor, reason, until=until)
    return back(request, f"/discrepancies/{name}", f"{VERBS[verb][0]}: recorded with your reason.")


def _end(text: str, info: Any) -> datetime:
    try:
        day = datetime.fromisoformat(text.strip())
    except ValueError:
        raise RequestError("waiver-without-end", "a waiver has an end; name the day") from None
    return (day if day.tzinfo else day.replace(tzinfo=info)).astimezone(UTC)


def compared(field: Mapping[str, Any]) -> dict[str, Markup]:
    """Return what was meant and what is there, with what differs between them marked, digit by digit."""
    meant, there = human(field.get("intended")), human(field.get("observed"))
    if field.get("verdict") in ("match", None) or meant == there:
        return {"intended": Markup("{}").format(meant), "observed": Markup("{}").format(there)}
    pieces = _pieces(meant, there)
    if pieces is None:
        return {"intended": Markup("{}").format(meant), "observed": Markup("{}").format(there)}
    left, right = Markup(), Markup()
    for same, a, b in pieces:
        form = "{}" if same else '<span class="digit">{}</span>'
        left += Markup(form).format(a) if a else Markup()  # noqa: S704 -- both forms are constants
        right += Markup(form).format(b) if b else Markup()  # noqa: S704 -- both forms are constants
    return {"intended": left, "observed": right}


def _pieces(meant: str, there: str) -> list[tuple[bool, str, str]] | None:
    """Cut two values into what is the same and what is not; nothing when they have too little in common."""
    if len(meant) == len(there):  # digits that changed places: compare them place by place
        marks = [a == b for a, b in zip(meant, there, strict=True)]
        if sum(marks) < ALIKE * len(marks):
            return None
        runs = [(same, [k for k, _ in run]) for same, run in groupby(enumerate(marks), key=lambda one: one[1])]
        return [(same, meant[at[0] : at[-1] + 1], there[at[0] : at[-1] + 1]) for same, at in runs]
    matcher = SequenceMatcher(None, meant, there, autojunk=False)
    if matcher.ratio() < ALIKE:
        return None
    return [(kind == "equal", meant[a:b], there[c:d]) for kind, a, b, c, d in matcher.get_opcodes()]


ALIKE: Final = 0.5
"""Values less alike than this are shown whole."""
