"""The command that shows what an event would do, before it does: writes, approvals, read-backs, rollback.

The context is read for real, through handles that can only read, or taken from a file. Nothing is sent
and nothing is kept; with a data folder, durations come from its baselines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from topstitch.cli.command import FAILED, Door, command, fail
from topstitch.governance.policy import NO_LAW, Law

if TYPE_CHECKING:
    from datetime import datetime

    from topstitch.cli.checking import Compiled
    from topstitch.connectors.registry import Reader, Registry
    from topstitch.drill.rehearsal import PlannedReading, PlannedWrite, Rehearsed
    from topstitch.model.event import TriggerEvent
    from topstitch.model.orders import LookUpCall, Outcome, ReadCall, ResolveCall
    from topstitch.settings import Settings

VALUE_LENGTH_MAX: Final = 100


@command("plan")
@click.argument("file", metavar="FILE")
@click.option(
    "--event", "event_file", required=True, metavar="FILE", help="The event's data as JSON, or a whole CloudEvent."
)
@click.option(
    "--fixtures", metavar="FILE", help="Take the context from here: {context: {read: value}, people: {who: [...]}}."
)
def plan(door: Door, file: str, event_file: str, fixtures: str | None) -> None:
    """Print what an event would write, and of whom it would ask what. Nothing is sent."""
    from topstitch.cli.checking import compiled
    from topstitch.cli.torture import event_data

    one = compiled(door, file)
    told = door.run(_plan(door, one, event_data(event_file) or {}, event_data(fixtures)))
    rehearsed, seconds = told
    door.screen.data(_document(one, rehearsed, seconds))
    _print(door, one, rehearsed, seconds)
    if rehearsed.problem is not None:
        fail(FAILED)


async def _plan(
    door: Door, one: Compiled, data: Mapping[str, Any], fixtures: Mapping[str, Any] | None
) -> tuple[Rehearsed, Mapping[str, float]]:
    from topstitch.cli.clocks import clock_of
    from topstitch.connectors.connections import Connections, load_connections
    from topstitch.connectors.registry import Registry

    settings = door.settings()
    clock = clock_of(settings)
    known = Connections() if fixtures is not None else load_connections(settings.connections)
    rates = (
        load_connections(settings.connections, check_credentials=False).rates
        if settings.connections.exists()
        else known.rates
    )
    registry = Registry(known, clock)
    law, seconds = await _known_here(settings, one.plan.workflow)
    hands = Fixtures(one, fixtures) if fixtures is not None else reading_hands(registry, law, clock.now())
    try:
        event = event_of(one, data, clock.now())
        require_fit(one, event)
        rehearsed = await rehearsed_by(one, hands, event, settings, rates, law)
    finally:
        await registry.close()
    return rehearsed, seconds


async def rehearsed_by(
    one: Compiled,
    hands: ReadingHands | Fixtures,
    event: TriggerEvent,
    settings: Settings,
    rates: Mapping[str, str],
    law: Law = NO_LAW,
) -> Rehearsed:
    """Return what an event would do."""
    from topstitch.drill.rehearsal import rehearse
    from topstitch.trigger.match import instance_id

    name = instance_id(event, one.plan.workflow)
    return await rehearse(
        one.plan,
        event,
        name,
        hands,
        event.received_at,
        rates=rates,
        environment=settings.environment,
        law=law,
        events={f"{c.name}.{name}": event.data for c in one.contracts.values() for name, event in c.events.items()},
    )


def require_fit(one: Compiled, event: TriggerEvent) -> None:
    """Raise ``RequestError`` naming every field when the event is not what its system declares, as a door would."""
    from topstitch.governance.forms import misfits
    from topstitch.trigger.cloudevents import invalid

    wrong = misfits(event.data, one.event_schema or {}, "/data")
    if wrong:
        raise invalid("event-invalid", wrong)


class ReadingHands:
    """Hands that hold a way to get readers, and nothing else: there is no writer to be had from here."""

    def __init__(self, reader: Any, resolve: Any) -> None:
        self._reader, self._resolve = reader, resolve

    async def read(self, call: ReadCall) -> Outcome:
        """Read a system."""
        reader: Reader = self._reader(call.system)
        outcome: Outcome = await reader.read(
            call.action, call.params, key=call.key, timeout_seconds=call.timeout_seconds
        )
        return outcome

    async def look_up(self, call: LookUpCall) -> Outcome:
        """Ask whether something is there already."""
        reader: Reader = self._reader(call.system)
        outcome: Outcome = await reader.look_up(
            call.action, call.params, call.idempotency_key, timeout_seconds=call.timeout_seconds
        )
        return outcome

    async def resolve(self, call: ResolveCall) -> Outcome:
        """Find the people."""
        outcome: Outcome = await self._resolve(call)
        return outcome


def reading_hands(registry: Registry, law: Law = NO_LAW, now: datetime | None = None) -> ReadingHands:
    """Return hands on the readers of a registry; people are found as the engine finds them."""
    from topstitch.bootstrap.asking import found_people
    from topstitch.foundation.clock import SystemClock

    moment = now or SystemClock().now()

    async def resolve(call: ResolveCall) -> Outcome:
        return await found_people(registry, call, law, moment)

    return ReadingHands(registry.reader, resolve)


class Fixtures:
    """Hands that read from a file: what is not in it is said with what to add."""

    def __init__(self, one: Compiled, given: Mapping[str, Any]) -> None:
        self._one = one
        self._context: Mapping[str, Any] = given.get("context", {})
        self._people: Mapping[str, Any] = given.get("people", {})

    async def read(self, call: ReadCall) -> Outcome:
        """Return what the file says of a read of the context."""
        from topstitch.model.orders import Outcome, Problem, Result

        name = call.key.removeprefix("@context/").partition("/")[0]
        if name not in self._context:
            message = f"the fixtures hold nothing for {name} ({call.system}.{call.action}); add it under context"
            return Outcome(result=Result.REFUSED, problem=Problem(code="no-fixture", message=message))
        return Outcome(result=Result.OK, value=self._context[name])

    async def look_up(self, call: LookUpCall) -> Outcome:
        """Say that nothing is there yet."""
        from topstitch.model.orders import Outcome, Result

        del call
        return Outcome(result=Result.OK, value=None)

    async def resolve(self, call: ResolveCall) -> Outcome:
        """Return the people of the file; who is not in it goes by what they were looked for as."""
        from topstitch.connectors.people import EXCLUDED_BECAUSE
        from topstitch.model.orders import Outcome, Result

        found = [
            {**(person if isinstance(person, dict) else {"id": person, "name": person}), "for": who}
            for who in call.who
            for person in self._people.get(who, [who])
        ]
        barred = {name.lower() for name in call.exclude}
        kept = [p for p in found if barred.isdisjoint({str(p.get("id")).lower(), str(p.get("email")).lower()})]
        excluded = [{"person": str(p.get("id")), "why": EXCLUDED_BECAUSE} for p in found if p not in kept]
        return Outcome(result=Result.OK, value={"people": kept, "excluded": excluded})


def event_of(one: Compiled, given: Mapping[str, Any], now: Any) -> TriggerEvent:
    """Return the event: a whole CloudEvent as it is, or data alone under an id of its own."""
    from topstitch.foundation.ids import derived_id
    from topstitch.model.event import TriggerEvent

    whole = "specversion" in given
    data: Mapping[str, Any] = given.get("data", {}) if whole else given
    return TriggerEvent(
        id=str(given["id"]) if whole else derived_id("evt", "plan", one.plan.digest),
        source=str(given.get("source", "topstitch/plan")) if whole else "topstitch/plan",
        type=one.plan.trigger.event_type,
        data=data,
        received_at=now,
        signature="plan",
    )


async def _known_here(settings: Settings, workflow: str) -> tuple[Law, Mapping[str, float]]:
    """Return the policy in force in this folder, and how long each step usually takes where it was measured."""
    from topstitch.bootstrap.database import open_store
    from topstitch.bootstrap.law import Laws
    from topstitch.store import rollups
    from topstitch.store.database import sqlite_path

    if settings.is_sqlite and not sqlite_path(settings.database).exists():
        return NO_LAW, {}
    with open_store(settings, threads=False) as store:
        law = await Laws(store, settings.environment).refresh()
        return law, {b.step: b.median_ms / 1000 for b in await rollups.baselines_of(store, workflow)}


def _print(door: Door, one: Compiled, told: Rehearsed, seconds: Mapping[str, float]) -> None:
    from topstitch.drill.rehearsal import CLOSE, OPEN

    screen, say = door.screen, door.screen.print
    say(screen.style(f"{one.plan.title}: {told.title}", bold=True) + f"   {one.plan.workflow} {one.plan.version}")
    say(f"Reads     {', '.join(f'{name} ({system})' for name, system, _ in told.reads) or 'nothing'}")
    if told.problem is not None:
        say(f"{screen.mark('bad')} Nothing would be written: {told.problem}")
        return
    say("Writes")
    for number, write in enumerate(told.writes, 1):
        _print_write(door, one, number, write, told, seconds.get(write.step))
    for step in told.already_there:
        say(f"  {screen.mark('idle')} {step}: is there already; taken as it is, nothing is sent")
    for step, why in told.left_out.items():
        say(f"  {screen.mark('idle')} {step}: {why}")
    for step in told.waits:
        say(f"  {screen.mark('wait')} {step}: waits; here it is assumed to come, and to end well")
    say("Rollback, in this order")
    for number, write in enumerate(told.rollback, 1):
        say(f"  {number}. {write.step}: {write.system}.{write.action} {_short(write.payload)}")
    for step, why in told.residue:
        say(f"  remains: {step} ({why})")
    _print_duration(door, told, seconds)
    screen.note(f"Nothing was sent. Values in {OPEN}{CLOSE} are given by the real work.")


def _print_write(
    door: Door, one: Compiled, number: int, write: PlannedWrite, told: Rehearsed, seconds: float | None
) -> None:
    screen, say = door.screen, door.screen.print
    title = one.plan.steps[write.step].title
    usual = f"   usually {seconds:.0f} s" if seconds is not None else ""
    say(f"  {number}. {title}: {write.system}.{write.action}   key {write.key}{usual}")
    for approval in told.approvals:
        if approval.step == write.step:
            need = f" ({approval.quorum} of them)" if approval.quorum > 1 else ""
            say(f"     {screen.mark('wait')} asks {', '.join(approval.people)}{need}")
            for person, why in approval.excluded:
                say(f"       not {person}: {why}")
    payload = write.payload if isinstance(write.payload, Mapping) else {"": write.payload}
    for name, value in payload.items():
        say(f"       {name}: {_short(value)}")
    for reading in told.read_backs:
        if reading.step == write.step:
            say(f"     then reads {reading.system}.{reading.action}: {reading.that}")


def _print_duration(door: Door, told: Rehearsed, seconds: Mapping[str, float]) -> None:
    from topstitch.foundation.timetext import duration_text

    measured = [seconds[write.step] for write in told.writes if write.step in seconds]
    if measured:
        door.screen.print(f"Takes about {duration_text(sum(measured))} of the systems' time, without the approvals.")


def _short(value: Any) -> str:
    from topstitch.foundation.canonical import canonical_bytes

    text = value if isinstance(value, str) else canonical_bytes(value).decode()
    return text if len(text) <= VALUE_LENGTH_MAX else text[: VALUE_LENGTH_MAX - 1] + "…"


def _document(one: Compiled, told: Rehearsed, seconds: Mapping[str, float]) -> dict[str, Any]:
    return {
        "workflow": one.plan.workflow,
        "version": one.plan.version,
        "instance": told.instance,
        "title": told.title,
        "problem": told.problem,
        "reads": [{"name": n, "system": s, "action": a} for n, s, a in told.reads],
        "writes": [_written(write, seconds) for write in told.writes],
        "already_there": told.already_there,
        "left_out": told.left_out,
        "waits": told.waits,
        "approvals": [
            {
                "step": a.step,
                "people": list(a.people),
                "quorum": a.quorum,
                "payload_digest": a.payload_digest,
                "excluded": [{"person": person, "why": why} for person, why in a.excluded],
            }
            for a in told.approvals
        ],
        "read_backs": [_reading(reading) for reading in told.read_backs],
        "told": [list(who) for who in told.told],
        "rollback": [_written(write, {}) for write in told.rollback],
        "residue": [{"step": step, "why": why} for step, why in told.residue],
    }


def _written(write: PlannedWrite, seconds: Mapping[str, float]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "step": write.step,
        "system": write.system,
        "action": write.action,
        "payload": write.payload,
        "key": write.key,
        "run_time": list(write.run_time),
        "released_by": write.released_by,
    }
    return document | ({"usual_seconds": seconds[write.step]} if write.step in seconds else {})


def _reading(reading: PlannedReading) -> dict[str, Any]:
    return {
        "step": reading.step,
        "system": reading.system,
        "action": reading.action,
        "params": reading.params,
        "that": reading.that,
        "within_seconds": reading.within_seconds,
    }
