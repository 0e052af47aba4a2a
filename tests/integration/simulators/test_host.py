"""Several simulators in one process: quick to start, clean to stop, and their state outlives a kill."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from topstitch.simulators.host import KINDS, PortTakenError, Simulators

CHILD = """
import asyncio, sys
from pathlib import Path
from topstitch.simulators.host import Simulators

async def main():
    async with Simulators(data=Path(sys.argv[1]), systems=("servicenow", "email")) as sims:
        print(sims.url("servicenow"), flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_all_six_start_and_stop_cleanly() -> None:
    async with Simulators() as sims:
        assert set(sims) == set(KINDS) == {"workday", "entra-id", "servicenow", "salesforce", "slack", "email"}
        urls = [sims.url(name) for name in sims]
    for url in urls:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
    assert [task for task in asyncio.all_tasks() if "simulator" in task.get_name()] == []


async def test_facts_name_what_a_connection_needs() -> None:
    async with Simulators() as sims:
        facts = sims.facts()
        assert all(facts[name]["base_url"].startswith("http://127.0.0.1:") for name in sims)
        assert {"smtp_host", "smtp_port", "imap_host", "imap_port"} <= set(facts["email"])
        assert {"bot_token", "signing_secret"} <= set(facts["slack"])


async def test_ports_may_be_chosen_and_a_taken_one_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"port {port}, wanted for the simulated slack"):
            async with Simulators(systems=("workday", "slack"), ports={"slack": port}):
                pass
    async with Simulators(systems=("slack",), ports={"slack": port}) as sims:
        assert sims.url("slack") == f"http://127.0.0.1:{port}"


async def test_state_may_be_looked_at_changed_and_reset(world: Any, servicenow: Any) -> None:
    made = (await servicenow("POST", "/_sim/records/incident", {"sys_id": "x1", "number": "INC9"})).body
    assert made["number"] == "INC9"
    state = (await servicenow("GET", "/_sim/state")).body
    assert (state["system"], state["counts"]["incident"]) == ("servicenow", 1)
    assert (await servicenow("DELETE", "/_sim/records/incident/x1")).status == 204
    assert (await servicenow("PATCH", "/_sim/records/incident/x1", {})).status == 404
    await servicenow("POST", "/_sim/reset")
    assert (await servicenow("GET", "/_sim/journal")).body == []
    assert (await servicenow("GET", "/_sim/state")).body["counts"]["sys_user"] == 16


async def started(path: Path) -> tuple[asyncio.subprocess.Process, str]:
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(path), stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    line = await asyncio.wait_for(child.stdout.readline(), 20)
    return child, line.decode().strip()


async def end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        os.kill(child.pid, signal.SIGKILL)
    await child.communicate()


async def test_edge_14_an_effect_survives_kill_9(tmp_path: Path) -> None:
    child, url = await started(tmp_path / "sims.db")
    secret = base64.b64encode(b"topstitch.integration:servicenow-sim-password").decode()
    login = {"Authorization": f"Basic {secret}"}
    try:
        async with aiohttp.ClientSession(headers=login) as session:
            fault = {"kind": "drop_after_commit", "times": 1}
            async with session.post(f"{url}/_sim/faults", json=fault) as answer:
                assert answer.status == 201
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await session.post(f"{url}/api/now/table/incident", json={"correlation_id": "k"})
        await end(child)
        child, url = await started(tmp_path / "sims.db")
        async with aiohttp.ClientSession(headers=login) as session:
            async with session.get(f"{url}/api/now/table/incident?sysparm_query=correlation_id=k") as answer:
                rows = (await answer.json())["result"]
            assert [row["number"] for row in rows] == ["INC0010001"]
            async with session.post(f"{url}/api/now/table/incident", json={}) as answer:
                assert (await answer.json())["result"]["number"] == "INC0010002"
            async with session.get(f"{url}/_sim/journal") as answer:
                assert [entry["fault"] for entry in await answer.json()] == ["drop_after_commit", None, None]
    finally:
        await end(child)
