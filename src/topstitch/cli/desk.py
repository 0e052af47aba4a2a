"""What commands on a data folder work at: its store, its time, and an instance as it stands.

``desk`` opens the store for one command. An id may be typed by its first characters. What is said
of an instance is the office's business, as at every door.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from topstitch.bootstrap.database import open_store
from topstitch.cli.clocks import clock_of
from topstitch.foundation.errors import OperatorError
from topstitch.office import desk as office
from topstitch.settings import Settings
from topstitch.store import Store

if TYPE_CHECKING:
    from topstitch.model.action import SystemContract
    from topstitch.plan.plan import Plan


class Desk(office.Desk):
    """An open data folder."""

    def __init__(self, settings: Settings, store: Store) -> None:
        async def load(digest: str) -> Plan:
            from topstitch.bootstrap.plans import Plans

            return await Plans(store, contracts(settings)).load(digest)

        super().__init__(store, load, clock_of(settings))
        self.settings = settings


@asynccontextmanager
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    """Open a data folder that exists, for one command."""
    if settings.is_sqlite and not _exists(settings):
        from topstitch.settings import FILE

        there = (settings.data / FILE).exists()
        remedy = "publish a definition, which makes it" if there else "start with topstitch init or topstitch demo"
        message = f"there is no database {settings.database}; {remedy}, or name another folder with --data"
        raise OperatorError("no-data", message)
    with open_store(settings, threads=False) as store:
        yield Desk(settings, store)


def contracts(settings: Settings) -> Mapping[str, SystemContract]:
    """Return the contracts that definitions of this folder may name, those of declared systems included."""
    from topstitch.connectors.registry import installed_contracts

    if not settings.connections.exists():
        return installed_contracts()
    from topstitch.connectors.connections import load_connections

    known = load_connections(settings.connections, check_credentials=False)
    if not any(c.connector.startswith("http:") for c in known.connections.values()):
        return installed_contracts()
    from topstitch.connectors.registry import Registry

    return Registry(known).contracts()


def _exists(settings: Settings) -> bool:
    from topstitch.store.database import sqlite_path

    return sqlite_path(settings.database).exists()


async def matching(here: Desk, text: str, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows whose instance matches a search; all of them without one."""
    from topstitch.model.query import parse_query
    from topstitch.office.cases import of_matching

    asked = parse_query(text)
    return await of_matching(here, asked, rows) if asked.text else list(rows)


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its times as text."""
    from topstitch.foundation.timetext import rfc3339

    return {k: rfc3339(v) if isinstance(v, datetime) else v for k, v in row.items()}
