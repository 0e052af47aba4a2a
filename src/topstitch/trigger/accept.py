"""Decides what becomes of a delivery: taken and kept for ever, known already, or refused with the field named.

The api hands over raw bytes and headers, the cli an event it made; both get a ``Verdict``. An
event is read, proved, checked against its contract, matched with the definitions in force,
and then kept with the instances it starts in one transaction; only after that commit does
the caller answer. The same delivery again, whenever, gets the first outcome and starts
nothing. What is refused starts nothing either, and is kept raw for an operator to look at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from topstitch.connectors.connections import HookSettings
from topstitch.connectors.registry import Registry
from topstitch.foundation.canonical import canonical_bytes, parse
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import NotAllowedError, NotFoundError, RequestError
from topstitch.governance.forms import Misfit, misfits
from topstitch.language.expressions import ExpressionError
from topstitch.model.action import EventContract
from topstitch.model.event import TriggerEvent
from topstitch.plan.plan import Plan
from topstitch.store import Accepted, Store, events
from topstitch.trigger import cloudevents
from topstitch.trigger.cloudevents import CloudEvent, invalid
from topstitch.trigger.match import Begin, starts
from topstitch.trigger.signatures import verify

EVENTS_HOOK: Final = "events"
"""A hook of this name says how senders of CloudEvents prove who they are; without one anybody who reaches us may."""
KEPT_HEADERS: Final = frozenset(
    {
        "content-type", "user-agent", "date", "traceparent", "tracestate", "x-request-id", "x-forwarded-for",
        "webhook-id", "webhook-timestamp", "webhook-signature", "x-signature",
    }
)  # fmt: skip
"""Headers that are evidence and no credential; the others are not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What accepting needs: where events are kept, who reads them, what they may start."""

    store: Store
    connectors: Registry
    clock: Clock
    plans: Callable[[], Awaitable[Sequence[Plan]]]
    """The definitions in force."""
    begin: Begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Bytes as they came in. Header names are in lower case."""

    door: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def evidence(self) -> dict[str, str]:
        """The headers that are kept."""
        return {n: v for n, v in self.headers.items() if n in KEPT_HEADERS or n.startswith("ce-")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is answered: the event's identity, whether it was known, and what it started."""

    event: str
    source: str
    type: str
    first: bool
    instances: Sequence[str]
    same_body: bool = True

    def document(self) -> dict[str, Any]:
        """Return the answer's body."""
        body: dict[str, Any] = {"event": self.event, "source": self.source, "type": self.type}
        body["instances"] = list(self.instances)
        if not self.first:
            body["duplicate"] = True
            if not self.same_body:
                body["note"] = "an event with this source and id came before with other content; the first one counts"
        return body


async def accept_hook(intake: Intake, name: str, delivery: Delivery) -> Verdict:
    """Take a vendor's own webhook: its signature, its shape, its identity."""
    hook = intake.connectors.connections.hooks.get(name)
    if hook is None:
        raise NotFoundError("hook-unknown", f"there is no hook {name!r}; add [hooks.{name}] to connections.toml")
    async with _Refusals(intake, delivery):
        signature = _proved(intake, hook, delivery)
        event = _normalised(intake, hook, delivery, signature)
        return await _keep(intake, event, delivery.body, delivery.evidence)


async def accept_cloud_event(intake: Intake, delivery: Delivery) -> Verdict:
    """Take one CloudEvent, structured or binary."""
    async with _Refusals(intake, delivery):
        signature = _events_signature(intake, delivery)
        event = _checked(intake, cloudevents.read_one(delivery.headers, delivery.body), signature)
        return await _keep(intake, event, delivery.body, delivery.evidence)


async def accept_batch(intake: Intake, delivery: Delivery) -> list[Verdict | RequestError]:
    """Take a batch: each event by itself, so that one that is refused holds no other up."""
    async with _Refusals(intake, delivery):
        signature = _events_signature(intake, delivery)
        documents = cloudevents.read_batch(delivery.body)
    return [await _one_of_batch(intake, delivery, document, signature) for document in documents]


async def accept_made(intake: Intake, event: CloudEvent) -> Verdict:
    """Take an event that an operator made at the command line."""
    return await _keep(intake, _checked(intake, event, "operator"), b"", {})


async def _one_of_batch(intake: Intake, delivery: Delivery, document: Any, signature: str) -> Verdict | RequestError:
    alone = Delivery(door=delivery.door, body=canonical_bytes(document), headers=delivery.headers)
    try:
        async with _Refusals(intake, alone):
            event = _checked(intake, cloudevents.event_of(document), signature)
            return await _keep(intake, event, alone.body, delivery.evidence)
    except RequestError as refused:
        return refused


class _Refusals:
    """Keeps what is refused, raw, and tells the sender under which number."""

    def __init__(self, intake: Intake, delivery: Delivery) -> None:
        self._intake, self._delivery = intake, delivery

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, RequestError):
            return
        delivery = self._delivery
        problem = {"code": error.code, "message": error.message, **({"detail": error.detail} if error.detail else {})}
        kept = await events.reject(
            self._intake.store,
            delivery.body,
            door=delivery.door,
            problem=problem,
            now=self._intake.clock.now(),
            headers=delivery.evidence,
        )
        error.detail["rejected"] = kept


