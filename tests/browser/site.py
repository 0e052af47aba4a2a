"""The console over a seeded store, as tests use it: in this process, or served to a browser from a thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlencode

import uvicorn
from argon2 import PasswordHasher
from starlette.applications import Starlette
from starlette.routing import Mount

from browser.seeded import NOW, seed
from support.contracts import CONTRACTS
from topstitch.access.passwords import Passwords
from topstitch.access.service import Access
from topstitch.api.reference import PAGE, reference_page
from topstitch.bootstrap.plans import Plans
from topstitch.cli.instance_view import view
from topstitch.cli.tale import Teller
from topstitch.console import Hands, Person, console_app
from topstitch.console.commands import StoreCommands
from topstitch.console.people import ROLES, LocalPeople
from topstitch.foundation.clock import Clock, SimulatedClock
from topstitch.model.record import Actor, ActorKind
from topstitch.store import Store, people
from topstitch.store.people import PersonRow

DANA = Person(id="dana", name="Dana Ortiz", email="dana@acme.example", roles=ROLES)


def hands_for(store: Store, clock: Clock | None = None, **more: Any) -> Hands:
    """Return hands on a store, with the doors' own way of telling an instance."""
    clock = clock or SimulatedClock(NOW)
    plans = Plans(store, CONTRACTS)
    given: dict[str, Any] = {
        "store": store,
        "clock": clock,
        "load": plans.load,
        "contracts": CONTRACTS,
        "view": view,
        "teller": lambda plan: Teller(plan).sentence,
        "commands": StoreCommands(store, plans.load, clock),
        "identify": LocalPeople("dana"),
        "settings": (("data", "topstitch-data", "The folder of one installation."),),
    }
    return Hands(**{**given, **more})


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    app: Any,
    path: str,
    *,
    method: str = "GET",
    form: Mapping[str, str] | None = None,
    raw: bytes | None = None,
    **headers: str,
) -> Answer:
    """Send one request to an application in this process; ``raw`` is a body as it stands."""
    body = urlencode(form or {}).encode() if raw is None else raw
    path, _, query = path.partition("?")
    given = {
        "host": "console.test",
        "content-type": "application/x-www-form-urlencoded",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    if method == "POST" and "sec-fetch-site" not in given and "origin" not in given:
        given["sec-fetch-site"] = "same-origin"
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in given.items()],
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("console.test", 80),
    }
    start: dict[str, Any] = {}
    chunks: list[bytes] = []
    received = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        return next(received, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            start.update(status=message["status"], headers={k.decode(): v.decode() for k, v in message["headers"]})
        else:
            chunks.append(message.get("body", b""))

    await app(scope, receive, send)
    return Answer(start["status"], start["headers"], b"".join(chunks))


class Quiet(uvicorn.Server):
    """A server that leaves signals alone and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class Served:
    """A console that listens on a port of this machine."""

    def __init__(
        self, app: Starlette, loop: asyncio.AbstractEventLoop, server: uvicorn.Server, hands: Hands, hires: Any
    ) -> None:
        self.app, self.loop, self.server, self.hands, self.hires = app, loop, server, hands, hires
        self.prepared: dict[str, str] = {}
        self.origin = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    def do(self, coroutine: Any) -> Any:
        """Carry something out in the server's own loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)


QUICK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
PASSWORD = "correct horse battery"
SNAPSHOT = Path(__file__).parents[1] / "snapshots" / "openapi.json"


async def _with_sign_in(store: Store) -> dict[str, Any]:
    """Add Ada, who signs in by password; return the hands that ask her to."""
    access = Access(store=store, clock=SimulatedClock(NOW), passwords=QUICK)
    row = PersonRow(id="ada", name="Ada Byron", password=QUICK.hash(PASSWORD), made_at=NOW, made_by="human:root")
    await people.add(store, row, Actor(ActorKind.HUMAN, "root"), [("viewer", "")])
    return {"identify": access.identify, "access": access, "sign_in": "/sign-in"}


def _beside_the_api(pages: Starlette) -> Starlette:
    """Return the pages with the API's reference beside them, as the product serves both."""
    document = SimpleNamespace(openapi=lambda: json.loads(SNAPSHOT.read_text(encoding="utf-8")))
    return Starlette(routes=[Mount(PAGE, reference_page(document)), Mount("/", pages)])  # type: ignore[arg-type]


@contextmanager
def served(folder: Path, *, empty: bool = False, signs_in: bool = False, **more: Any) -> Iterator[Served]:
    """Serve a console from a thread for the time of the block: seeded, or empty; open, or one that asks who comes."""
    ready, box = threading.Event(), {}

    async def main() -> None:
        with Store.open(str(folder / "topstitch.db")) as store:
            hires = [] if empty else await seed(store)
            hands = hands_for(store, **more, **(await _with_sign_in(store) if signs_in else {}))
            app = console_app(hands)
            config = uvicorn.Config(
                _beside_the_api(app), port=0, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=2
            )
            server = Quiet(config)
            task = asyncio.create_task(server.serve())
            await server.listening.wait()
            box["served"] = Served(app, asyncio.get_running_loop(), server, hands, hires)
            ready.set()
            await task
            app.state.watcher.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="console", daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield box["served"]
    finally:
        box["served"].app.state.watcher.close()
        box["served"].server.should_exit = True
        thread.join(15)
