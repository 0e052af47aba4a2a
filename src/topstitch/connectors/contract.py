"""Decides how a connector says what it can do, and checks that what it says holds together.

An adapter is a class whose methods are marked ``read``, ``write`` or ``notify``; their
typed pydantic models become JSON Schemas, and the class becomes a ``SystemContract`` when
it is defined. A class that breaks a rule (a write without undo or a reason, a look-up that
is no read) cannot be imported. The registry calls ``Connector.perform`` and nothing else.
An adapter never retries, looks up or decides: it translates one call and its answer.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Generic, TypeVar

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from topstitch.connectors.credentials import Credentials, Redactor
from topstitch.connectors.limits import Limits
from topstitch.connectors.schemas import check_date, check_money, schema_of
from topstitch.foundation.clock import Clock
from topstitch.foundation.errors import PermanentError, RequestError, UnknownOutcomeError
from topstitch.foundation.timetext import parse_duration
from topstitch.foundation.w3c import followed, header_of
from topstitch.model.action import ActionContract, Effect, EventContract, Idempotency, SystemContract

MoneyText = Annotated[str, AfterValidator(check_money), WithJsonSchema({"type": "string", "format": "money"})]
"""``2499.99 USD``."""
DateText = Annotated[str, AfterValidator(check_date), WithJsonSchema({"type": "string", "format": "date"})]
"""``2026-11-23``."""
PersonalText = Annotated[str, Field(json_schema_extra={"x-personal": True})]
"""Text about a person: committed to in the journal, kept apart, erasable."""
SecretText = Annotated[str, Field(json_schema_extra={"x-secret": True})]
"""Text that no journal, log or screen ever shows."""


class Model(BaseModel):
    """Base of every input and output: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def __repr__(self) -> str:
        """Name the fields that are set, never their values: they are people's, or secret."""
        return f"{type(self).__name__}({', '.join(sorted(self.model_fields_set))})"

    __str__ = __repr__


ValueT = TypeVar("ValueT")


class Done(msgspec.Struct, Generic[ValueT], frozen=True):
    """What an action came to: its output, whether it was only found, the system's own id and link of the record."""

    value: ValueT
    found: bool = False
    record: str | None = None
    url: str | None = None


class Sent(msgspec.Struct, frozen=True):
    """The last request of a call, kept until it is known whether somebody must see it."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(slots=True)
class CallContext:
    """What a call carries besides its params; ``sent`` is filled in by the transport."""

    key: str = ""
    instance: str = ""
    attempt: int = 1
    timeout_seconds: float = 30
    trace: str | None = None
    sent: Sent | None = field(default=None, repr=False)

    @property
    def first(self) -> bool:
        """Whether no earlier try of the same call can have left anything."""
        return self.attempt <= 1

    @property
    def traceparent(self) -> str | None:
        """The W3C trace header: the one given, else the span of this attempt in the trace of the instance."""
        if self.trace or not self.instance:
            return self.trace
        about = followed()
        incoming = about.incoming if about is not None and about.instance == self.instance else None
        return header_of(self.instance, self.key, self.attempt, incoming)

    @property
    def tracestate(self) -> str | None:
        """What the trigger's sender put beside its trace header, for every system that gets ours."""
        about = followed()
        return about.state if about is not None and about.instance == self.instance and not self.trace else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a connector is handed when a connection is opened."""

    alias: str
    base_url: str
    options: Mapping[str, Any]
    credentials: Credentials
    limits: Limits
    clock: Clock
    redactor: Redactor
    timeout_seconds: float
    folder: Path

    def option(self, name: str, default: str = "") -> str:
        """Return a setting of the connection as text."""
        return str(self.options.get(name, default))


@dataclass(frozen=True, slots=True)
class NormalisedEvent:
    """A vendor's notification in our words. ``source`` and ``id`` are its identity, for ever."""

    name: str
    id: str
    source: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Action:
    """One declared action: its contract, and the function with its models."""

    contract: ActionContract
    function: Callable[..., Awaitable[Any]]
    input: type[BaseModel]
    output: type[BaseModel]


