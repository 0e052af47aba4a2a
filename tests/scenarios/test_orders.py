"""Order to cash: an ERP that is described in YAML alone, on a socket of its own, compared to the cent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.orders.erp import TOKEN, Erp, running
from support.world import World
from topstitch.foundation.clock import SimulatedClock
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.model.kinds import Kind
from topstitch.simulators.host import Simulators
from topstitch.store import items
from topstitch.trigger.accept import accept_made
from topstitch.trigger.cloudevents import CloudEvent
from topstitch.verifier.verify import verify

ORDERS = Path(__file__).parents[1] / "support/orders"
DEFINITION = (ORDERS / "order-to-cash.yaml").read_text()
CONNECTION = f"""
[connections.erp]
connector = "http:{ORDERS}/erp.yaml"
base_url = "{{url}}"

[connections.erp.credentials]
token = "file:secrets/erp"
"""


@pytest_asyncio.fixture(loop_scope="session")
async def erp() -> AsyncIterator[Erp]:
    async with running() as serving:
        yield serving


@pytest_asyncio.fixture(loop_scope="session")
async def world(sims: Simulators, clock: SimulatedClock, tmp_path: Path, erp: Erp) -> AsyncIterator[World]:
    """An installation whose connections name an ERP that no Python of ours knows."""
    for name in sims:
        sims[name].reset()
    clock.advance(3600)
    made = World(sims, clock, tmp_path)
    (tmp_path / "secrets" / "erp").write_text(TOKEN)
    connections = tmp_path / "connections.toml"
    connections.write_text(connections.read_text() + CONNECTION.format(url=erp.url))
    await made.open()
    await made.publish(DEFINITION)
    yield made
    troubles = made.troubles
    await made.close()
    assert not troubles, troubles


async def won(world: World, amount: float = 48_250.75) -> str:
    """Win a deal in the CRM; return its instance."""
    deals = world.sims["salesforce"].records
    deals.put("Account", "001ACME", {"Id": "001ACME", "Name": "Acme"})
    deal = {"Id": "006DEAL", "Name": "Acme renewal", "AccountId": "001ACME", "StageName": "Closed Won", "IsWon": True}
    deal |= {"IsClosed": True, "CloseDate": "2026-01-05", "Amount": amount, "CurrencyIsoCode": "USD"}
    deals.put("Opportunity", "006DEAL", deal)
    data = {"opportunity_id": "006DEAL", "name": deal["Name"], "account_id": "001ACME", "close_date": "2026-01-05"}
    event = CloudEvent(id="won-1", source="/crm", type="salesforce.opportunity_closed_won", data=data)
    return (await accept_made(world.house.intake, event)).instances[0]


def tickets(world: World) -> list[dict[str, Any]]:
    return [dict(one) for one in world.everything("servicenow", "incident")]


async def differs(world: World, name: str) -> list[dict[str, Any]]:
    found = await items.list_discrepancies(world.store, instance=name, status=None)
    return [{**one, "fields": {field["field"]: field for field in one["fields"]}} for one in found]


async def test_R09_a_cent_that_the_erp_changes_is_found_at_two_hours_and_ticketed_once(world: World, erp: Erp) -> None:
    name = await won(world)
    await world.run_for(minutes=30)
    (order,) = erp.orders.values()
    assert (order["net"], order["customer"], order["note"]) == ("48250.75 USD", "C-1001", name)
    order["net"] = "48250.76 USD"
    await world.run_for(minutes=85)
    assert not await differs(world, name)
    assert not tickets(world)
    await world.run_for(minutes=15)
    (found,) = await differs(world, name)
    off = found["fields"]["net"]
    assert (found["record"], found["severity"], list(found["fields"])) == ("order", "high", ["net"])
    assert (off["intended"], off["committed"], off["observed"]) == ("48250.75 USD", "48250.75 USD", "48250.76 USD")
    assert found["url"] == order["link"]
    (ticket,) = tickets(world)
    assert "net" in ticket["short_description"]
    checks = await world.records(name, Kind.CHECK_DONE)
    assert [(r.body["check"], r.body["differing"], r.body["matched"]) for r in checks] == [("T+2h", 1, 1)]
    await world.run_for(hours=23)
    assert len(tickets(world)) == len(await differs(world, name)) == 1


async def test_R09_set_right_again_the_ticket_is_closed_at_the_next_check(world: World, erp: Erp) -> None:
    name = await won(world)
    await world.run_for(minutes=30)
    (order,) = erp.orders.values()
    order["net"] = "48250.74 USD"
    await world.run_for(hours=2)
    order["net"] = "48250.75 USD"
    await world.run_to_end(name, days=40)
    (found,) = await differs(world, name)
    assert found["status"] == "agreed"
    assert [ticket["state"] in ("6", "7") for ticket in tickets(world)] == [True]
    checks = [record.body["check"] for record in await world.records(name, Kind.CHECK_DONE)]
    assert checks == ["T+2h", "T+24h", "month_end"]
    assert (await world.row(name))["status"] == "completed"


async def test_R09_two_records_of_the_erp_that_differ_share_one_ticket(world: World, erp: Erp) -> None:
    name = await won(world)
    await world.run_for(minutes=30)
    next(iter(erp.orders.values()))["net"] = "1.00 USD"
    next(iter(erp.plans.values()))["total"] = "1.00 USD"
    await world.run_for(hours=2)
    assert {found["record"] for found in await differs(world, name)} == {"order", "invoices"}
    assert len(tickets(world)) == 1


@pytest.mark.parametrize("written", ["48250.750 USD", "048250.75 USD"])
async def test_R02_an_amount_that_is_written_otherwise_is_the_same(world: World, erp: Erp, written: str) -> None:
    name = await won(world)
    await world.run_for(minutes=30)
    next(iter(erp.orders.values()))["net"] = written
    await world.run_for(hours=2)
    assert not await differs(world, name)


async def test_H08_an_order_that_was_kept_without_an_answer_is_there_once(world: World, erp: Erp) -> None:
    erp.unheard = 1
    name = await won(world)
    await world.run_for(minutes=30)
    assert len(erp.orders) == 1
    assert set((await world.statuses(name)).values()) == {"done"}


async def test_H03_E09_every_failure_of_it_has_an_end(world: World) -> None:
    checked = check(load(DEFINITION, "order-to-cash.yaml"), world.registry.contracts())
    assert checked.ok
    assert checked.workflow is not None
    verdict = verify(await world.house.plans.of("order-to-cash"), checked.workflow)
    assert (verdict.ok, verdict.complete, [finding.message for finding in verdict.findings]) == (True, True, [])
