"""Measures what the console costs: the first load, a list over many instances, how soon a change is seen, open pages.

``topstitch bench --console`` prints what ``run_console`` returns. The console is the shipped one, served by
uvicorn on a free port of this machine over a database with made-up finished instances; a browser is
asked for the first paint where there is one. Pages are judged by the best of several tries, because
other work on the machine only ever adds.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import uvicorn

from topstitch import lifecycle
from topstitch.bench.seams import seed_of, shipped
from topstitch.bootstrap.plans import Plans
from topstitch.connectors.registry import installed_contracts
from topstitch.console.app import console_app
from topstitch.console.commands import StoreCommands
from topstitch.console.hands import Hands, Teller, View
from topstitch.console.people import LocalPeople
from topstitch.execution.operate import Command
from topstitch.foundation.canonical import canonical_bytes
from topstitch.foundation.clock import SystemClock, stopwatch
from topstitch.language.load import load
from topstitch.language.normal import definition_digest, normal_form
from topstitch.language.schema import Workflow
from topstitch.model.event import TriggerEvent
from topstitch.model.record import Actor, ActorKind
from topstitch.office.desk import Desk
from topstitch.store import Store, definitions
from topstitch.store.definitions import Definition
from topstitch.store.seeding import fill
from topstitch.trigger.match import instance_id, new_instance

FINISHED: Final = 100_000
STREAMS: Final = 1_000
TRIES: Final = 9
CHANGES: Final = 5
FIRST_LOAD: Final = (
    "console.css",
    "console.js",
    "vendor/htmx.min.js",
    "vendor/hx-sse.min.js",
    "vendor/hx-csp.min.js",
    "fonts/geist-latin-wght-normal.woff2",
    "fonts/geist-mono-latin-wght-normal.woff2",
)
HIRE: Final = {
    "employee_id": "W-1",
    "first_name": "Priya",
    "last_name": "Raman",
    "department": "Sales",
    "location": "Austin",
    "start_date": "2026-02-02",
    "manager_id": "W-100001",
    "cost_center": "CC-4410",
    "job_profile": "ENG-1",
    "initiated_by": "W-100009",
}


def run_console(view: View, teller: Teller, *, finished: int = FINISHED, streams: int = STREAMS) -> dict[str, Any]:
    """Measure everything once; return rows of ``{title, figure, unit, budget, met}``.

    ``view`` and ``teller`` are the doors' own way of telling an instance.
    """
    with tempfile.TemporaryDirectory(prefix="topstitch-bench-") as folder:
        rows = asyncio.run(_measured(Path(folder), view, teller, finished, streams))
    return {"finished": finished, "streams": streams, "rows": rows}


async def _measured(folder: Path, view: View, teller: Teller, finished: int, streams: int) -> list[dict[str, Any]]:
    with Store.open(str(folder / "console.db")) as store:
        name = await _filled(store, finished)
        hands = _hands(store, view, teller)
        async with _served(hands) as port:
            page = await _get(port, "/")
            rows = [
                _row("first load, uncompressed", (_assets() + len(page)) / 1024, "KB", 170),
                _row(f"list page over {finished:,} instances", await _best_ms(port, "/instances"), "ms", 20),
                _row(
                    "the same, of one workflow", await _best_ms(port, "/instances?q=workflow:employee-onboarding"), "ms"
                ),
                _row("the same, searched for a word", await _best_ms(port, "/instances?q=raman"), "ms"),
                _row("overview", await _best_ms(port, "/"), "ms"),
                _row("page of one instance", await _best_ms(port, f"/instances/{name}"), "ms"),
            ]
            rows += await _live(hands, port, name, streams)
            paint = await asyncio.to_thread(_first_paint, port)
            if paint is not None:
                rows.append(_row("first paint in a browser", paint, "ms", 1000))
    return rows


def _row(title: str, figure: float, unit: str, budget: float | None = None) -> dict[str, Any]:
    met = budget is None or figure <= budget
    return {"title": title, "figure": round(figure, 2), "unit": unit, "budget": budget, "met": met}


def _assets() -> int:
    root = files("topstitch.console") / "static"
    return sum(len(root.joinpath(*name.split("/")).read_bytes()) for name in FIRST_LOAD)


# --- A console with something in it -------------------------------------------------------------------------


async def _filled(store: Store, finished: int) -> str:
    """Publish the shipped onboarding, make up finished instances, begin one; return its id."""
    path = files("topstitch") / "examples" / "onboarding" / "employee-onboarding.yaml"
    text, now = path.read_text(encoding="utf-8"), SystemClock().now()
    definition = Workflow.model_validate(load(text, str(path)).data)
    kept = Definition(
        digest=definition_digest(definition),
        workflow=definition.workflow,
        version=definition.version,
        text=text,
        normal=canonical_bytes(normal_form(definition)).decode(),
        published_at=now - timedelta(days=30),
        published_by="human:bench",
    )
    await definitions.publish(store, kept, parent=None)
    await fill(store, seed_of(shipped(), finished, now))
    plan = await Plans(store, installed_contracts()).load(kept.digest)
    event = TriggerEvent(
        id="evt_1", source="bench", type=plan.trigger.event_type, data=HIRE, received_at=now, time=now, signature="none"
    )
    name = instance_id(event, plan.workflow)
    first = lifecycle.begin(plan, event, name, now)
    assert first is not None, "the example starts for everybody"
    await store.accept(event, [new_instance(plan, name, first)], raw=canonical_bytes(HIRE))
    return name


def _hands(store: Store, view: View, teller: Teller) -> Hands:
    clock, contracts = SystemClock(), installed_contracts()
    plans = Plans(store, contracts)
    return Hands(
        store=store,
        clock=clock,
        load=plans.load,
        contracts=contracts,
        view=view,
        teller=teller,
        commands=StoreCommands(store, plans.load, clock),
        identify=LocalPeople("bench"),
    )


@asynccontextmanager
async def _served(hands: Hands) -> AsyncIterator[int]:
    """Serve the console in this loop for the time of the block; yield its port."""
    app = console_app(hands)
    listening = socket.create_server(("127.0.0.1", 0), backlog=2 * STREAMS)
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield int(listening.getsockname()[1])
    finally:
        app.state.watcher.close()
        server.should_exit = True
        await task


class _no_signals:  # noqa: N801 -- stands in for a method of the server's
    """Leaves signals to whoever runs the benchmark."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


