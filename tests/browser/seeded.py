"""A store with a whole company's onboardings in it: every state that the console has to show.

Instances are carried out on paper, with answers that take time, and written through the store
as the engine writes them. The same start gives the same story, ids included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from support.contracts import CONTRACTS
from support.onboarding import FILE, HIRE, Company
from support.paper import PaperEngine, ok, refused, transient, unknown
from topstitch import lifecycle
from topstitch.bootstrap.summary import summarise
from topstitch.execution.operate import Command
from topstitch.foundation.canonical import canonical_bytes
from topstitch.foundation.clock import SimulatedClock
from topstitch.language.load import load
from topstitch.language.normal import definition_digest, normal_form
from topstitch.language.schema import Workflow
from topstitch.model.event import TriggerEvent
from topstitch.model.orders import Call, LookUpCall, Outcome, ReadCall, ResolveCall, TellCall
from topstitch.model.record import Actor, ActorKind, Draft
from topstitch.model.state import InstanceState
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan
from topstitch.store import Store, alarms, definitions, pauses
from topstitch.store.alarms import AlertRow
from topstitch.store.definitions import Definition
from topstitch.trigger.match import instance_id, new_instance

NOW = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)
"""When the story is looked at."""
PEOPLE: Mapping[str, Sequence[Mapping[str, str]]] = {
    "group:sales-ops": [{"id": "dana", "name": "Dana Ortiz", "email": "dana@acme.example"}],
    "manager_of(subject)": [{"id": "omar", "name": "Omar Haddad", "email": "omar@acme.example"}],
    "group:it-ops": [{"id": "ivo", "name": "Ivo Marsh", "email": "ivo@acme.example"}],
}
SALES: dict[str, Any] = {
    "profile_id": "SAL-AE",
    "territory": "US-South Enterprise",
    "crm_role": "AE-2",
    "quota_carrying": True,
    "quota": "1200000 USD",
    "team_channel": "us-south",
    "groups": ["all-staff", "sales"],
}


def workflow(**changes: Any) -> Workflow:
    """Return the shipped onboarding, with top-level keys replaced."""
    document = load(FILE.read_text(encoding="utf-8"), str(FILE))
    return Workflow.model_validate({**document.data, **changes})


def plan_of(definition: Workflow) -> Plan:
    """Compile a definition under its own digest."""
    return compile_plan(definition, CONTRACTS, definition_digest(definition))


class Hired(PaperEngine):
    """One hire, carried out on paper with calls that take their time."""

    def __init__(self, plan: Plan, company: Company, start: datetime, name: str, **world: Any) -> None:
        super().__init__(plan, company.world(**world), start)
        first, _, last = name.partition(" ")
        number = f"W-{104000 + sum(k * ord(letter) for k, letter in enumerate(name)) % 5000:d}"
        self.data = {**HIRE, "first_name": first, "last_name": last, "employee_id": number}
        self.slow: dict[str, float] = {}
        self.event = TriggerEvent(
            id=f"evt_{number}",
            source="workday/acme",
            type=plan.trigger.event_type,
            data=self.data,
            received_at=start,
            time=start - timedelta(seconds=2),
            signature="standard-webhooks",
        )
        self.id = instance_id(self.event, plan.workflow)
        self.state: InstanceState = lifecycle.initial(plan, self.id)

    def hire(self, **data: Any) -> Hired:
        """Start it; ``data`` changes the event."""
        self.event = TriggerEvent(
            id=self.event.id,
            source=self.event.source,
            type=self.event.type,
            data={**self.data, **data},
            received_at=self.event.received_at,
            time=self.event.time,
            signature=self.event.signature,
        )
        first = lifecycle.begin(self.plan, self.event, self.id, self.clock.now())
        assert first is not None
        self._append([first])
        return self

    def answer(self, call: Call) -> Outcome:
        if not isinstance(call, TellCall | ResolveCall):
            verb = "look_up " if isinstance(call, LookUpCall) else ""
            known = f"{verb}{call.system}.{call.action}" if hasattr(call, "system") else ""
            self.clock.advance(self.slow.get(known, 0.21 if isinstance(call, ReadCall) else 1.4))
        if isinstance(call, TellCall | ResolveCall):
            found = [dict(p, **{"for": who}) for who in call.who for p in PEOPLE.get(who, ())]
            found = found or [{"id": w, "name": w, "email": "desk@acme.example", "for": w} for w in call.who]
            return ok({"people": found, "excluded": []})
        return super().answer(call)

    def command(self, name: str, person: str = "ivo", **more: Any) -> Hired:
        """Give an operator's command."""
        command = Command(name=name, **{"reason": "agreed with the owner", **more})
        actor = Actor(ActorKind.HUMAN, person)
        self._append(lifecycle.operate(self.plan, self.state, command, actor, self.clock.now()))
        return self


