"""The bare script: the same ten calls with asyncio and aiohttp, remembering nothing.

And its sibling that commits one fsynced row for each step, shared by whoever commits at the
same time: what physics allows an engine that keeps its promises.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

import aiohttp

Note = Callable[[str], Awaitable[None]]


async def nothing(_note: str) -> None:
    """Remember nothing."""


class Commits:
    """One writer thread that commits what all have noted, with WAL and ``synchronous=FULL``."""

    def __init__(self, path: Path) -> None:
        self._queue: SimpleQueue[tuple[str, asyncio.Future[None], asyncio.AbstractEventLoop] | None] = SimpleQueue()
        self._path = path
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    async def note(self, text: str) -> None:
        """Return once ``text`` is on disk."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._queue.put((text, written, loop))
        await written

    def close(self) -> None:
        """Stop the writer."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE notes (text TEXT)")
        while (first := self._queue.get()) is not None:
            batch = [first]
            while not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    return
                batch.append(following)
            database.execute("BEGIN")
            database.executemany("INSERT INTO notes VALUES (?)", [(text,) for text, _, _ in batch])
            database.execute("COMMIT")
            batch[0][2].call_soon_threadsafe(_all_written, [written for _, written, _ in batch])


def _all_written(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


class Script:
    """Ten calls in a row."""

    def __init__(self, url: str, note: Note = nothing) -> None:
        self._url, self._note = url, note
        self._session: Any = None

    async def __aenter__(self) -> Self:
        """Open the session."""
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        await self._session.close()

    async def carry(self, name: str) -> None:
        """Carry one instance out."""
        first = await self._get("/reference/one")
        await self._get(f"/reference/{first['id']}")
        for number in range(1, 5):
            await self._note(f"{name} {number}")
            body = {"subject": name, "tier": first["tier"], "number": number}
            async with self._session.put(f"{self._url}/records/{name}:step{number}", json=body) as answer:
                stored = await answer.json()
            found = await self._get(f"/records/{stored['id']}")
            if found["state"] != "stored":
                raise AssertionError(found)

    async def handoffs(self) -> list[float]:
        """Return the handoffs the stub has seen since the last look."""
        figures: list[float] = await self._get("/_figures")
        return figures

    async def _get(self, path: str) -> Any:
        async with self._session.get(self._url + path) as answer:
            return await answer.json()
