"""What the simulators' tests share: all six on real sockets, a client for each, a standing clock."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from topstitch.foundation.clock import SimulatedClock
from topstitch.simulators.host import KINDS, Simulators


@dataclass(slots=True)
class Reply:
    """An answer, read whole."""

    status: int
    headers: Any
    body: Any
    text: str


@dataclass(slots=True)
class Client:
    """Calls one simulator with its token."""

    url: str
    session: aiohttp.ClientSession
    headers: dict[str, str]

    async def __call__(self, method: str, path: str, body: Any = None, **keywords: Any) -> Reply:
        """Send one call and read its answer."""
        headers = {**self.headers, **keywords.pop("headers", {})}
        async with self.session.request(method, self.url + path, json=body, headers=headers, **keywords) as answer:
            text = await answer.text()
            is_json = "json" in answer.headers.get("Content-Type", "")
            try:
                decoded = await answer.json() if is_json and text else None
            except ValueError:
                decoded = None
            return Reply(answer.status, answer.headers, decoded, text)

    async def fault(self, kind: str, **how: Any) -> None:
        """Add one fault."""
        reply = await self("POST", "/_sim/faults", {"kind": kind, **how})
        assert reply.status == 201, reply.text


@dataclass(slots=True)
class World:
    """All simulators, and clients for them."""

    sims: Simulators
    session: aiohttp.ClientSession
    clock: SimulatedClock

    async def somebody_sleeps(self) -> datetime:
        """Return the time until which a simulator sleeps, once one does."""
        async with asyncio.timeout(5):
            while (when := self.clock.next_sleeper()) is None:  # noqa: ASYNC110 (the clock has no event)
                await asyncio.sleep(0)
        return when

    async def client(self, system: str) -> Client:
        """Return a client that has signed in."""
        token = await self.token(system)
        return Client(self.sims.url(system), self.session, {"Authorization": f"Bearer {token}"} if token else {})

    async def token(self, system: str) -> str:
        """Sign in, the vendor's way."""
        facts = self.sims.facts()[system]
        if system == "slack":
            return str(facts["bot_token"])
        if system == "email":
            return ""
        path = {
            "workday": f"/ccx/oauth2/{facts.get('tenant')}/token",
            "entra-id": f"/{facts.get('tenant')}/oauth2/v2.0/token",
            "servicenow": "/oauth_token.do",
            "salesforce": "/services/oauth2/token",
        }[system]
        form = {"grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default"}
        form |= {"client_id": facts["client_id"], "client_secret": facts["client_secret"]}
        async with self.session.post(facts["base_url"] + path, data=form) as answer:
            document = await answer.json()
            assert answer.status == 200, document
            assert re.fullmatch(r"[0-9a-f]{48}", document["access_token"])
            return str(document["access_token"])


FIXTURES = {"entra": "entra-id", "mail": "email"}


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """The systems whose clients the test asks for; all six if it asks for none."""
    clock = SimulatedClock(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
    named = {FIXTURES.get(name, name) for name in request.fixturenames} & set(KINDS)
    async with Simulators(clock=clock, systems=named or tuple(KINDS)) as sims, aiohttp.ClientSession() as session:
        yield World(sims, session, clock)


@pytest.fixture
async def entra(world: World) -> Client:
    return await world.client("entra-id")


@pytest.fixture
async def servicenow(world: World) -> Client:
    return await world.client("servicenow")


@pytest.fixture
async def salesforce(world: World) -> Client:
    return await world.client("salesforce")


@pytest.fixture
async def workday(world: World) -> Client:
    return await world.client("workday")


@pytest.fixture
async def slack(world: World) -> Client:
    return await world.client("slack")


@pytest.fixture
async def mail(world: World) -> Client:
    return await world.client("email")
