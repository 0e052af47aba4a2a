"""Decides which connector answers behind an alias, and what of it a caller may use.

The engine asks for a ``Reader``, which can only read, or a ``Writer``, which demands for
every write a grant for exactly its payload. Both return an ``Outcome`` and never raise for
what a system does: ``outcomes`` translates in one place. Definitions name aliases; which
connector stands behind one is said in ``connections.toml`` only. It knows no vendor.
"""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from typing import Any, Final

from topstitch.connectors.connections import Connections, ConnectionSettings
from topstitch.connectors.contract import (
    CallContext,
    Connector,
    Given,
    NormalisedEvent,
    describe,
    mismatches,
)
from topstitch.connectors.credentials import Credentials, Redactor
from topstitch.connectors.limits import Limits
from topstitch.connectors.outcomes import carry_out, prove_health
from topstitch.foundation.canonical import digest
from topstitch.foundation.clock import Clock, SystemClock
from topstitch.foundation.errors import NotAllowedError, NotFoundError, OperatorError
from topstitch.model.action import ActionContract, SystemContract
from topstitch.model.orders import Outcome, WriteCall

BUILT_IN: Final[Mapping[str, str]] = {
    "workday@1": "topstitch.connectors.workday.connector:Workday",
    "entra-id@1": "topstitch.connectors.entra_id.connector:EntraId",
    "servicenow@1": "topstitch.connectors.servicenow.connector:ServiceNow",
    "salesforce@1": "topstitch.connectors.salesforce.connector:Salesforce",
    "email@1": "topstitch.connectors.email.connector:Email",
    "slack@1": "topstitch.connectors.slack.connector:Slack",
}
DECLARATIVE: Final = "topstitch.connectors.declarative.connector:open_declared"
DECLARATIVE_PREFIX: Final = "http:"
ENTRY_POINTS: Final = "topstitch.connectors"
COMMON_SETTINGS: Final = ("base_url", "timeout", "rate", "burst", "concurrency", "credentials")


class InstalledContracts(Mapping[str, SystemContract]):
    """The contracts of all installed connectors by ``name@major``; one is imported when it is asked for."""

    def __init__(self, more: Mapping[str, SystemContract] | None = None) -> None:
        self._more = dict(more or {})

    def __getitem__(self, ref: str) -> SystemContract:
        """Return one contract; raise ``KeyError`` if it is not installed."""
        if ref in self._more:
            return self._more[ref]
        return _connector_class(_installed()[ref]).contract

    def __iter__(self) -> Iterator[str]:
        """List what is installed."""
        return iter({**_installed(), **self._more})

    def __len__(self) -> int:
        """Count what is installed."""
        return len({**_installed(), **self._more})


class Reader:
    """A handle that reads and looks up; it has no way to write."""

    __slots__ = ("_connection",)

    def __init__(self, connection: _Open) -> None:
        self._connection = connection

    async def read(
        self, action: str, params: Mapping[str, Any], *, key: str = "", instance: str = "", timeout_seconds: float = 30
    ) -> Outcome:
        """Carry a read out."""
        contract = self._connection.action(action)
        if contract.writes:
            raise NotAllowedError(
                "write_on_reader", f"{action} is a {contract.effect} and this handle only reads; give the write a step"
            )
        return await self._connection.carry_out(contract, params, CallContext(key, instance, 1, timeout_seconds))

    async def look_up(
        self,
        write_action: str,
        params: Mapping[str, Any],
        idempotency_key: str,
        *,
        instance: str = "",
        timeout_seconds: float = 30,
    ) -> Outcome:
        """Ask whether a write happened: the outcome's value is the write's output, or nothing."""
        lookup = self._connection.action(write_action).lookup
        if lookup is None:
            raise NotFoundError(
                "lookup_undeclared", f"{write_action} declares no look-up; a person decides, or declare one"
            )
        contract = self._connection.action(lookup)
        context = CallContext(idempotency_key, instance, 1, timeout_seconds)
        return await self._connection.carry_out(contract, params, context)


