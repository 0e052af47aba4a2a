"""The contracts the language is tested with are those the shipped connectors make."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest

from support.contracts import CONTRACTS
from support.definitions import onboarding_text
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.model.action import JsonSchema, SystemContract

SHIPPED = ("workday", "entra_id", "servicenow", "salesforce", "email", "slack")


def shipped() -> dict[str, SystemContract]:
    found: dict[str, SystemContract] = {}
    for name in SHIPPED:
        module = importlib.import_module(f"topstitch.connectors.{name}.connector")
        for _, member in inspect.getmembers(module, inspect.isclass):
            contract = getattr(member, "contract", None)
            if isinstance(contract, SystemContract):
                found[contract.ref] = contract
    return found


def outline(schema: JsonSchema) -> dict[str, Any]:
    """What the language reads of a schema."""
    required = schema.get("required", ())
    return {
        name: (each.get("type"), each.get("format"), each.get("x-personal", False), name in required, each.get("enum"))
        for name, each in schema.get("properties", {}).items()
    }


@pytest.mark.parametrize("ref", sorted(CONTRACTS))
def test_a_fixture_contract_equals_the_shipped_one(ref: str) -> None:
    mine, real = CONTRACTS[ref], shipped()[ref]
    for name, action in mine.actions.items():
        other = real.actions[name]
        assert (outline(action.input), outline(action.output)) == (outline(other.input), outline(other.output)), name
        marks = ("effect", "idempotency", "lookup", "undo", "risk_floor", "settle_seconds")
        assert [getattr(action, mark) for mark in marks] == [getattr(other, mark) for mark in marks], name
        assert bool(action.irreversible) == bool(other.irreversible), name
    for name, event in mine.events.items():
        assert outline(event.data) == outline(real.events[name].data), name


def test_V05_the_shipped_onboarding_is_right_against_the_shipped_connectors() -> None:
    result = check(load(onboarding_text(), "f"), shipped())
    assert result.findings == ()
    assert result.ok
