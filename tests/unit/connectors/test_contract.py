"""A connector class that breaks a rule cannot be defined, and what a good one says is flat JSON Schema."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from topstitch.connectors.contract import (
    CallContext,
    Connector,
    DateText,
    Done,
    Model,
    MoneyText,
    PersonalText,
    SecretText,
    describe,
    mismatches,
    notify,
    read,
    write,
)
from topstitch.connectors.registry import installed_contracts
from topstitch.model.action import ActionContract, Effect, Idempotency, SystemContract


class Thing(Model):
    """A thing."""

    name: PersonalText
    price: MoneyText | None = None
    due: DateText | None = None
    key: SecretText | None = None


class Made(Model):
    """A thing that was made."""

    id: str


def make(*actions: Callable[..., Any]) -> SystemContract:
    """Define a connector with these actions."""
    declared = {"name": "odd", "title": "Odd", **{action.__name__: action for action in actions}}
    made: type[Connector] = type("Odd", (Connector,), declared)
    return made.contract


@read()
async def find(self: Any, thing: Thing, call: CallContext) -> Done[Made] | None:
    """Find it."""
    return None


@read()
async def find_other(self: Any, made: Made, call: CallContext) -> Done[Made] | None:
    """Find it by something else."""
    return None


def writer(**declared: Any) -> Callable[..., Any]:
    """Return a write that declares this."""

    @write(**declared)
    async def create(self: Any, thing: Thing, call: CallContext) -> Done[Made]:
        """Create it."""
        return Done(Made(id="1"))

    return create


WHY = "it is made again"


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"idempotency": Idempotency.NATURAL}, "neither undo nor irreversible"),
        ({"idempotency": Idempotency.UNIQUE, "irreversible": WHY}, "names no lookup"),
        ({"idempotency": Idempotency.FIND_FIRST, "irreversible": WHY}, "names no lookup"),
        ({"idempotency": Idempotency.UNIQUE, "irreversible": WHY, "lookup": "find_it"}, "lookup find_it is no read"),
        ({"idempotency": Idempotency.UNIQUE, "irreversible": WHY, "lookup": "create"}, "lookup create is no read"),
        (
            {"idempotency": Idempotency.UNIQUE, "irreversible": WHY, "lookup": "find_other"},
            "must take the write's own input",
        ),
        ({"idempotency": Idempotency.NATURAL, "undo": "find"}, "undo find is no write"),
    ],
)
def test_a_write_that_leaves_a_question_open_cannot_be_defined(declared: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        make(writer(**declared), find, find_other)


def test_a_good_connector_is_described_flat() -> None:
    contract = make(writer(idempotency=Idempotency.UNIQUE, irreversible=WHY, lookup="find", settle="1m"), find)
    action = contract.actions["create"]
    assert action.input == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "x-personal": True},
            "price": {"type": "string", "format": "money"},
            "due": {"type": "string", "format": "date"},
            "key": {"type": "string", "x-secret": True},
        },
        "required": ["name"],
    }
    assert (action.effect, action.settle_seconds, action.doc) == (Effect.WRITE, 60, "Create it.")
    shown = describe(contract, {"tier": "silver", "owner": "us"})
    assert (shown["tier"], shown["actions"]["create"]["lookup"]) == ("silver", "find")


def test_a_notification_is_a_write_that_cannot_be_undone() -> None:
    @notify(idempotency=Idempotency.NONE, irreversible="it was read")
    async def tell(self: Any, thing: Thing, call: CallContext) -> Made:
        """Tell."""
        return Made(id="1")

    action = make(tell).actions["tell"]
    assert (action.effect, action.writes, action.undo) == (Effect.NOTIFY, True, None)


def test_V07_another_connector_may_stand_in_if_it_offers_the_same() -> None:
    wanted = SystemContract(
        name="a",
        major=1,
        title="A",
        actions={
            "get": ActionContract(name="get", effect=Effect.READ, output={"properties": {"x": {"type": "string"}}})
        },
    )
    same = SystemContract(name="b", major=1, title="B", actions=wanted.actions)
    less = SystemContract(
        name="c", major=1, title="C", actions={"get": ActionContract(name="get", effect=Effect.READ, output={})}
    )
    assert mismatches(wanted, same) == []
    assert mismatches(wanted, less) == ["c@1.get does not return x"]
    assert mismatches(wanted, SystemContract(name="d", major=1, title="D")) == ["d@1 has no action get"]


def test_the_trace_follows_from_the_instance_and_the_span_from_the_call() -> None:
    one, again = CallContext("k", "ins_1").traceparent, CallContext("k", "ins_1", attempt=2).traceparent
    other = CallContext("k", "ins_2").traceparent
    assert one is not None
    assert again is not None
    assert other is not None
    assert one.split("-")[1] == again.split("-")[1] != other.split("-")[1]
    assert one.split("-")[2] != again.split("-")[2]
    assert CallContext("k").traceparent is None
    assert CallContext("k", "ins_1", trace="given").traceparent == "given"


def test_C05_every_shipped_write_says_how_it_is_repeated_and_taken_back() -> None:
    writes = [a for contract in installed_contracts().values() for a in contract.actions.values() if a.writes]
    assert len(writes) > 15
    assert all(a.idempotency and (a.undo or a.irreversible) for a in writes)
    assert all(a.lookup for a in writes if a.idempotency and a.idempotency.looks_first)
