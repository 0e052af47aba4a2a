"""A system that answers every request after one millisecond, in a process of its own.

It keeps what is written by key, and notes when each step's last answer left and the next
step's write arrived: the handoff as the wire sees it, the same for whoever is measured.
``GET /_figures`` gives the handoffs in milliseconds since the last look, and forgets them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import orjson

from topstitch.foundation.clock import stopwatch

DELAY_SECONDS: Final = 0.001
READ: Final = b'{"id":"r1","name":"reference","tier":"standard"}'


class Stub(asyncio.Protocol):
    """One connection: HTTP/1.1 with keep-alive, just enough of it."""

    records: dict[str, bytes] = {}  # noqa: RUF012 -- one store for all connections
    left: dict[str, float] = {}  # noqa: RUF012
    handoffs: list[float] = []  # noqa: RUF012

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.buffer = b""
        self.loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end]
            length = 0
            lower = head.lower()
            if (at := lower.find(b"content-length:")) >= 0:
                length = int(lower[at + 15 : (lower.find(b"\r\n", at) + 1 or len(lower) + 1) - 1])
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            self.answer(method, path, body)

    def answer(self, method: str, path: str, body: bytes) -> None:
        """Do what is asked and answer after the delay."""
        if path.startswith("/_figures"):
            figures = orjson.dumps(self.handoffs)
            self.handoffs.clear()
            self.send(figures, None)
            return
        if not path.startswith("/records/"):
            self.loop.call_later(DELAY_SECONDS, self.send, READ, None)
            return
        key = path[9:].replace("%3A", ":")
        if method == "PUT":
            self.note_handoff(key)
            self.records[key] = body
            answer = orjson.dumps({"id": key, "state": "stored"})
            self.loop.call_later(DELAY_SECONDS, self.send, answer, None)
        else:
            stored = self.records.get(key)
            answer = (
                orjson.dumps({"id": key, "state": "stored", "size": len(stored)}) if stored else b'{"state":"absent"}'
            )
            self.loop.call_later(DELAY_SECONDS, self.send, answer, key)

    def note_handoff(self, key: str) -> None:
        """A write of step n arrives: how long ago did the last answer of step n - 1 leave?"""
        instance, _, step = key.partition(":step")
        before = self.left.pop(f"{instance}:step{int(step) - 1}", None)
        if before is not None:
            self.handoffs.append((stopwatch() - before) * 1000)

    def send(self, body: bytes, key: str | None) -> None:
        """Send an answer."""
        if key is not None:
            self.left[key] = stopwatch()
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )


async def serve() -> None:
    """Serve until standard input closes."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Stub, "127.0.0.1", 0)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)


@contextlib.contextmanager
def running() -> Iterator[str]:
    """Run the stub in a process of its own; give its base URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "topstitch.bench.stub"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve())