def story(now: datetime = NOW, plan: Plan | None = None) -> list[Hired]:
    """Return the hires of the story, as they stand at ``now``."""
    plan = plan or plan_of(workflow())

    def hired(name: str, ago: float, company: Company | None = None, **world: Any) -> Hired:
        return Hired(plan, company or Company(), now - timedelta(hours=ago), name, **world)

    return [
        _priya(hired("Priya Raman", 3.35, Company(**SALES)), now),
        _lukas(hired("Lukas Vogel", 2.6, itsm__create_catalog_request=lambda _c: transient()), now),
        hired("Ana Costa", 26).hire().run(until=now),
        _drifted(hired("Yuki Mori", 5.2), now),
        _rolled_back(hired("Samuel Brandt", 9), now),
        _refused(hired("Mo Salah", 8, Company(**SALES)), now),
        _silent(hired("Lee Chan", 7), now),
        hired("Ines Duarte", 0.9, directory__get_user=[ok(None), ok(None), ok(None), _ready]).hire().run(until=now),
        _paused(hired("Tom Becker", 1.4), now),
        _cancelled(hired("Eva Lind", 6.5, Company(**SALES)), now),
        _late(hired("Noor Aziz", 4), now),
        *[hired(f"{first} Stone", 10 + 1.3 * n).hire().run(until=now) for n, first in enumerate(FIRST)],
    ]


FIRST = ("Ada", "Ben", "Cleo", "Dev", "Elif", "Finn", "Gita", "Hana")


def _priya(one: Hired, now: datetime) -> Hired:
    one.slow = {"directory.create_user": 8.2, "itsm.create_catalog_request": 2.4, "itsm.get_request": 4.0}
    one.world["itsm.create_catalog_request"] = [transient(), transient(), one.world["itsm.create_catalog_request"]]
    world, made = one.world, dict(one.world)
    one.hire(department="Sales").run(until=now - timedelta(hours=2))

    def misplaced(call: Any) -> Outcome:
        seen = made["directory.get_user"](call)
        return ok({**seen.value, "department": "Sales Operations"}) if seen.value else seen

    world["directory.get_user"] = misplaced
    return one.run(until=now)


def _lukas(one: Hired, now: datetime) -> Hired:
    return one.hire().run(until=now)


def _drifted(one: Hired, now: datetime) -> Hired:
    made = one.world["directory.get_user"]
    one.hire().run(until=now - timedelta(hours=4))
    one.world["directory.get_user"] = lambda c: ok({**made(c).value, "enabled": False})
    return one.run(until=now)


def _rolled_back(one: Hired, now: datetime) -> Hired:
    one.world["chat.invite"] = lambda _c: refused("channel_not_found")
    one.hire().run_for(minutes=30)
    return one.command("cancel", choice="rollback", reason="the offer was withdrawn").run(until=now)


def _refused(one: Hired, now: datetime) -> Hired:
    one.hire(department="Sales").run_for(minutes=50)
    return one.decide("crm_assignment", "refuse").run(until=now)


def _silent(one: Hired, now: datetime) -> Hired:
    made = one.world["directory.create_user"]

    def once(call: Any) -> Outcome:
        made(call)
        return unknown()

    one.world["directory.create_user"] = once
    return one.hire().run(until=now)


def _paused(one: Hired, now: datetime) -> Hired:
    one.hire().run_for(seconds=20)
    return one.command("pause", reason="payroll asks to wait").run_quietly(now)


def _cancelled(one: Hired, now: datetime) -> Hired:
    one.hire(department="Sales").run_for(hours=1)
    return one.command("cancel", choice="stop", reason="entered twice").run(until=now)


