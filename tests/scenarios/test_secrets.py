"""G-04: a secret that is planted wherever secrets live, or come back in an answer, is seen nowhere else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest

from browser.site import ask
from support.canary import sightings
from support.commands import called
from support.world import World
from topstitch.cli.instance_view import view
from topstitch.cli.tale import Teller
from topstitch.console import Hands, console_app
from topstitch.console.commands import StoreCommands
from topstitch.console.people import LocalPeople
from topstitch.foundation.clock import SimulatedClock
from topstitch.metrics.otlp import export_new
from topstitch.metrics.spans import Span
from topstitch.model.record import parse_actor
from topstitch.simulators.host import Simulators
from topstitch.store.vault import Vault

TOKEN, SECRET, ANSWERED, STORED = (f"canary-{name}-5b1c9e77a0f2d3" for name in ("token", "secret", "answer", "vault"))
CANARIES = (TOKEN, SECRET, ANSWERED, STORED)


class Collected:
    """Takes spans and keeps what they say."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def send(self, spans: Sequence[Span]) -> None:
        self.said += [repr(span) for span in spans]


async def test_G04_a_planted_secret_is_in_no_database_log_trace_export_error_or_page(
    sims: Simulators, clock: SimulatedClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for name in sims:
        sims[name].reset()
    before = {name: dict(sims[name].settings) for name in ("slack", "entra-id")}
    clock.advance(3600)
    caplog.set_level(logging.DEBUG)
    try:
        sims["slack"].configure({"bot_token": TOKEN})
        sims["entra-id"].configure({"client_secret": SECRET})
        await _carried_out(sims, clock, tmp_path, caplog)
    finally:
        for name, kept in before.items():
            sims[name].configure(kept)


async def _carried_out(
    sims: Simulators, clock: SimulatedClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    world = World(sims, clock, data)
    assert TOKEN in (data / "secrets/chat.token").read_text()
    await world.open()
    await world.publish()
    await Vault(world.store).put("crm", STORED, parse_actor("dana"), clock.now())
    leak = {"password": ANSWERED, "session_token": ANSWERED}
    world.fault("servicenow", "wrong_schema", match={"method": "POST"}, times=2, set=leak)
    world.fault("entra-id", "wrong_schema", match={"method": "POST", "path": "/users"}, times=1, set=leak)
    world.fault("slack", "bad_json", times=1)
    name = await world.hire(jobProfile="ENG-SWE")
    await world.run_for(hours=3)
    collected, pages = Collected(), await _pages(world, name)
    while await export_new(world.store, collected, clock.now()):
        pass
    said = {}
    for words in (
        *(("audit", "export", "--format", form) for form in ("jsonl", "ocsf", "csv")),
        *(("instance", "show", name), ("exceptions", "list"), ("secrets", "list"), ("connections", "list")),
    ):
        ran = await asyncio.to_thread(called, *words, "--data", str(data))
        said[" ".join(words)] = ran.out + ran.err
    await world.close()
    assert all(sims[system].faults.entries[0].used for system in ("servicenow", "entra-id", "slack"))
    assert len(pages) > 10
    assert len(collected.said) > 10
    assert len(said["audit export --format jsonl"]) > 10_000
    places = [path for path in data.rglob("*") if path.is_file() and path.parent.name != "secrets"]
    assert any(path.suffix == ".db" for path in places)
    names = {**said, **pages, "the log": caplog.text, "traces": "\n".join(collected.said)}
    for canary in CANARIES:
        assert sightings(canary, *places, names=names) == []


async def _pages(world: World, name: str) -> dict[str, str]:
    """Return every page that shows something of an instance or a connection."""
    house = world.house
    app = console_app(
        Hands(
            store=world.store,
            clock=world.clock,
            load=house.plans.load,
            contracts=house.ports.connectors.contracts(),
            connections=house.ports.connectors.connections,
            health=house.ports.connectors.health,
            view=view,
            teller=lambda plan: Teller(plan).sentence,
            commands=StoreCommands(world.store, house.plans.load, world.clock),
            identify=LocalPeople("dana"),
        )
    )
    shown = {}
    steps = [f"/instances/{name}?step={step}" for step in (await world.statuses(name))]
    tabs = [f"/instances/{name}?tab={tab}" for tab in ("data", "history", "table", "versions")]
    lists = ["/", "/instances", "/approvals", "/exceptions", "/discrepancies", "/connectors", "/audit", "/settings"]
    systems = [f"/connectors/{alias}" for alias in house.ports.connectors.connections.connections]
    for path in (f"/instances/{name}", f"/instances/{name}.json", *steps, *tabs, *lists, *systems):
        answer = await ask(app, path)
        assert answer.status == 200, path
        shown[path] = answer.text
    return shown
