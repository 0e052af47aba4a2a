"""Settings: mine, people and rights, tokens, absence, calendars, webhooks, retention, this installation.

Each part is shown to whoever may read it, and says which command changes what is not changed here. A
person hands their own decisions over here; an admin does it for others. No secret is ever shown.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.hands import Hands
from topstitch.console.pages.calendars import calendar_facts, calendar_pages
from topstitch.console.people import Person
from topstitch.console.site import Site, back, sent, twin, who
from topstitch.foundation.errors import NotAllowedError, RequestError
from topstitch.foundation.ids import new_id
from topstitch.governance.access import RIGHTS, ROLES
from topstitch.governance.duties import Delegation
from topstitch.model.record import Actor, ActorKind
from topstitch.office import deciding as office
from topstitch.office.accounts import why_undecided
from topstitch.office.webhooks import shown_secrets
from topstitch.store import deciding, erasing, people, tokens, webhooks

PARTS: Final = (
    ("mine", "Yours", None),
    ("people", "People and rights", "people.read"),
    ("tokens", "Tokens", None),
    ("delegation", "Absence", None),
    ("calendars", "Calendars", "policies.read"),
    ("webhooks", "Webhooks", "webhooks.read"),
    ("retention", "Retention", "settings.read"),
    ("installation", "This installation", "settings.read"),
)
"""Key, label, and the right that shows it."""
DELIVERIES_SHOWN: Final = 20


async def settings(request: Request) -> Response:
    """``GET /settings?part=``."""
    site: Site = request.app.state.site
    person: Person = request.state.person
    part = _part(request)
    right = next(needed for key, _, needed in PARTS if key == part)
    forbidden = person.why_not(right) if right else None
    return await site.render(
        request,
        "settings.html",
        nav="settings",
        title="Settings",
        part=part,
        parts=PARTS,
        forbidden=forbidden,
        facts={} if forbidden else await _facts(site.hands, person, part),
        calendars=await calendar_pages(site.hands) if part == "calendars" and not forbidden else None,
        can_publish=person.why_not("policies.publish"),
        me=person.identity.actor,
        settings=site.hands.settings,
        roles=ROLES,
        rights=RIGHTS,
        connections=site.hands.connections,
        now=site.hands.clock.now(),
        twin=f"/settings.json?part={part}",
        command=COMMANDS.get(part),
    )


COMMANDS: Final = {
    "people": "topstitch people list",
    "tokens": "topstitch tokens list",
    "delegation": "topstitch delegations list",
    "calendars": "topstitch calendars list",
    "webhooks": "topstitch webhooks list",
    "retention": "topstitch erase --help",
    "installation": "topstitch doctor",
}


async def settings_json(request: Request) -> Response:
    """``GET /settings.json?part=``."""
    site: Site = request.app.state.site
    person: Person = request.state.person
    part = _part(request)
    right = next(needed for key, _, needed in PARTS if key == part)
    why = person.why_not(right) if right else None
    if why:
        raise NotAllowedError("not-allowed", f"you may not read this part of the settings; {why}")
    return twin({"part": part, **await _facts(site.hands, person, part)})


def _part(request: Request) -> str:
    part = request.query_params.get("part", "mine")
    return part if any(part == key for key, _, _ in PARTS) else "mine"


async def _facts(hands: Hands, person: Person, part: str) -> dict[str, Any]:
    """Return what a part shows, as plain data without secrets."""
    match part:
        case "people":
            return await _people(hands)
        case "tokens":
            whose = None if person.may("tokens.manage") else person.id
            listed = await tokens.listing(hands.store, whose)
            return {"tokens": [_fields(t, TOKEN) for t in listed]}
        case "delegation":
            known = await deciding.all_delegations(hands.store)
            mine = {who(person.id), person.id}
            every = person.may("delegations.manage") or person.may("people.read")
            own = [d for d in known if every or mine & {who(d.grantor), who(d.delegate)}]
            return {"delegations": [_fields(d, DELEGATION) for d in own]}
        case "calendars":
            return await calendar_facts(hands)
        case "webhooks":
            return {"endpoints": [await _endpoint(hands, one) for one in await webhooks.endpoints(hands.store)]}
        case "retention":
            return {"holds": [_fields(h, HOLD) for h in await erasing.holds(hands.store)]}
        case "installation":
            return {"settings": [{"name": n, "value": v, "doc": d} for n, v, d in hands.settings]}
        case _:
            return {"id": person.id, "roles": list(person.roles), "groups": list(person.groups)}


TOKEN: Final = ("id", "name", "person", "maker", "scopes", "made_at", "ends_at", "revoked_at", "used_at")
DELEGATION: Final = (
    "id", "grantor", "delegate", "group", "starts_at", "ends_at", "because", "granted_by", "ended_at",
)  # fmt: skip
HOLD: Final = ("id", "subject", "ground", "placed_at", "placed_by", "lifted_at")
PERSON: Final = ("id", "kind", "name", "email", "owner", "provider", "member_of", "signed_in_at", "disabled_at")


def _fields(one: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(one, name) for name in names}


async def _people(hands: Hands) -> dict[str, Any]:
    listed, granted = await people.listing(hands.store), await people.grants(hands.store)
    roles: dict[str, list[dict[str, str]]] = {}
    for one in granted:
        roles.setdefault(one.principal, []).append({"role": one.role, "place": one.place})
    groups = {name for name in roles if name.startswith(people.GROUP)} | {g for p in listed for g in p.member_of}
    agents = await deciding.all_agents(hands.store)
    return {
        "people": [{**_fields(p, PERSON), "grants": roles.get(p.id, [])} for p in listed],
        "groups": [{"name": who(g), "grants": roles.get(g, roles.get(people.GROUP + g, []))} for g in sorted(groups)],
        "agents": [{"id": a.id, "document": a.document, "changed_by": a.changed_by} for a in agents],
    }


async def _endpoint(hands: Hands, one: webhooks.Endpoint) -> dict[str, Any]:
    sent_ = await webhooks.deliveries(hands.store, one.id, limit=DELIVERIES_SHOWN)
    names = ("id", "url", "types", "description", "owner", "status", "because", "failing_since")
    shown = ("id", "type", "instance", "status", "tries", "made_at", "sent_at", "answered", "problem")
    return {**_fields(one, names), "secrets": shown_secrets(one), "deliveries": [_fields(d, shown) for d in sent_]}


# --- What is changed here ---------------------------------------------------------------------------------


async def delegate(request: Request) -> Response:
    """``POST /settings/delegations``: let somebody answer for me, or (an admin) for somebody else, for a time."""
    hands: Hands = request.app.state.hands
    person: Person = request.state.person
    form = await sent(request)
    own = who(person.id)
    grantor = form.get("grantor", "").strip() or own
    why = person.why_not("delegations.own" if who(grantor) == own else "delegations.manage")
    if why:
        raise NotAllowedError("not-allowed", f"you may not hand these decisions over; {why}")
    now, zone = hands.clock.now(), request.app.state.site.zone(request)
    new = Delegation(
        grantor=f"human:{who(grantor)}",
        delegate=f"human:{who(form.get('delegate', '').strip())}",
        group=form.get("group", "").strip() or None,
        starts_at=_day(form.get("starts", ""), zone.info) or now,
        ends_at=_needed(_day(form.get("ends", ""), zone.info)),
    )
    actor = Actor(ActorKind.HUMAN, own)
    await office.grant(hands.store, new, actor, now, because=form.get("because", ""))
    tier_max = hands.codes.tier_max if hands.codes else 0
    doubt = await why_undecided(hands.access, new.delegate, tier_max) if hands.access else None
    said = f"{who(form['delegate'])} may answer for {who(grantor)} until then.{f' But {doubt}.' if doubt else ''}"
    return back(request, "/settings?part=delegation", said)


async def end_delegation(request: Request) -> Response:
    """``POST /settings/delegations/{name}/end``."""
    hands: Hands = request.app.state.hands
    person: Person = request.state.person
    name = request.path_params["name"]
    known = next((d for d in await deciding.all_delegations(hands.store) if d.id == name), None)
    own = known is not None and who(known.grantor) == who(person.id)
    why = person.why_not("delegations.own" if own else "delegations.manage")
    if why:
        raise NotAllowedError("not-allowed", f"you may not end this delegation; {why}")
    await office.end(hands.store, name, Actor(ActorKind.HUMAN, who(person.id)), hands.clock.now())
    return back(request, "/settings?part=delegation", "It ends now; what was answered meanwhile stays answered.")


def _day(text: str, info: Any) -> datetime | None:
    """Read what a browser sends for a date, or a date and a time, in the page's zone."""
    if not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise RequestError("bad-time", f"{text!r} is no date; write one such as 2026-12-24") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=info)).astimezone(UTC)


def _needed(moment: datetime | None) -> datetime:
    if moment is None:
        raise RequestError("no-end", "a delegation has an end; say until when")
    return moment


async def replay(request: Request) -> Response:
    """``POST /settings/webhooks/{name}/deliveries/{delivery}/replay``: send the same event again."""
    hands: Hands = request.app.state.hands
    why = request.state.person.why_not("webhooks.manage")
    if why:
        raise NotAllowedError("not-allowed", f"you may not send deliveries again; {why}")
    endpoint, name, now = request.path_params["name"], request.path_params["delivery"], hands.clock.now()
    found = await webhooks.get_delivery(hands.store, endpoint, name)
    await webhooks.replay(hands.store, found, new_id("del", now), now)
    return back(request, "/settings?part=webhooks", "It is sent again at once.")
