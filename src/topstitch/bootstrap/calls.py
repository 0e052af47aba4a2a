"""Makes the calls that an instance orders: reads, writes, people, notices, other instances.

``Calls.perform`` is what the engine is handed. Whoever reads gets a handle that cannot
write; a write goes out only with a grant for exactly its payload. What is impossible is not
only refused but recorded. Every call ends in an outcome: a connection that is not configured
is one too, and nothing was sent then.
"""

from __future__ import annotations

from typing import assert_never

from msgspec.structs import replace

from topstitch import lifecycle
from topstitch.bootstrap.asking import found_people
from topstitch.bootstrap.holding import Holding
from topstitch.bootstrap.law import Laws
from topstitch.bootstrap.plans import Plans
from topstitch.connectors import notices, people
from topstitch.connectors.registry import Registry
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import ConflictError, ConnectorError, NotAllowedError, NotFoundError, TopstitchError
from topstitch.foundation.timetext import rfc3339
from topstitch.foundation.w3c import Followed, followed, handed_down
from topstitch.governance.policy import NO_LAW
from topstitch.model.event import TriggerEvent
from topstitch.model.kinds import Kind
from topstitch.model.orders import (
    Call,
    DriftCall,
    InboxCall,
    LookUpCall,
    Outcome,
    Problem,
    ReadCall,
    ReportCall,
    ResolveCall,
    Result,
    StartCall,
    TellCall,
    WriteCall,
)
from topstitch.model.record import ENGINE, Draft, Stage
from topstitch.office.letters import Letters
from topstitch.plan.plan import Plan
from topstitch.store import NotYet, Store, deciding, discrepancies, events
from topstitch.trigger.match import instance_id, new_instance

OURSELVES = "topstitch"
"""The source of events that a workflow starts another one with."""