class Connector:
    """One kind of system. Subclasses declare ``name``, ``major``, ``title``, ``kind``, actions and ``events``.

    ``perform`` takes and returns JSON shapes; everything typed lies behind it.
    """

    name: ClassVar[str] = ""
    major: ClassVar[int] = 1
    title: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    events: ClassVar[Mapping[str, type[BaseModel]]] = {}
    credential_names: ClassVar[tuple[str, ...]] = ()
    """Credentials that a connection must name."""
    option_names: ClassVar[tuple[str, ...]] = ()
    """Settings that a connection may have besides the common ones."""
    actions: ClassVar[Mapping[str, Action]] = {}
    contract: SystemContract

    def __init_subclass__(cls) -> None:
        """Make the class's contract, and refuse to define a class whose declarations break a rule."""
        super().__init_subclass__()
        if not cls.name:
            return
        cls.actions = {name: _declared(name, function) for name, function in _marked(cls)}
        cls.contract = SystemContract(
            name=cls.name,
            major=cls.major,
            title=cls.title,
            kind=cls.kind,
            actions={name: action.contract for name, action in cls.actions.items()},
            events={name: _event(name, model) for name, model in cls.events.items()},
        )
        problems = rule_problems(cls.contract)
        if problems:
            raise TypeError(f"{cls.__name__}: " + "; ".join(problems))

    def __init__(self, given: Given) -> None:
        self.given = given

    async def perform(self, action: str, params: Mapping[str, Any], call: CallContext) -> Done[Any]:
        """Carry one action out; raise a ``ConnectorError`` if the system did not do it."""
        declared = self.actions[action]
        try:
            taken = declared.input.model_validate(params)
        except ValidationError as error:
            raise PermanentError("params_invalid", params_message(self.name, action, error)) from None
        return as_json(await declared.function(self, taken, call))

    def normalise_event(self, name: str, raw: Mapping[str, Any]) -> NormalisedEvent:  # noqa: ARG002 -- overridden
        """Turn a vendor's notification into an event; ``name`` is what the sender claims, or empty."""
        raise RequestError(
            "event_unknown", f"{self.title} sends no event {name!r} that is understood; send it as a CloudEvent instead"
        )

    async def health(self) -> Mapping[str, Any]:
        """Prove that the system answers and takes the credential; raise a ``ConnectorError`` if not."""
        return {"ok": True}

    async def close(self) -> None:
        """Let go of what is open."""


def read(*, timeout: str = "30s") -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    """Mark a method as an action that changes nothing."""
    return _mark(effect=Effect.READ, timeout_seconds=float(parse_duration(timeout)))


def write(
    *,
    idempotency: Idempotency,
    lookup: str | None = None,
    undo: str | None = None,
    irreversible: str | None = None,
    risk_floor: int = 1,
    settle: str = "0s",
    timeout: str = "30s",
) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    """Mark a method as an action that changes a record."""
    return _mark(
        effect=Effect.WRITE,
        idempotency=idempotency,
        lookup=lookup,
        undo=undo,
        irreversible=irreversible,
        risk_floor=risk_floor,
        settle_seconds=float(parse_duration(settle)),
        timeout_seconds=float(parse_duration(timeout)),
    )


def notify(
    *,
    idempotency: Idempotency,
    irreversible: str,
    lookup: str | None = None,
    risk_floor: int = 1,
    timeout: str = "30s",
) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    """Mark a method as an action that tells somebody and cannot be taken back."""
    return _mark(
        effect=Effect.NOTIFY,
        idempotency=idempotency,
        lookup=lookup,
        irreversible=irreversible,
        risk_floor=risk_floor,
        timeout_seconds=float(parse_duration(timeout)),
    )


def rule_problems(contract: SystemContract) -> list[str]:
    """Return what is wrong with a contract; an empty list means that it holds together."""
    return [problem for action in contract.actions.values() for problem in _action_problems(contract, action)]


def mismatches(wanted: SystemContract, offered: SystemContract) -> list[str]:
    """Say why ``offered`` cannot stand in for ``wanted``; an empty list means that it can.

    It can when each action is there with the same effect, takes no more and returns no less.
    """
    problems = []
    for name, action in wanted.actions.items():
        other = offered.actions.get(name)
        if other is None:
            problems.append(f"{offered.ref} has no action {name}")
        else:
            problems += [f"{offered.ref}.{name} {why}" for why in _action_mismatches(action, other)]
    problems += [f"{offered.ref} sends no event {name}" for name in wanted.events if name not in offered.events]
    return problems


