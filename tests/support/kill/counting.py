"""A system that counts: what took effect, how often, by our key. In a process of its own, never killed.

One write of each idempotency class; the class decides what a repeated request does here.
It drops some connections after it has done the work and some before, is busy now and then
and slow now and then. ``GET /_effects`` gives all counts, ``DELETE /_faults`` makes it behave.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

import orjson

SLOW_SECONDS_MAX: Final = 0.2
REFERENCE: Final = {"id": "r1", "tier": "standard"}


class Books:
    """What has taken effect."""

    def __init__(self, seed: int, drop_rate: float) -> None:
        self.rng = random.Random(f"counting {seed}")
        self.drop_rate = drop_rate
        self.names: dict[str, str] = {}
        """Name -> the key that reserved it."""
        self.effects: Counter[str] = Counter()
        """How often each key has taken effect."""
        self.arrivals: Counter[str] = Counter()

    def effect(self, key: str) -> dict[str, str]:
        """Note that something has happened."""
        self.effects[key] += 1
        return self.stored(key)

    @staticmethod
    def stored(key: str) -> dict[str, str]:
        """Return a record as the stub shows it."""
        return {"id": key, "state": "stored"}

    def write(self, path: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        """Carry out a write as its class says."""
        what, _, name = path.strip("/").partition("/")
        key = str(body.get("key", name))
        self.arrivals[key] += 1
        match what:
            case "names" if body["name"] in self.names:
                return 409, {"error": "taken"}
            case "names":
                self.names[body["name"]] = key
                return 200, self.effect(key)
            case "orders":  # nobody keeps us from ordering twice
                return 200, self.effect(key)
            case "flags" | "records" if self.effects[key]:
                return 200, self.stored(key)
            case _:
                return 200, self.effect(key)

    def read(self, path: str) -> tuple[int, Any]:
        """Answer a read."""
        what, _, name = path.strip("/").partition("/")
        if what == "reference":
            return 200, REFERENCE
        return (200, self.stored(name)) if self.effects[name] else (404, {"error": "absent"})


class Connection(asyncio.Protocol):
    """One connection: HTTP/1.1 with keep-alive, just enough of it."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head, rest = self.buffer[:end], self.buffer[end + 4 :]
            length = 0
            at = head.lower().find(b"content-length:")
            if at >= 0:
                length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            self.answer(method, unquote(path), rest[:length])

    def answer(self, method: str, path: str, body: bytes) -> None:
        """Do what is asked, or fail at it."""
        books = self.books
        if path.startswith("/_"):
            if method == "DELETE":
                books.drop_rate = 0.0
            self.send(200, {"effects": books.effects, "arrivals": books.arrivals})
            return
        # a check that cannot read looks again after half an hour, which nobody here waits for
        draw = 0.5 if path.startswith("/checks/") else books.rng.random()
        if draw < books.drop_rate:
            self.transport.abort()
            return
        if draw < books.drop_rate * 2:
            self.send(503, {"error": "busy"})
            return
        status, value = books.read(path) if method == "GET" else books.write(path, orjson.loads(body))
        if method != "GET" and draw < books.drop_rate * 4:
            self.transport.abort()  # done, and nobody is told
        elif draw > 1 - books.drop_rate:
            asyncio.get_running_loop().call_later(books.rng.uniform(0, SLOW_SECONDS_MAX), self.send, status, value)
        else:
            self.send(status, value)

    def send(self, status: int, value: Any) -> None:
        """Send an answer."""
        body = orjson.dumps(value)
        head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
        self.transport.write(head + body)


async def serve(seed: int, drop_rate: float) -> None:
    """Serve until standard input closes."""
    loop = asyncio.get_running_loop()
    books = Books(seed, drop_rate)
    server = await loop.create_server(lambda: Connection(books), "127.0.0.1", 0, backlog=1000)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


@contextlib.contextmanager
def counting(seed: int, drop_rate: float) -> Iterator[str]:
    """Run the stub in a process of its own; give its base URL."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(seed), str(drop_rate)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), float(sys.argv[2])))
