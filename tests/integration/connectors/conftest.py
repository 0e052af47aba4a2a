"""What these tests get: a scripted HTTP server over a real socket, and connections to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from topstitch.connectors.connections import load_connections
from topstitch.connectors.registry import Registry
from topstitch.foundation.canonical import digest
from topstitch.foundation.clock import Clock
from topstitch.model.orders import Grant, Outcome, WriteCall


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run each test on the loop that the server uses too, for its sockets are not asyncio's."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """Answers as the test says, and remembers what it was asked."""

    handler: Handler
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.text()
        fact = {"method": request.method, "path": request.path, "query": dict(request.query)}
        self.requests.append({**fact, "headers": dict(request.headers), "body": body})
        return await self.handler(request)


Serve = Callable[[Handler], Awaitable[Server]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers; they stop after the test."""
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> Server:
        server = Server(handler)
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", server.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        await web.SockSite(runner, listening).start()
        server.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        return server

    yield start
    await asyncio.gather(*(runner.cleanup() for runner in runners))


Connect = Callable[..., Registry]


@pytest.fixture
async def connect(tmp_path: Path) -> AsyncIterator[Connect]:
    """Write a system file and a connections file, and open a registry on them."""
    registries: list[Registry] = []

    def make(system: str, base_url: str, *, settings: str = "", clock: Clock | None = None, more: str = "") -> Registry:
        (tmp_path / "system.yaml").write_text(system)
        (tmp_path / "connections.toml").write_text(
            f'[connections.x]\nconnector = "http:system.yaml"\nbase_url = "{base_url}"\n{settings}\n{more}'
        )
        registry = Registry(load_connections(tmp_path / "connections.toml"), clock)
        registries.append(registry)
        return registry

    yield make
    for registry in registries:
        await registry.close()


def granted(action: str, params: dict[str, Any], *, attempt: int = 1, timeout_seconds: float = 5) -> WriteCall:
    """Return a write with its grant."""
    return WriteCall(
        key=action,
        system="x",
        action=action,
        params=params,
        idempotency_key="ins_1:step",
        attempt=attempt,
        grant=Grant(decision="auto", by="policy:test", payload_digest=digest(params)),
        instance="ins_1",
        timeout_seconds=timeout_seconds,
    )


Write = Callable[..., Awaitable[Outcome]]


@pytest.fixture
def write() -> Write:
    """Send a write with its grant."""

    async def send(registry: Registry, action: str, params: dict[str, Any], **rest: Any) -> Outcome:
        return await registry.writer("x").write(granted(action, params, **rest))

    return send
