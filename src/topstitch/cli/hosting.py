"""Serves an application on one port beside an engine, and ends both cleanly.

``serve`` and the demo use it. The port is taken before anything else starts, so that one in use is
said at once. Signals are the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from topstitch.foundation.errors import OperatorError

STOP_SECONDS_MAX: Final = 10


def take_port(host: str, port: int) -> socket.socket:
    """Return a listening socket; raise ``OperatorError`` with the remedy when the port cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise _not_had(host, port, error) from None
    listening.settimeout(0)
    return listening


@asynccontextmanager
async def serving(app: ASGIApp, listening: socket.socket) -> AsyncIterator[int]:
    """Serve while the block lasts; requests under way are answered at the end. Yields the port."""
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS_MAX,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]), name="http")
    try:
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.005)
        yield int(listening.getsockname()[1])
    finally:
        server.should_exit = True
        await asyncio.wait({task}, timeout=STOP_SECONDS_MAX + 1)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        listening.close()


class _Server(uvicorn.Server):
    """A server that leaves signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _not_had(host: str, port: int, error: OSError) -> OperatorError:
    remedies: dict[int, Any] = {
        errno.EADDRINUSE: (
            "port-in-use",
            f"port {port} on {host} is in use; stop what listens there, or choose another with --port",
        ),
        errno.EACCES: (
            "port-refused",
            f"port {port} needs rights that this user lacks; choose one above 1023 with --port",
        ),
        errno.EADDRNOTAVAIL: ("address-unknown", f"this machine has no address {host}; choose another with --host"),
    }
    default = (
        "port-refused",
        f"{host}:{port} cannot be listened on ({error.strerror}); choose another with --host and --port",
    )
    code, message = remedies.get(error.errno or 0, default)
    return OperatorError(code, message)