def _proved(intake: Intake, hook: HookSettings, delivery: Delivery) -> str:
    secret = intake.connectors.connections.read(hook.secret)
    username = intake.connectors.connections.read(hook.username) if hook.username else None
    for value in (secret, username):
        if value:
            intake.connectors.redactor.learn(value)
    return verify(hook.scheme, delivery.headers, delivery.body, intake.clock.now(), secret, username)


def _events_signature(intake: Intake, delivery: Delivery) -> str:
    hook = intake.connectors.connections.hooks.get(EVENTS_HOOK)
    return _proved(intake, hook, delivery) if hook else "none"


def _normalised(intake: Intake, hook: HookSettings, delivery: Delivery, signature: str) -> TriggerEvent:
    try:
        raw = parse(delivery.body)
    except ValueError as error:
        raise invalid("json-invalid", [Misfit("", "json", f"is no JSON ({error})")]) from None
    if not isinstance(raw, Mapping):
        raise invalid("event-invalid", [Misfit("", "type", "must be one notification as a JSON object")])
    try:
        event = intake.connectors.normalise_event(hook.connection, "", raw)
    except NotAllowedError:
        raise
    except RequestError as error:
        raise _with_field(error) from None
    contract = intake.connectors.contract_of(hook.connection)
    declared = contract.events.get(event.name)
    if declared is not None:
        _require_fit(event.data, declared, "")
    return TriggerEvent(
        id=event.id,
        source=event.source,
        type=f"{contract.name}.{event.name}",
        data=event.data,
        received_at=intake.clock.now(),
        signature=signature,
        trace=delivery.headers.get("traceparent"),
        trace_state=delivery.headers.get("tracestate"),
    )


def _with_field(error: RequestError) -> RequestError:
    """Give a connector's refusal the form of the others: every field named by its pointer."""
    if "field" in error.detail and "errors" not in error.detail:
        pointer = "/" + str(error.detail["field"]).replace(".", "/")
        error.detail["errors"] = [{"pointer": pointer, "code": error.code, "detail": error.message}]
    return error


def _checked(intake: Intake, event: CloudEvent, signature: str) -> TriggerEvent:
    _require_fit(event.data, _contract(intake, event.type), "/data")
    return TriggerEvent(
        id=event.id,
        source=event.source,
        type=event.type,
        data=event.data,
        time=event.time,
        received_at=intake.clock.now(),
        signature=signature,
        trace=event.trace,
        trace_state=event.trace_state,
    )


def _contract(intake: Intake, event_type: str) -> EventContract:
    """Return the newest contract of an event type; raise ``RequestError`` naming what there is."""
    system, _, name = event_type.partition(".")
    contracts = intake.connectors.contracts()
    refs = sorted((ref for ref in contracts if ref.partition("@")[0] == system), key=_major, reverse=True)
    for ref in refs:
        found = contracts[ref].events.get(name)
        if found is not None:
            return found
    known = [f"{system}.{each}" for ref in refs for each in contracts[ref].events]
    why = (
        f"is no event that is known; {system} sends {', '.join(known)}"
        if known
        else "names no connector that sends events"
    )
    raise invalid("event-unknown", [Misfit("/type", "enum", why)])


def _major(ref: str) -> int:
    major = ref.partition("@")[2]
    return int(major) if major.isdigit() else 0


def _require_fit(data: Mapping[str, Any], contract: EventContract, pointer: str) -> None:
    wrong = misfits(data, contract.data, pointer)
    if wrong:
        raise invalid("event-invalid", wrong)


async def _keep(intake: Intake, event: TriggerEvent, raw: bytes, headers: Mapping[str, str]) -> Verdict:
    try:
        new = starts(event, await intake.plans(), intake.begin, intake.clock.now())
    except ExpressionError as error:
        raise invalid("event-unfit", [Misfit("/data", "expression", error.message)]) from None
    accepted: Accepted = await intake.store.accept(event, new, raw=raw, headers=headers)
    return Verdict(
        event=event.id,
        source=event.source,
        type=event.type,
        first=accepted.first,
        instances=accepted.instances,
        same_body=accepted.same_body,
    )