class Calls:
    """The hands of the engine's core."""

    def __init__(
        self,
        store: Store,
        connectors: Registry,
        plans: Plans,
        clock: Clock,
        environment: str,
        laws: Laws | None = None,
        letters: Letters | None = None,
    ) -> None:
        self._store, self._connectors, self._plans, self._clock = store, connectors, plans, clock
        self._environment = environment
        self._laws = laws
        self._letters = letters
        self._holding = Holding(store, clock, self._tell)

    async def perform(self, plan: Plan, instance: str, call: Call) -> Outcome:
        """Make one call, unless its connection or seam is paused; whatever comes of it is an outcome."""
        held = await self._holding.held(plan, call)
        if held is not None:
            return held
        return await self._holding.judged(plan, instance, call, await self._made(instance, call))

    async def _made(self, instance: str, call: Call) -> Outcome:
        try:
            return await self._dispatch(instance, call)
        except NotAllowedError as error:
            await self._record_refusal(instance, call, error)
            return _outcome(Result.REFUSED, error)
        except NotFoundError as error:
            return _outcome(Result.REFUSED, error)
        except ConnectorError:
            raise
        except TopstitchError as error:
            # the connection is not usable as configured: nothing was sent
            return _outcome(Result.CREDENTIAL, error)

    async def _dispatch(self, instance: str, call: Call) -> Outcome:
        match call:
            case ReadCall():
                reader = self._connectors.reader(call.system)
                return await reader.read(
                    call.action, call.params, key=call.key, instance=instance, timeout_seconds=call.timeout_seconds
                )
            case LookUpCall():
                reader = self._connectors.reader(call.system)
                return await reader.look_up(
                    call.action,
                    call.params,
                    call.idempotency_key,
                    instance=instance,
                    timeout_seconds=call.timeout_seconds,
                )
            case WriteCall():
                return await self._connectors.writer(call.system).write(call)
            case ResolveCall():
                return await self._resolve(call)
            case TellCall():
                return await self._tell(instance, call)
            case InboxCall():
                found = await events.inbox(self._store, call.event_type, call.since)
                return Outcome(result=Result.OK, value={"events": [_offered(event) for event in found]})
            case StartCall():
                return await self._start(call)
            case ReportCall():
                return await self._report(call)
            case DriftCall():
                same, of = await discrepancies.same_in_a_while(
                    self._store, call.workflow, call.record, call.field, call.since
                )
                return Outcome(result=Result.OK, value={"same": same, "of": of})
            case _:
                assert_never(call)

    async def _resolve(self, call: ResolveCall) -> Outcome:
        law = self._laws.current() if self._laws is not None else NO_LAW
        return await found_people(self._connectors, call, law, self._clock.now())

    async def _tell(self, instance: str, call: TellCall) -> Outcome:
        """Find the people once, tell each, and return who they are: a task learns from it whose it is."""
        found = [dict(person) for person in call.people]
        if not found:
            question = ResolveCall(
                key=call.key, who=call.who, subject=call.subject, requester=call.requester, owner=call.owner
            )
            resolved = await people.resolve(self._connectors, question)
            if resolved.result is not Result.OK:
                return resolved
            found = resolved.value["people"]
        if not found:
            message = f"nobody was found for {', '.join(call.who)}; name them in the directory or under [people]"
            return Outcome(result=Result.REFUSED, problem=Problem(code="nobody-to-tell", message=message))
        outcome = await self._told(instance, replace(call, people=tuple(found)))
        if outcome.result is not Result.OK:
            return outcome
        return replace(outcome, value={**(outcome.value or {}), "people": found})

    async def _told(self, instance: str, call: TellCall) -> Outcome:
        """Send a notice; about an approval, to each person a letter of their own with all the facts."""
        approval = call.notice.get("approval")
        if approval is None or self._letters is None:
            return await notices.tell(self._connectors, call, instance=instance)
        mail = await self._letters.about(str(approval), str(call.notice.get("title", "")))
        if mail is None:  # decided meanwhile: there is nothing left to ask
            return Outcome(result=Result.OK, value={"sent": [], "skipped": [person["id"] for person in call.people]})
        outcome = await notices.tell(self._connectors, call, instance=instance, mail=mail)
        for post in (outcome.value or {}).get("posts", ()) if outcome.result is Result.OK else ():
            message = deciding.Message(approval=str(approval), **post)
            await deciding.keep_message(self._store, message, self._clock.now())
        return outcome

    async def _start(self, call: StartCall) -> Outcome:
        """Start another workflow; the same key, called again, gives the same instance."""
        plan = await self._plans.of(call.workflow)
        law = await self._laws.refresh() if self._laws is not None else NO_LAW
        now, about = self._clock.now(), followed()
        carried = about if about is not None and about.instance == call.parent else Followed(call.parent)
        event = TriggerEvent(
            id=call.idempotency_key,
            source=OURSELVES,
            type=plan.trigger.event_type,
            data=call.data,
            time=now,
            received_at=now,
            signature=OURSELVES,
            trace=handed_down(call.parent, call.parent_step, carried.incoming).header(),
            trace_state=carried.state,
        )
        identity = instance_id(event, plan.workflow)
        first = lifecycle.begin(
            plan,
            event,
            identity,
            now,
            rates=self._connectors.connections.rates,
            environment=self._environment,
            policy=law.in_force.digest if law.in_force else None,
            parent=(call.parent, call.parent_step),
        )
        if first is None:
            message = f"{call.workflow} does not start on these data: its trigger's condition is false; correct with:"
            return Outcome(result=Result.REFUSED, problem=Problem(code="not-started", message=message))
        accepted = await self._store.accept(event, [new_instance(plan, identity, first)])
        return Outcome(result=Result.OK, value={"instance": accepted.instances[0]})

    async def _report(self, call: ReportCall) -> Outcome:
        """Tell a parent how its child ended; told twice, it hears it once."""
        now = self._clock.now()
        draft = Draft(
            kind=Kind.CHILD_ENDED,
            at=now,
            actor=ENGINE,
            stage=Stage.EXECUTION,
            step=call.parent_step,
            body=dict(call.body),
        )
        try:
            guard = NotYet(Kind.CHILD_ENDED, call.parent_step)
            await self._store.append_outside(call.parent, [draft], now, guards=[guard])
        except NotFoundError:
            raise
        except ConflictError:
            pass  # told before
        return Outcome(result=Result.OK)

    async def _record_refusal(self, instance: str, call: Call, error: NotAllowedError) -> None:
        body = {
            "what": f"{type(call).__name__} {getattr(call, 'action', '')} {call.key}".strip(),
            "because": error.code,
        }
        now = self._clock.now()
        draft = Draft(kind=Kind.ATTEMPT_REFUSED, at=now, actor=ENGINE, stage=Stage.EXECUTION, body=body)
        await self._store.append_outside(instance, [draft], now)


def _outcome(result: Result, error: TopstitchError) -> Outcome:
    return Outcome(result=result, problem=Problem(code=error.code, message=error.message))


def _offered(event: TriggerEvent) -> dict[str, object]:
    head = {"id": event.id, "source": event.source, "type": event.type, "received_at": rfc3339(event.received_at)}
    return {"event": head, "data": event.data}
