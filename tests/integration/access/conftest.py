"""A console on a real port with people who sign in, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest_asyncio
import uvicorn
from argon2 import PasswordHasher

from browser.seeded import NOW, Hired, seed
from browser.site import Quiet, hands_for
from topstitch.access.passwords import Passwords
from topstitch.access.service import Access
from topstitch.console import console_app
from topstitch.console.people import LocalPeople
from topstitch.foundation.clock import Clock, SimulatedClock
from topstitch.model.record import Actor, ActorKind
from topstitch.store import Store, people
from topstitch.store.people import PersonRow

QUICK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
PASSWORD = "correct horse battery"
ADMIN = Actor(ActorKind.HUMAN, "root")
OURS = {"Sec-Fetch-Site": "same-origin"}


class Site:
    """A console that listens, and who may come in."""

    def __init__(self, store: Store, access: Access, app: Any, hires: list[Hired], port: int) -> None:
        self.store, self.access, self.app = store, access, app
        self.hires = {hire.state.title: hire.id for hire in hires}
        self.origin = f"http://127.0.0.1:{port}"

    @property
    def clock(self) -> SimulatedClock:
        clock = self.access.clock
        assert isinstance(clock, SimulatedClock)
        return clock

    async def add(self, name: str, *roles: str, **more: Any) -> None:
        """Make a person with a password and roles."""
        kept = None if more.get("kind") == "service" or "provider" in more else QUICK.hash(PASSWORD)
        row = PersonRow(id=name, password=kept, made_at=self.access.clock.now(), made_by="human:root", **more)
        grants = [(role.partition(":")[0], role.partition(":")[2]) for role in roles]
        await people.add(self.store, row, ADMIN, grants)

    @asynccontextmanager
    async def browser(self, **headers: str) -> AsyncIterator[Browser]:
        """Open a browser with cookies of its own."""
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(self.origin, cookie_jar=jar, headers=headers) as http:
            yield Browser(http)

    @asynccontextmanager
    async def signed_in(self, name: str) -> AsyncIterator[Browser]:
        """Open a browser in which somebody is signed in."""
        async with self.browser() as browser:
            answer = await browser.sign_in(name)
            assert answer.status == 303, answer.text
            yield browser


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        self.status, self.headers, self.text = status, headers, text


class Browser:
    """Asks without following redirects, and sends what browsers send."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def get(self, path: str, **headers: str) -> Answer:
        async with self.http.get(path, allow_redirects=False, headers=headers) as answer:
            return Answer(answer.status, answer.headers, await answer.text())

    async def post(self, path: str, form: Mapping[str, str] | None = None, **headers: str) -> Answer:
        given = {name.replace("_", "-"): value for name, value in headers.items()} or OURS
        async with self.http.post(path, data=dict(form or {}), allow_redirects=False, headers=given) as answer:
            return Answer(answer.status, answer.headers, await answer.text())

    async def sign_in(self, name: str, password: str = PASSWORD, **more: str) -> Answer:
        return await self.post("/sign-in", {"name": name, "password": password, **more})

    def cookie(self, name: str = "topstitch_session") -> str | None:
        return next((one.value for one in self.http.cookie_jar if one.key == name), None)


@asynccontextmanager
async def opened(clock: Clock | None = None, **more: Any) -> AsyncIterator[Site]:
    """Serve a seeded console for the time of the block."""
    with Store.open("sqlite::memory:") as store:
        hires = await seed(store)
        clock = clock or SimulatedClock(NOW)
        access = Access(store=store, clock=clock, passwords=QUICK, local=LocalPeople("dana"), **more)
        hands = hands_for(store, clock, identify=access.identify, access=access, sign_in="/sign-in")
        app = console_app(hands)
        server = Quiet(uvicorn.Config(app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=2))
        task = asyncio.create_task(server.serve())
        await server.listening.wait()
        try:
            yield Site(store, access, app, hires, server.servers[0].sockets[0].getsockname()[1])
        finally:
            app.state.watcher.close()
            server.should_exit = True
            await task


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    """A console that people sign in to by password."""
    async with opened() as one:
        yield one