def describe(contract: SystemContract, manifest: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a contract as plain JSON, with the tier that the conformance kit proved."""
    shown: dict[str, Any] = msgspec.to_builtins(contract)
    shown["tier"] = (manifest or {}).get("tier", "none")
    shown["owner"] = (manifest or {}).get("owner", "")
    return shown


def params_message(system: str, action: str, error: ValidationError) -> str:
    """Say which params do not fit, by name and without their values."""
    places = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'params'}: {e['msg']}" for e in error.errors()[:5])
    return f"{system}.{action} cannot take these params ({places}); correct the step's with:"


def as_json(result: object) -> Done[Any]:
    """Turn what an adapter returned into JSON shapes; nothing stays nothing."""
    match result:
        case Done(value=BaseModel() as value):
            return Done(value.model_dump(exclude_none=True), result.found, result.record, result.url)
        case Done():
            return result
        case BaseModel():
            return Done(result.model_dump(exclude_none=True))
        case _:
            return Done(result)


def unreadable(system: str, what: str, *, writes: bool, **rest: Any) -> PermanentError | UnknownOutcomeError:
    """Return the error for an answer that cannot be understood.

    A read came to nothing. A write that was answered so may well have been done: that is an
    unknown outcome, which is looked up, and never a refusal, which would be done over by hand.
    """
    if writes:
        return UnknownOutcomeError(
            "answer_unreadable", f"{system} answered a write with {what}; it is looked up whether it was done", **rest
        )
    return PermanentError(
        "answer_unreadable", f"{system} answered with {what}; check the base_url and the version of the system", **rest
    )


_MARK: Final = "__topstitch_action__"


def _mark(**declared: Any) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    def marked(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        setattr(function, _MARK, declared)
        return function

    return marked


def _marked(cls: type) -> list[tuple[str, Callable[..., Awaitable[Any]]]]:
    found: dict[str, Callable[..., Awaitable[Any]]] = {}
    for base in reversed(cls.__mro__):
        found.update({name: f for name, f in vars(base).items() if hasattr(f, _MARK)})
    return list(found.items())


def _declared(name: str, function: Callable[..., Awaitable[Any]]) -> Action:
    hints = typing.get_type_hints(function)
    returned = hints.pop("return", None)
    models = [hint for hint in hints.values() if inspect.isclass(hint) and issubclass(hint, BaseModel)]
    output = _output_model(returned)
    if len(models) != 1 or output is None:
        raise TypeError(f"{name} takes one Model and a CallContext, and returns a Model, Done[Model] or Model | None")
    declared = getattr(function, _MARK)
    doc = inspect.getdoc(function) or ""
    contract = ActionContract(
        name=name,
        title=name.replace("_", " "),
        doc=doc,
        input=schema_of(models[0]),
        output=schema_of(output),
        **declared,
    )
    return Action(contract=contract, function=function, input=models[0], output=output)


def _output_model(hint: Any) -> type[BaseModel] | None:
    if inspect.isclass(hint) and issubclass(hint, BaseModel):
        return hint
    if typing.get_origin(hint) is Done or typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next((model for part in typing.get_args(hint) if (model := _output_model(part))), None)
    return None


def _event(name: str, model: type[BaseModel]) -> EventContract:
    return EventContract(
        name=name, title=name.replace("_", " "), doc=inspect.getdoc(model) or "", data=schema_of(model)
    )


def _action_problems(contract: SystemContract, action: ActionContract) -> list[str]:
    if not action.writes:
        return []
    problems = []
    if action.idempotency is None:
        problems.append(f"{action.name} does not say how it is made idempotent; declare idempotency")
    if not (action.undo or action.irreversible):
        problems.append(f"{action.name} declares neither undo nor irreversible; say how it is taken back, or why not")
    if action.idempotency is not None and action.idempotency.looks_first and not action.lookup:
        problems.append(f"{action.name} is {action.idempotency} and names no lookup; name the read that finds it")
    if action.undo and not _is(contract, action.undo, writes=True):
        problems.append(f"{action.name}: undo {action.undo} is no write of {contract.ref}; name one")
    if action.lookup:
        problems += _lookup_problems(contract, action, action.lookup)
    return problems


def _lookup_problems(contract: SystemContract, action: ActionContract, name: str) -> list[str]:
    if not _is(contract, name, writes=False):
        return [f"{action.name}: lookup {name} is no read of {contract.ref}; name one"]
    lookup = contract.actions[name]
    problems = []
    if lookup.input != action.input:
        problems.append(f"{action.name}: lookup {name} must take the write's own input")
    if lookup.output != action.output:
        problems.append(f"{action.name}: lookup {name} must return the write's output or nothing")
    return problems


def _is(contract: SystemContract, name: str, *, writes: bool) -> bool:
    action = contract.actions.get(name)
    return action is not None and action.writes == writes


def _action_mismatches(wanted: ActionContract, offered: ActionContract) -> list[str]:
    problems = []
    if wanted.writes != offered.writes:
        problems.append(f"is a {offered.effect} where a {wanted.effect} is wanted")
    takes, gives = offered.input.get("properties", {}), offered.output.get("properties", {})
    given, needed = wanted.input.get("properties", {}), wanted.output.get("properties", {})
    problems += [f"does not take {name}" for name in given if name not in takes]
    problems += [f"demands {name}" for name in offered.input.get("required", ()) if name not in given]
    problems += [f"does not return {name}" for name in needed if name not in gives]
    problems += [f"takes {name} in another type" for name in given if name in takes and _differs(given, takes, name)]
    problems += [
        f"returns {name} in another type" for name in needed if name in gives and _differs(needed, gives, name)
    ]
    if wanted.undo and wanted.undo != offered.undo:
        problems.append(f"is not undone by {wanted.undo}")
    return problems


def _differs(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    return any(one[name].get(word) != other[name].get(word) for word in ("type", "format"))