async def _get(port: int, path: str) -> bytes:
    """Ask for a page over a connection of its own; return its body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n\r\n")[2]


async def _best_ms(port: int, path: str) -> float:
    times = []
    for _ in range(TRIES):
        start = stopwatch()
        await _get(port, path)
        times.append((stopwatch() - start) * 1000)
    return min(times)


# --- Live -----------------------------------------------------------------------------------------------------


async def _live(hands: Hands, port: int, name: str, streams: int) -> list[dict[str, Any]]:
    """Open many pages' streams; change an instance; measure until one page shows it, and until all have heard.

    The pages are plain sockets that a thread reads, so that the loop measured has the server's work only.
    """
    pages = await asyncio.to_thread(lambda: [_listening(port) for _ in range(streams)])
    desk = Desk(hands.store, hands.load, hands.clock)
    actor, heard, shown = Actor(ActorKind.HUMAN, "bench"), [], []
    for number in range(CHANGES):
        wish = Command(name="pause" if number % 2 == 0 else "resume", reason=f"change {number}")
        start = stopwatch()
        await desk.operate(name, wish, actor)
        await asyncio.to_thread(_told, pages[0])
        page = await _get(port, f"/instances/{name}")
        shown.append((stopwatch() - start) * 1000)
        assert page, "the page is there"
        await asyncio.to_thread(_all_told, pages[1:])
        heard.append((stopwatch() - start) * 1000)
    for one in pages:
        one.close()
    return [
        _row(f"a change is seen, {streams:,} pages open", sorted(shown)[CHANGES // 2], "ms", 250),
        _row("and all of them have heard", sorted(heard)[CHANGES // 2], "ms"),
        _row("open streams on one process", float(len(pages)), "streams"),
    ]


def _listening(port: int) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), timeout=10)
    one.sendall(b"GET /stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    _until(one, b"retry: 1000\n\n")
    return one


def _told(one: socket.socket) -> None:
    _until(one, b"event: changed\n")


def _all_told(pages: Sequence[socket.socket]) -> None:
    for one in pages:
        _told(one)


def _until(one: socket.socket, mark: bytes) -> None:
    read = b""
    while mark not in read:
        more = one.recv(4096)
        assert more, "the stream is open"
        read += more


# --- A browser --------------------------------------------------------------------------------------------------


def _first_paint(port: int) -> float | None:
    """Return how long a browser needs until it shows the list; nothing without one."""
    program = shutil.which("chromium")
    if program is None or find_spec("playwright") is None:
        return None
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 -- only where a browser is

    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        times = []
        for _ in range(3):
            context = browser.new_context(timezone_id="UTC")
            context.add_cookies([{"name": "topstitch_tz", "value": "UTC", "url": f"http://127.0.0.1:{port}"}])
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{port}/instances")
            found = page.evaluate(
                "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? performance.now()"
            )
            times.append(float(found))
            context.close()
        browser.close()
    return min(times)