def _late(one: Hired, now: datetime) -> Hired:
    """ServiceNow takes six minutes to say that it has no such request yet: the seam before it is over its limit."""
    one.slow = {"look_up itsm.create_catalog_request": 370.6, "itsm.create_catalog_request": 2.2}
    one.world["chat.invite"] = [transient(retry_after=400.0), transient(retry_after=30.0), one.world["chat.invite"]]
    return one.hire().run(until=now)


def _ready(call: Any) -> Outcome:
    params = call.params
    return ok(
        {
            "user_id": "u1",
            "upn": params["upn"],
            "enabled": True,
            "department": "Engineering",
            "groups": ["all-staff", "engineering"],
            "licenses": [],
        }
    )


def _run_quietly(self: Hired, now: datetime) -> Hired:
    self.activate()
    self.clock.advance_to(now)
    return self


Hired.run_quietly = _run_quietly  # type: ignore[attr-defined]


async def publish(
    store: Store,
    definition: Workflow,
    at: datetime,
    *,
    parent: str | None = None,
    edits: Mapping[str, str] | None = None,
) -> None:
    """Publish a definition as ``topstitch publish`` does; ``edits`` are what its author wrote in place of what."""
    digest = definition_digest(definition)
    text = FILE.read_text(encoding="utf-8").replace("version: 1.0.0", f"version: {definition.version}")
    for old, new in (edits or {}).items():
        assert old in text
        text = text.replace(old, new, 1)
    await definitions.publish(
        store,
        Definition(
            digest=digest,
            workflow=definition.workflow,
            version=definition.version,
            text=text,
            normal=canonical_bytes(normal_form(definition)).decode(),
            published_at=at,
            published_by="human:ana",
        ),
        parent=parent,
    )


async def write(store: Store, one: Hired) -> None:
    """Write one instance through the store as the engine does: the event, then its records under a lease."""
    first, *rest = one.records
    await store.accept(one.event, [new_instance(one.plan, one.id, first)], raw=canonical_bytes(one.event.data))
    claims = await store.claim("seed", first.at, 60, 10)
    for due in claims.due:
        if due.lease.instance == one.id:
            await _append(store, due.lease, one, rest)


async def _append(store: Store, lease: Any, one: Hired, rest: Sequence[Draft]) -> None:
    ended = one.records[-1].at if one.state.ended else None
    summary = summarise(one.plan, one.state)
    await store.append(lease, rest, summary=summary, park=ended is None, wake_at=one.wake_at, ended_at=ended)


async def seed(store: Store, now: datetime = NOW) -> list[Hired]:
    """Publish the onboarding and write the whole story."""
    definition = workflow()
    await publish(store, definition, now - timedelta(days=30))
    hires = story(now, plan_of(definition))
    for one in hires:
        await write(store, one)
    return hires


async def trouble(store: Store, now: datetime = NOW) -> list[Hired]:
    """Add what went wrong for many at once: context that cannot be read, a paused connection, an open alert."""
    plan, made = plan_of(workflow()), []
    for n, name in enumerate(("Otto Klein", "Rosa Lang", "Igor Petrov")):
        start = now - timedelta(hours=3 + n)
        one = Hired(plan, Company(), start, name, hris__get_worker=lambda _c: refused("no such worker"))
        made.append(one.hire().run(until=now))
        await write(store, made[-1])
    actor = Actor(ActorKind.HUMAN, "ivo")
    await pauses.pause(
        store, pauses.connection("crm"), actor, now - timedelta(minutes=20), reason="Salesforce is moving"
    )
    since = int((now - timedelta(minutes=42)).timestamp() * 1000)
    row = AlertRow(
        id="alt_1",
        cause="handoff/employee-onboarding/entra-id>servicenow",
        kind="handoff",
        level="red",
        status="open",
        workflow="employee-onboarding",
        from_system="entra-id",
        to_system="servicenow",
        since_ms=since,
        opened_ms=since,
        changed_ms=since,
        body={"title": "Entra ID → ServiceNow", "text": "work lay here for 6 m 12 s, limit 5 m"},
    )
    await alarms.settle(store, alarms.Verdict(number=0, rows=[row]))
    return made


def clock_at(now: datetime = NOW) -> SimulatedClock:
    """Return a clock that stands at the story's now."""
    return SimulatedClock(now)