class Writer:
    """A handle that writes what was granted."""

    __slots__ = ("_connection",)

    def __init__(self, connection: _Open) -> None:
        self._connection = connection

    async def write(self, call: WriteCall) -> Outcome:
        """Carry a write out; raise ``NotAllowedError`` unless its grant is for exactly these params."""
        contract = self._connection.action(call.action)
        if not contract.writes:
            raise NotAllowedError("read_on_writer", f"{call.action} is a read; use the reader of the connection")
        check_grant(call)
        context = CallContext(call.idempotency_key, call.instance, call.attempt, call.timeout_seconds)
        return await self._connection.carry_out(contract, call.params, context)


def check_grant(call: WriteCall) -> None:
    """Raise ``NotAllowedError`` unless the call carries a grant for exactly its params (A-05, A-06)."""
    grant: object = call.grant
    if grant is None or not call.grant.payload_digest:
        raise NotAllowedError(
            "grant_missing", f"{call.action} carries no grant, so nothing was sent; let the instance's step ask for it"
        )
    if call.grant.payload_digest != digest(call.params):
        raise NotAllowedError(
            "grant_for_other_payload",
            f"the grant of {call.action} is for another payload, so nothing was sent; ask for approval of this one",
        )


class Registry:
    """The connections of one installation, opened when they are first used."""

    def __init__(self, connections: Connections, clock: Clock | None = None) -> None:
        self.connections = connections
        self.redactor = Redactor()
        self._clock: Clock = clock or SystemClock()
        self._open: dict[str, _Open] = {}
        self._contracts: InstalledContracts | None = None

    def reader(self, alias: str) -> Reader:
        """Return the handle that only reads."""
        return self._opened(alias).reader

    def writer(self, alias: str) -> Writer:
        """Return the handle that writes what was granted."""
        return self._opened(alias).writer

    def contracts(self) -> Mapping[str, SystemContract]:
        """Return every contract that a definition may name, those of declared systems included."""
        if self._contracts is None:
            declared = [
                a for a, c in self.connections.connections.items() if c.connector.startswith(DECLARATIVE_PREFIX)
            ]
            self._contracts = InstalledContracts({c.ref: c for c in map(self.contract_of, declared)})
        return self._contracts

    def contract_of(self, alias: str) -> SystemContract:
        """Return the contract of what stands behind an alias."""
        return self._opened(alias).connector.contract

    def binding_problems(self, alias: str, ref: str, actions: frozenset[str] | None = None) -> list[str]:
        """Say why what stands behind ``alias`` cannot do what ``ref`` promises (only ``actions``, if named)."""
        offered = self.contract_of(alias)
        wanted = self.contracts().get(ref)
        if wanted is None or offered.ref == ref:
            return [] if wanted is not None else [f"no connector {ref} is installed; install it or correct systems:"]
        if actions is not None:
            kept = {name: action for name, action in wanted.actions.items() if name in actions}
            wanted = SystemContract(name=wanted.name, major=wanted.major, title=wanted.title, actions=kept)
        return mismatches(wanted, offered)

    def normalise_event(self, alias: str, name: str, raw: Mapping[str, Any]) -> NormalisedEvent:
        """Turn a vendor's notification into an event."""
        return self._opened(alias).connector.normalise_event(name, raw)

    def connector_of(self, alias: str) -> Connector:
        """Return what stands behind an alias, for what is no call of an instance: a conversation, a test of its own."""
        return self._opened(alias).connector

    async def health(self, alias: str) -> Outcome:
        """Prove that the system answers and takes the credential."""
        return await self._opened(alias).health()

    def open_all(self) -> None:
        """Open every connection now, so that what is wrong with one is said before anything starts."""
        for alias in self.connections.connections:
            self._opened(alias)

    async def close(self) -> None:
        """Close every connection."""
        while self._open:
            await self._open.popitem()[1].connector.close()

    def _opened(self, alias: str) -> _Open:
        opened = self._open.get(alias)
        if opened is None:
            opened = self._open[alias] = _Open(self._connector(alias), self.redactor)
        return opened

    def _connector(self, alias: str) -> Connector:
        settings = self.connections.connections.get(alias)
        if settings is None:
            raise OperatorError(
                "connection_unknown",
                f"{self.connections.path or 'connections.toml'} has no connection {alias!r}; add [connections.{alias}]",
            )
        given = self._given(settings)
        if settings.connector.startswith(DECLARATIVE_PREFIX):
            make = _imported(DECLARATIVE)
            declared: Connector = make(
                given, self.connections.folder / settings.connector.removeprefix(DECLARATIVE_PREFIX)
            )
            return declared
        where = _installed().get(settings.connector)
        if where is None:
            raise self._settings_error(
                settings,
                "connector_unknown",
                f"no connector {settings.connector!r} is installed; use one of {', '.join(sorted(_installed()))} "
                "or http:<file>",
            )
        connector = _connector_class(where)
        self._check_settings(settings, connector)
        return connector(given)

    def _given(self, settings: ConnectionSettings) -> Given:
        folder = self.connections.folder
        return Given(
            alias=settings.alias,
            base_url=settings.base_url,
            options=settings.options,
            credentials=Credentials(
                settings.alias, settings.credentials, self.redactor, folder, self.connections.stored
            ),
            limits=Limits(self._clock, rate=settings.rate, concurrency=settings.concurrency),
            clock=self._clock,
            redactor=self.redactor,
            timeout_seconds=settings.timeout_seconds,
            folder=folder,
        )

    def _check_settings(self, settings: ConnectionSettings, connector: type[Connector]) -> None:
        for name in connector.credential_names:
            if name not in settings.credentials:
                raise self._settings_error(
                    settings,
                    "credential_missing",
                    f"connection {settings.alias!r} has no credential {name!r}; "
                    f'add {name} = "env:NAME" or "file:PATH" under [connections.{settings.alias}.credentials]',
                )
        for name in settings.options:
            if name not in connector.option_names:
                raise self._settings_error(
                    settings,
                    "setting_unknown",
                    f"{settings.connector} knows no setting {name!r}; "
                    f"use {', '.join((*COMMON_SETTINGS, *connector.option_names))}",
                )

    def _settings_error(self, settings: ConnectionSettings, code: str, message: str) -> OperatorError:
        return OperatorError(code, f"{self.connections.path or 'connections.toml'}:{settings.line}: {message}")


