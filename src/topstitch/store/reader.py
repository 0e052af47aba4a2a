"""Decides how reads reach the database: SQLAlchemy Core, on connections of their own.

The files of the nouns hand it a function that takes a connection. It never writes; on
SQLite its connections are told so. SQLAlchemy's engine is made at the first read, because
an engine process may never need one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from topstitch.foundation.errors import OperatorError
from topstitch.store.database import MEMORY_URL, Backend, Sqlite, is_postgres, plain_url, sqlite_error, sqlite_path

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

T = TypeVar("T")


class Reader:
    """Reads, in the thread it is called in."""

    def __init__(self, url: str, backend: Backend) -> None:
        self._url = url
        self._backend = backend
        self._engine: Engine | None = None
        self.inline = url == MEMORY_URL
        """Whether a read is so short, or so bound to its thread, that it needs no other."""

    def read(self, do: Callable[[Connection], T]) -> T:
        """Carry ``do`` out with a connection."""
        from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 -- loaded with the first read

        if self._engine is None:
            self._engine = self._make_engine()
        try:
            with self._engine.connect() as connection:
                return do(connection)
        except DBAPIError as error:
            raise self._error(error.orig or error) from error

    def close(self) -> None:
        """Let go of the connections."""
        if self._engine is not None and not self.inline:
            self._engine.dispose()

    def _make_engine(self) -> Engine:
        from sqlalchemy import create_engine, event  # noqa: PLC0415
        from sqlalchemy.pool import StaticPool  # noqa: PLC0415

        if self.inline and isinstance(self._backend, Sqlite):
            raw = self._backend.connection
            return create_engine("sqlite://", creator=lambda: raw, poolclass=StaticPool)
        if is_postgres(self._url):
            return create_engine(
                plain_url(self._url).replace("postgresql://", "postgresql+psycopg://", 1), pool_pre_ping=True
            )
        engine = create_engine(f"sqlite:///{sqlite_path(self._url)}")
        event.listen(engine, "connect", _read_only)
        return engine

    def _error(self, error: BaseException) -> OperatorError:
        if isinstance(error, sqlite3.Error):
            return sqlite_error(error, self._backend.place)
        return OperatorError(
            "database-unreachable",
            f"{self._backend.place} did not answer a read ({' '.join(str(error).split())}); see that the server is "
            "up, then try again",
        )


def _read_only(connection: Any, _: object) -> None:
    connection.execute("PRAGMA query_only = ON")
