"""Serves several simulators in one process, each on its own loopback port.

The demo, the drill, ``topstitch simulators`` and the tests use it: ``async with
Simulators() as sims`` and then ``sims.url("servicenow")``, ``sims.facts()``. It gives the
simulators what an ASGI server usually hides: the means to break a connection. It never
listens beyond the loopback address unless told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Collection, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from topstitch.foundation.clock import Clock, SystemClock
from topstitch.simulators.entra import EntraSimulator
from topstitch.simulators.mail import MailSimulator
from topstitch.simulators.salesforce import SalesforceSimulator
from topstitch.simulators.servicenow import ServiceNowSimulator
from topstitch.simulators.simulator import ABORT, Simulator
from topstitch.simulators.slack import SlackSimulator
from topstitch.simulators.state import Json, Store
from topstitch.simulators.workday import WorkdaySimulator

LOOPBACK: Final = "127.0.0.1"
START_SECONDS_MAX: Final = 10.0
STOP_SECONDS_MAX: Final = 5.0
KINDS: Final[Mapping[str, type[Simulator]]] = {
    kind.system: kind
    for kind in (
        WorkdaySimulator,
        EntraSimulator,
        ServiceNowSimulator,
        SalesforceSimulator,
        SlackSimulator,
        MailSimulator,
    )
}
"""The simulated systems by the name of the connector that speaks to them."""


class PortTakenError(RuntimeError):
    """A port that was asked for is in use."""


class Simulators:
    """The simulators of one process, running while the ``async with`` block lasts.

    ``ports`` gives a system a port (0, or none given: any free one); ``email`` also knows
    ``email.smtp`` and ``email.imap``. ``data`` is the file that holds their state.
    """

    def __init__(
        self,
        *,
        systems: Collection[str] = tuple(KINDS),
        data: Path | None = None,
        clock: Clock | None = None,
        ports: Mapping[str, int] | None = None,
        settings: Mapping[str, Json] | None = None,
        address: str = LOOPBACK,
    ) -> None:
        self._ports = dict(ports or {})
        self._address = address
        self._store = Store(data)
        self.clock = clock or SystemClock()
        asked = settings or {}
        self._simulators = {
            name: KINDS[name](store=self._store, clock=self.clock, settings=asked.get(name))
            for name in KINDS
            if name in systems
        }
        self._hosts: dict[str, _Host] = {}

    async def __aenter__(self) -> Self:
        """Listen on every port, or on none."""
        try:
            for name, simulator in self._simulators.items():
                self._give_mail_ports(simulator)
                self._hosts[name] = await _Host.started(simulator, self._address, self._ports.get(name, 0))
                simulator.base_url = self._hosts[name].url
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and close the state."""
        await self._stop()

    def __getitem__(self, system: str) -> Any:
        """Return one simulator."""
        return self._simulators[system]

    def __iter__(self) -> Iterator[str]:
        """Go through the names of the systems."""
        return iter(self._simulators)

    def url(self, system: str) -> str:
        """Return the base URL of a system."""
        return self._hosts[system].url

    def facts(self) -> dict[str, dict[str, Any]]:
        """Return, per system, what a connection to it needs: URL, client, secrets, ports."""
        return {name: simulator.facts() for name, simulator in self._simulators.items()}

    async def refuse_connections(self, system: str) -> None:
        """Stop listening for a system, so that connections to it are refused; its state stays."""
        await self._hosts[system].stop_listening()

    async def accept_connections(self, system: str) -> None:
        """Listen again on the same port."""
        await self._hosts[system].listen_again()

    async def _stop(self) -> None:
        await asyncio.gather(*(host.stop() for host in self._hosts.values()))
        self._hosts.clear()
        self._store.close()

    def _give_mail_ports(self, simulator: Simulator) -> None:
        if isinstance(simulator, MailSimulator):
            simulator.listen_on(
                self._address, smtp=self._ports.get("email.smtp", 0), imap=self._ports.get("email.imap", 0)
            )


class _Protocol(HttpToolsProtocol):
    """Uvicorn's protocol, which also tells the application how to break the connection."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"abort": self._abort}}

    def _abort(self) -> None:
        self.transport.abort()


class _Server(uvicorn.Server):
    """A server that leaves the process's signals alone and stops at once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    def leave(self) -> None:
        """Stop serving."""
        self.should_exit = True
        self._told.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), 1.0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Host:
    """One simulator, its socket and its server."""

    def __init__(self, simulator: Simulator, address: str, port: int) -> None:
        self._simulator = simulator
        self._address = address
        self._socket = _bound(address, port, simulator.system)
        self.port: int = self._socket.getsockname()[1]
        self._server, self._task = self._serve(self._socket)

    @classmethod
    async def started(cls, simulator: Simulator, address: str, port: int) -> _Host:
        """Return a host that answers."""
        host = cls(simulator, address, port)
        await host._until_started()
        return host

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://{self._address}:{self.port}"

    async def stop(self) -> None:
        """Stop the server and what the simulator runs beside it."""
        self._simulator.stopping.set()
        await self.stop_listening()

    async def stop_listening(self) -> None:
        """Close the socket and every connection."""
        self._server.leave()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._task), STOP_SECONDS_MAX)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._socket.close()

    async def listen_again(self) -> None:
        """Take the same port again."""
        self._socket = _bound(self._address, self.port, self._simulator.system)
        self._server, self._task = self._serve(self._socket)
        await self._until_started()

    def _serve(self, listening: socket.socket) -> tuple[_Server, asyncio.Task[None]]:
        config = uvicorn.Config(
            self._simulator.app,
            http=_Protocol,
            ws="websockets-sansio" if find_spec("websockets") else "none",
            lifespan="on",
            log_config=None,
            log_level="critical",
            access_log=False,
            timeout_graceful_shutdown=1,
            server_header=False,
        )
        server = _Server(config)
        return server, asyncio.create_task(
            server.serve(sockets=[listening]), name=f"simulator {self._simulator.system}"
        )

    async def _until_started(self) -> None:
        async with asyncio.timeout(START_SECONDS_MAX):
            while not self._server.started:
                if self._task.done():
                    self._task.result()
                    raise RuntimeError(
                        f"the simulator {self._simulator.system} ended while starting; see the log above"
                    )
                await asyncio.sleep(0.002)


def _bound(address: str, port: int, system: str) -> socket.socket:
    # With the protocol named, asyncio switches Nagle's algorithm off; without, each answer waits 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address, port))
    except OSError as error:
        listening.close()
        raise PortTakenError(
            f"port {port}, wanted for the simulated {system}, is in use; choose another or stop what listens there"
        ) from error
    listening.listen(512)
    listening.setblocking(False)  # noqa: FBT003 (the standard library's own)
    return listening