class _Open:
    """One open connection: its connector and the two handles."""

    def __init__(self, connector: Connector, redactor: Redactor) -> None:
        self.connector = connector
        self.reader = Reader(self)
        self.writer = Writer(self)
        self._redactor = redactor
        self._timeout_seconds = connector.given.timeout_seconds

    def action(self, name: str) -> ActionContract:
        try:
            return self.connector.contract.actions[name]
        except KeyError:
            raise NotFoundError(
                "action_unknown",
                f"{self.connector.contract.ref} has no action {name!r}; "
                f"use one of {', '.join(self.connector.contract.actions)}",
            ) from None

    async def carry_out(self, contract: ActionContract, params: Mapping[str, Any], call: CallContext) -> Outcome:
        whole = call.timeout_seconds
        call.timeout_seconds = min(whole, self._timeout_seconds)
        return await carry_out(self.connector, contract, params, call, whole, self._redactor)

    async def health(self) -> Outcome:
        call = CallContext(timeout_seconds=self._timeout_seconds)
        return await prove_health(self.connector, call, self._redactor)


def installed_contracts() -> Mapping[str, SystemContract]:
    """Return the contracts of the installed connectors, without any connection."""
    return InstalledContracts()


def described(ref: str) -> dict[str, Any]:
    """Return an installed connector as plain JSON: contract, owner and proven tier."""
    connector = _connector_class(_installed()[ref])
    folder = files(connector.__module__.rpartition(".")[0])
    manifest = folder / "manifest.toml"
    return describe(connector.contract, tomllib.loads(manifest.read_text()) if manifest.is_file() else None)


@cache
def _installed() -> Mapping[str, str]:
    """Return where each installed connector is defined; what is built in cannot be replaced by accident."""
    return {**{point.name: point.value for point in entry_points(group=ENTRY_POINTS)}, **BUILT_IN}


@cache
def _connector_class(where: str) -> type[Connector]:
    connector: type[Connector] = _imported(where)
    return connector


def _imported(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)
