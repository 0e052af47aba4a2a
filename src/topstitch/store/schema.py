"""Decides whether a database may be used: makes a fresh one, brings an older one up to date, refuses a newer one.

``Store.open`` calls ``bring_up_to_date`` with the writer's backend before anything else.
A fresh database is made from ``tables`` in one transaction and marked with the newest
migration; only an older one loads Alembic. It never touches rows but its own two marks.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from topstitch.foundation.errors import OperatorError
from topstitch.store.database import Backend, Postgres, Sqlite

if TYPE_CHECKING:
    from sqlalchemy import MetaData

NEWEST: Final = "0013"
KNOWN: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011", "0012", "0013")
"""Every migration, oldest first; ``tests`` hold them equal to the folder ``migrations/versions``."""
MARK_TABLE: Final = (
    "CREATE TABLE alembic_version"
    " (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
_LOCK: Final = 7_411_000_001
"""The advisory lock that keeps two first starts on one PostgreSQL database apart."""


def bring_up_to_date(backend: Backend) -> None:
    """Make or migrate the schema, or say why this database cannot be used."""
    version = _version(backend)
    if version == NEWEST:
        return
    if version is None:
        _make(backend)
    elif version in KNOWN:
        migrate(backend)
    else:
        raise OperatorError(
            "database-newer",
            f"the database {backend.place} has schema {version}, made by a newer Topstitch than this one (which "
            f"knows {NEWEST}); "
            "install the newer version, or choose another data folder with --data",
        )


def known_key_check(backend: Backend) -> str | None:
    """Return what the database remembers of its installation key."""
    found = backend.execute("SELECT value FROM meta WHERE key = 'key_check'")
    return str(found[0][0]) if found else None


def remember_key_check(backend: Backend, check: str) -> None:
    """Note which installation key this database belongs to; the first one stays."""
    backend.begin()
    backend.execute("INSERT INTO meta (key, value) VALUES ('key_check', ?) ON CONFLICT (key) DO NOTHING", (check,))
    backend.commit()


def empty(backend: Backend) -> None:
    """Delete every row but the marks of the database itself."""
    for name in _row_tables():
        backend.execute(f"DELETE FROM {name}")  # noqa: S608 -- from the metadata


@cache
def _row_tables() -> tuple[str, ...]:
    return tuple(name for name in _every_table().tables if name != "meta")


def _every_table() -> MetaData:
    """Return the metadata once every file that adds a table to it is imported."""
    from topstitch.store import (  # noqa: PLC0415 -- they add to those of ``tables``
        api_tables,  # noqa: F401
        deciding_tables,  # noqa: F401
        identity_tables,  # noqa: F401
        policy_tables,  # noqa: F401
        reconciliation_tables,  # noqa: F401
        view_tables,  # noqa: F401
    )
    from topstitch.store.tables import metadata  # noqa: PLC0415

    return metadata


def _version(backend: Backend) -> str | None:
    if backend.dialect == "sqlite":
        there = backend.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'")
    else:
        there = backend.execute(
            "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'alembic_version'"
        )
    if not there:
        return None
    rows = backend.execute("SELECT version_num FROM alembic_version")
    return str(rows[0][0]) if rows else None


def _make(backend: Backend) -> None:
    backend.begin()
    try:
        if backend.dialect == "postgresql":
            backend.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
        if _version(backend) is None:  # another first start may have been faster
            backend.script(ddl(backend.dialect))
        backend.commit()
    except BaseException:
        backend.rollback()
        raise


@cache
def ddl(dialect: str) -> tuple[str, ...]:
    """Return the statements that make a fresh database, its migration mark included."""
    from sqlalchemy import Dialect  # noqa: PLC0415
    from sqlalchemy.dialects import postgresql, sqlite  # noqa: PLC0415 -- only a first start needs it
    from sqlalchemy.schema import CreateIndex, CreateTable  # noqa: PLC0415

    kind: Dialect = postgresql.dialect() if dialect == "postgresql" else sqlite.dialect()  # type: ignore[no-untyped-call]
    statements = [MARK_TABLE]
    for table in _every_table().sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=kind)).strip())
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        statements += [str(CreateIndex(index).compile(dialect=kind)).strip() for index in indexes]
    statements.append(f"INSERT INTO alembic_version (version_num) VALUES ('{NEWEST}')")  # noqa: S608 -- a constant
    return tuple(statements)


def migrate(backend: Backend, to: str = "head") -> None:
    """Carry out the migrations that lack, each with its mark in one transaction."""
    from alembic import command  # noqa: PLC0415 -- only an upgrade needs it
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415
    from sqlalchemy.pool import StaticPool  # noqa: PLC0415

    assert isinstance(backend, (Sqlite, Postgres))
    url = "sqlite://" if backend.dialect == "sqlite" else "postgresql+psycopg://"
    engine = create_engine(url, creator=lambda: backend.connection, poolclass=StaticPool, pool_reset_on_return=None)
    config = Config()
    config.set_main_option("script_location", "topstitch.store:migrations")
    backend.begin()
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, to)
            connection.commit()  # the transaction begun above: SQLAlchemy works on the same connection
    except BaseException:
        backend.rollback()
        raise
