"""G-04: a secret that is planted wherever secrets live, or comes back in an answer, is seen nowhere else."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from browser.site import ask
from support.canary import database_sightings, sightings
from support.commands import called
from support.world import World
from topstitch.api.rest import BASE
from topstitch.cli.instance_view import view
from topstitch.cli.logs import formatter
from topstitch.cli.programs import rest
from topstitch.cli.tale import Teller
from topstitch.console import Hands, console_app
from topstitch.console.commands import StoreCommands
from topstitch.console.people import LocalPeople
from topstitch.foundation.clock import SimulatedClock
from topstitch.governance.access import ROLES, Identity
from topstitch.metrics.otlp import export_new
from topstitch.model.record import parse_actor
from topstitch.office.told import word
from topstitch.simulators.host import Simulators
from topstitch.store.vault import Vault
from topstitch.store.webhooks import LedgerRecord

TOKEN, SECRET, ANSWERED, STORED = (f"canary-{name}-5b1c9e77a0f2d3" for name in ("token", "secret", "answer", "vault"))
CANARIES = (TOKEN, SECRET, ANSWERED, STORED)


class Collected:
    """Takes what a collector is sent, and keeps what it says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def send(self, raw: bytes) -> None:
        self.said.append(raw.decode("latin-1"))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_G04_a_planted_secret_is_in_no_database_log_trace_export_error_or_page(
    request: pytest.FixtureRequest,
    sims: Simulators,
    clock: SimulatedClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    database: str,
):
    dsn = request.getfixturevalue("postgres_dsn") if database == "postgresql" else ""
    for name in sims:
        sims[name].reset()
    before = {name: dict(sims[name].settings) for name in ("slack", "entra-id")}
    clock.advance(3600)
    caplog.set_level(logging.DEBUG)
    try:
        sims["slack"].configure({"bot_token": TOKEN})
        sims["entra-id"].configure({"client_secret": SECRET})
        await _carried_out(sims, clock, tmp_path, caplog, dsn)
    finally:
        for name, kept in before.items():
            sims[name].configure(kept)


async def _carried_out(
    sims: Simulators, clock: SimulatedClock, tmp_path: Path, caplog: pytest.LogCaptureFixture, dsn: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    world = World(sims, clock, data, dsn)
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
    while await export_new(world.store, collected, clock.now()) is not None:
        pass
    said = {**await _answers(world, name), **await _sent(world)}
    told = {"TOPSTITCH_DATABASE": dsn} if dsn else {}
    pack = data / "evidence"
    for words in (
        ("audit", "checkpoint"),
        ("audit", "evidence", name, "-o", str(pack)),
        ("audit", "prove", name, "-o", str(data / "proof.json")),
        ("audit", "verify"),
        ("doctor",),
        *(("audit", "export", "--format", form) for form in ("jsonl", "ocsf", "csv")),
        *(("instance", "show", name), ("exceptions", "list"), ("secrets", "list"), ("connections", "list")),
    ):
        ran = await asyncio.to_thread(called, *words, "--data", str(data), **told)
        said[" ".join(words)] = ran.out + ran.err
    if not dsn:  # the write-ahead log too, before it is folded into the file
        assert [path for path in data.rglob("*.db-wal") if path.stat().st_size]
        for canary in CANARIES:
            assert sightings(canary, *data.rglob("*.db*")) == []
    await world.close()
    assert all(sims[system].faults.entries[0].used for system in ("servicenow", "entra-id", "slack"))
    assert len(pages) > 10
    assert name in "".join(collected.said)
    assert "identity" in "".join(collected.said)
    assert len(said["audit export --format jsonl"]) > 10_000
    places = [path for path in data.rglob("*") if path.is_file() and path.parent.name != "secrets"]
    assert dsn or any(path.suffix == ".db" for path in places)
    assert (pack / "bundle.json").exists()
    logging.getLogger("topstitch").warning("%s was carried out", name)  # others may have silenced the rest
    lines = "\n".join(map(formatter(terminal=False).format, caplog.records))
    assert "{" in lines
    names = {**said, **pages, "the log": caplog.text, "the log as JSON": lines}
    names["traces"] = "\n".join(collected.said)
    for canary in CANARIES:
        assert sightings(canary, *places, names=names) == []
        assert not dsn or database_sightings(canary, dsn) == []


async def _answers(world: World, name: str) -> dict[str, str]:
    """Return what the API says of an instance, its systems and the trail."""

    async def dana(_connection: Any) -> Identity:
        return Identity(id="dana", roles=ROLES, via="token")

    app = Starlette(routes=[Mount(BASE, rest(world.house, world.settings, dana))])
    one = [f"/instances/{name}{part}" for part in ("", "/steps", "/history", "/audit", "/context", "/handoffs")]
    lists = ["/instances", "/approvals", "/tasks", "/exceptions", "/discrepancies", "/connectors", "/audit", "/seams"]
    aliases = world.house.ports.connectors.connections.connections
    systems = [f"/connectors/{alias}{part}" for alias in aliases for part in ("", "/operations", "/health")]
    shown = {}
    for path in (*one, *lists, *systems, "/meta"):
        answer = await ask(app, BASE + path)
        assert answer.status in (200, 503), path
        shown[f"GET {path}"] = answer.text
    for alias in aliases:
        answer = await ask(
            app, f"{BASE}/connectors/{alias}/test", method="POST", raw=b"{}", content_type="application/json"
        )
        shown[f"POST {alias}/test"] = answer.text
    wrong = await ask(app, f"{BASE}/instances/{name}/nothing")
    return {**shown, "an error": wrong.text}


async def _sent(world: World) -> dict[str, str]:
    """Return what went out: mails, chat messages, and what webhooks would be told of each record."""
    rows = await world.store.work(lambda b: b.execute("SELECT instance, seq, body FROM journal WHERE body IS NOT NULL"))
    records = [
        LedgerRecord(
            leaf=0, instance=instance, seq=seq, workflow="employee-onboarding", version="1.0.0", text=str(text)
        )
        for instance, seq, text in rows
    ]
    told = [word(record) for record in records]
    assert any(told)
    mails = "\n".join(str(mail["raw"]) for mail in world.mails())
    assert mails
    return {"mails": mails, "chat": repr(world.everything("slack", "messages")), "webhooks": repr(told)}


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
