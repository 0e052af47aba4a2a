"""Decides how the writer speaks to SQLite and PostgreSQL, and what each failure means.

A ``Backend`` is one connection with explicit transactions, used by one thread at a time:
the writer's. ``open_backend`` makes one from a URL, brings the schema up to date, or says
why it cannot. Every error of a driver becomes an ``OperatorError`` with its remedy here and
nowhere else. It knows no table but ``alembic_version`` and never retries.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from topstitch.foundation.errors import OperatorError
from topstitch.store.statements import Row, RowsStatement, for_dialect, gathered

if TYPE_CHECKING:
    import psycopg

# A null is bound as it is. Without an adapter the driver looks for one at each null, which takes twice as long.
sqlite3.register_adapter(type(None), {}.get)  # type: ignore[arg-type]

MEMORY_URL: Final = "sqlite::memory:"
BUSY_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 10


class RetryBatch(Exception):  # noqa: N818 -- a signal inside this room, never an error of the product
    """PostgreSQL chose this transaction to break a deadlock; nothing was done."""


class Contended(Exception):  # noqa: N818 -- a signal inside this room
    """Another process is writing; nothing was begun."""


class RowRefused(Exception):  # noqa: N818 -- a signal inside this room
    """One row of a batch breaks a constraint; the batch was rolled back."""


class Backend(Protocol):
    """One connection with explicit transactions."""

    dialect: str
    polls: bool
    """Whether other processes' commits are only seen by looking."""
    place: str
    """What the operator calls it: a path, or the server and the database."""

    def begin(self, *, lasting: bool = True, patient: bool = True) -> None:
        """Start a transaction that will write.

        ``lasting=False`` says that it need not outlive the machine, only this process: so with a lease, which is
        worth nothing once all engines that share the file are gone. ``patient=False`` raises ``Contended`` rather
        than wait for another process.
        """

    def commit(self) -> None:
        """Make it durable."""

    def rollback(self) -> None:
        """Forget it; harmless when there is none."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Carry out one statement written with ``?`` and return its rows."""
        ...

    def select(self, sql: str, parameters: Sequence[Any], fetches: int) -> list[Sequence[Any]]:
        """Carry out one select of ``fetches`` columns named ``c0``, ``c1`` ... and return its rows at once."""
        ...

    def apply(self, statement: RowsStatement, rows: Sequence[Row]) -> None:
        """Carry a statement out over rows; what it returns is not read."""

    def change(self, pieces: Iterable[tuple[RowsStatement, Sequence[Row]]]) -> int:
        """Carry statements out, each over its rows; return how many rows of the database they changed."""
        ...

    def fetch(self, statement: RowsStatement, rows: Sequence[Row]) -> list[Sequence[Any]]:
        """Carry a statement out over rows and return what it gives back."""
        ...

    def together(self) -> contextlib.AbstractContextManager[object]:
        """Send what is applied inside without waiting for each answer, where that is possible."""
        ...

    def changed_elsewhere(self) -> bool:
        """Whether another connection has committed since this was last asked."""
        ...

    def script(self, statements: Sequence[str]) -> None:
        """Carry out schema statements, inside the present transaction."""

    def close(self) -> None:
        """Give the connection back."""


class Sqlite:
    """A SQLite file, or a database in memory: WAL, ``synchronous=FULL``."""

    dialect = "sqlite"

    def __init__(self, path: Path | None) -> None:
        self.place = str(path) if path else "memory"
        self.polls = path is not None
        self._path = path
        self._lasting = self._patient = True
        try:
            self.connection = sqlite3.connect(
                path or ":memory:",
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=512,
            )
            self.connection.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten, not only given up
            if path:
                self._settle()
        except sqlite3.Error as error:
            raise self._meant(error) from error
        self._seen = self._data_version() if path else 0

    def _settle(self) -> None:
        mode = self.connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise _operator(
                "database-no-wal",
                f"{self.place} cannot use SQLite's write-ahead log (it says {mode!r})",
                "move the data folder to a local disk",
            )
        for pragma in ("synchronous=FULL", "cache_size=-16000", "temp_store=MEMORY", "wal_autocheckpoint=2000"):
            self.connection.execute(f"PRAGMA {pragma}")

    def begin(self, *, lasting: bool = True, patient: bool = True) -> None:
        """Start a transaction that will write; one that need not last is synced with the next that must."""
        try:
            if patient is not self._patient:
                self.connection.execute(f"PRAGMA busy_timeout={round(BUSY_SECONDS * 1000) if patient else 0}")
                self._patient = patient
            if lasting is not self._lasting and self._path is not None:
                self.connection.execute(f"PRAGMA synchronous={'FULL' if lasting else 'NORMAL'}")
                self._lasting = lasting
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if not patient and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise Contended from None
            raise self._meant(error) from error

    def commit(self) -> None:
        """Make it durable."""
        try:
            self.connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._meant(error) from error

    def rollback(self) -> None:
        """Forget it."""
        if self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("ROLLBACK")

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Carry out one statement."""
        try:
            return self.connection.execute(for_sqlite(sql), parameters).fetchall()
        except sqlite3.Error as error:
            raise self._meant(error) from error

    def select(self, sql: str, parameters: Sequence[Any], fetches: int) -> list[Sequence[Any]]:
        """Carry out one select."""
        try:
            found = self.connection.execute(gathered(for_sqlite(sql), fetches), parameters).fetchone()[0]
        except sqlite3.Error as error:
            raise self._meant(error) from error
        rows: list[Sequence[Any]] = orjson.loads(found)
        return rows

    def apply(self, statement: RowsStatement, rows: Sequence[Row]) -> None:
        """Carry a statement out over rows."""
        try:
            for sql, values in statement.for_sqlite(rows):
                self.connection.execute(sql, values)
        except sqlite3.Error as error:
            raise self._meant(error) from error

    def change(self, pieces: Iterable[tuple[RowsStatement, Sequence[Row]]]) -> int:
        """Carry statements out and count the rows they change."""
        before = self.connection.total_changes
        for statement, rows in pieces:
            self.apply(statement, rows)
        return self.connection.total_changes - before

    def fetch(self, statement: RowsStatement, rows: Sequence[Row]) -> list[Sequence[Any]]:
        """Carry a statement out over rows and return what it gives back."""
        found: list[Sequence[Any]] = []
        try:
            for sql, values in statement.for_sqlite(rows):
                found += orjson.loads(self.connection.execute(sql, values).fetchone()[0])
        except sqlite3.Error as error:
            raise self._meant(error) from error
        return found

    def together(self) -> contextlib.AbstractContextManager[object]:
        """Send what is applied inside at once, where that is possible."""
        return contextlib.nullcontext()

    def changed_elsewhere(self) -> bool:
        """Whether another connection has committed."""
        if self._path is None:
            return False
        before, self._seen = self._seen, self._data_version()
        return before != self._seen

    def script(self, statements: Sequence[str]) -> None:
        """Carry out schema statements."""
        try:
            for statement in statements:
                self.connection.execute(statement)
        except sqlite3.Error as error:
            raise self._meant(error) from error

    def close(self) -> None:
        """Give the connection back."""
        with contextlib.suppress(sqlite3.Error):
            self.connection.close()

    def _data_version(self) -> int:
        try:
            version: int = self.connection.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as error:
            raise self._meant(error) from error
        return version

    def _meant(self, error: sqlite3.Error) -> Exception:
        """Return what the driver's error means. Asked for where it is caught: a context would surround every call."""
        if isinstance(error, sqlite3.IntegrityError):
            return RowRefused(str(error))
        return sqlite_error(error, self.place)


class Postgres:
    """A PostgreSQL database, through one psycopg connection."""

    dialect = "postgresql"
    polls = False

    def __init__(self, url: str) -> None:
        import psycopg  # noqa: PLC0415 -- 40 ms of start that SQLite installations do without

        self._psycopg = psycopg
        self.url = plain_url(url)
        self.place = _without_password(self.url)
        with self._errors():
            self.connection = self._connect()

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        connection = self._psycopg.connect(
            self.url,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            application_name="topstitch",
            prepare_threshold=2,
        )
        connection.prepared_max = 400
        return connection

    def begin(self, *, lasting: bool = True, patient: bool = True) -> None:  # noqa: ARG002 -- see the next line
        """Start a transaction that will write; all of them last, since engines elsewhere outlive the server."""
        if self.connection.closed:
            with self._errors():
                self.connection = self._connect()
        self._run("BEGIN")

    def commit(self) -> None:
        """Make it durable."""
        self._run("COMMIT")

    def rollback(self) -> None:
        """Forget it."""
        if not self.connection.closed:
            with contextlib.suppress(self._psycopg.Error):
                self.connection.execute("ROLLBACK")

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Carry out one statement."""
        with self._errors():
            cursor = self.connection.execute(for_postgres(sql), parameters)
            return cursor.fetchall() if cursor.description else []

    def select(self, sql: str, parameters: Sequence[Any], fetches: int) -> list[Sequence[Any]]:  # noqa: ARG002
        """Carry out one select."""
        return list(self.execute(sql, parameters))

    def apply(self, statement: RowsStatement, rows: Sequence[Row]) -> None:
        """Carry a statement out over rows."""
        sql, values = statement.for_postgres(rows)
        with self._errors():
            self.connection.execute(sql, values)

    def change(self, pieces: Iterable[tuple[RowsStatement, Sequence[Row]]]) -> int:
        """Carry statements out and count the rows they change."""
        with self.together():
            cursors = [self.connection.execute(*statement.for_postgres(rows)) for statement, rows in pieces]
        return sum(cursor.rowcount for cursor in cursors)

    def fetch(self, statement: RowsStatement, rows: Sequence[Row]) -> list[Sequence[Any]]:
        """Carry a statement out over rows and return what it gives back."""
        sql, values = statement.for_postgres(rows)
        with self._errors():
            return list(self.connection.execute(sql, values).fetchall())

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Send what is applied inside at once, where that is possible."""
        with self._errors(), self.connection.pipeline():
            yield

    def changed_elsewhere(self) -> bool:
        """Whether another connection has committed."""
        return False  # a listener tells (``store.watch``)

    def script(self, statements: Sequence[str]) -> None:
        """Carry out schema statements."""
        with self._errors():
            for statement in statements:
                self.connection.execute(statement)

    def close(self) -> None:
        """Give the connection back, and its locks at once: the server takes a moment to see that it is gone."""
        with contextlib.suppress(self._psycopg.Error):
            if not self.connection.closed:
                self.connection.execute("SELECT pg_advisory_unlock_all()")
            self.connection.close()

    def _run(self, sql: str) -> None:
        with self._errors():
            self.connection.execute(sql)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._psycopg.Error as error:
            raise _postgres_error(error, self.place, self._psycopg) from error


def for_sqlite(sql: str) -> str:
    """Return the text for SQLite, written once."""
    return _SQLITE_TEXTS.get(sql) or _SQLITE_TEXTS.setdefault(sql, for_dialect(sql, "sqlite"))


def for_postgres(sql: str) -> str:
    """Return the text for PostgreSQL, written once."""
    return _POSTGRES_TEXTS.get(sql) or _POSTGRES_TEXTS.setdefault(sql, for_dialect(sql, "postgresql"))


_SQLITE_TEXTS: Final[dict[str, str]] = {}
_POSTGRES_TEXTS: Final[dict[str, str]] = {}


def open_backend(url: str) -> Backend:
    """Connect to ``sqlite::memory:``, ``sqlite:///path``, a bare path, or ``postgresql://...``."""
    if url == MEMORY_URL:
        return Sqlite(None)
    if is_postgres(url):
        return Postgres(url)
    path = sqlite_path(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _operator(
            "database-unopened",
            f"the folder {path.parent} cannot be made: {error.strerror}",
            "choose another with --data, or give yourself the right to write there",
        ) from error
    return Sqlite(path)


def is_postgres(url: str) -> bool:
    """Tell a PostgreSQL URL from a SQLite one."""
    return url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://"))


def plain_url(url: str) -> str:
    """Return a PostgreSQL URL as libpq reads it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def sqlite_path(url: str) -> Path:
    """Return the file a SQLite URL names."""
    return Path(url.removeprefix("sqlite:///") if url.startswith("sqlite:///") else url)


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}{at}{place.partition('?')[0]}"


def _operator(code: str, happened: str, remedy: str) -> OperatorError:
    return OperatorError(code, f"{happened}; {remedy}")


_SQLITE_FAILURES: Final = (
    (
        ("SQLITE_FULL",),
        "disk-full",
        "the disk that holds {place} is full",
        "free some space and start again; nothing that was confirmed is lost",
    ),
    (
        ("SQLITE_READONLY", "SQLITE_PERM"),
        "database-read-only",
        "{place} cannot be written to",
        "let the user that runs topstitch write to the file and its folder, or choose another with --data",
    ),
    (
        ("SQLITE_BUSY", "SQLITE_LOCKED"),
        "database-busy",
        "another process held {place} for more than ten seconds",
        "find and end it, then try again",
    ),
    (
        ("SQLITE_CANTOPEN",),
        "database-unopened",
        "{place} cannot be opened",
        "see that the folder exists and may be written to, or choose another with --data",
    ),
    (
        ("SQLITE_NOTADB",),
        "database-foreign",
        "{place} is not a Topstitch database",
        "move the file away, or choose another folder with --data",
    ),
    (
        ("SQLITE_CORRUPT",),
        "database-damaged",
        "{place} is damaged",
        "stop, copy the file, and restore the newest backup",
    ),
    (
        ("SQLITE_IOERR",),
        "database-io",
        "reading or writing {place} failed",
        "look at the disk; start again once it answers; nothing that was confirmed is lost",
    ),
)


def sqlite_error(error: sqlite3.Error, place: str) -> OperatorError:
    """Say what a failure of SQLite means and what to do about it."""
    name = getattr(error, "sqlite_errorname", "") or ""
    for names, code, happened, remedy in _SQLITE_FAILURES:
        if name.startswith(names):
            return _operator(code, f"{happened.format(place=place)} ({error})", remedy)
    return _operator(
        "database-failed",
        f"the database {place} answered: {error}",
        "see the detail in the log and report it if it persists",
    )


# A connection that fails has no SQLSTATE; the server's words are all there is.
_MISSING: Final = re.compile(r'database "[^"]*" does not exist')
_REFUSED: Final = re.compile(r"(password|peer|ident) authentication failed|role \"[^\"]*\" does not exist")


def _postgres_error(error: Exception, place: str, psycopg: Any) -> Exception:
    state = getattr(error, "sqlstate", None) or ""
    said = " ".join(str(error).split())
    if state in ("40P01", "40001"):
        return RetryBatch(said)
    if isinstance(error, (psycopg.IntegrityError, psycopg.DataError)):
        return RowRefused(said)
    if state == "53100":
        return _operator(
            "disk-full",
            f"the disk of {place} is full ({said})",
            "free some space there and start again; nothing that was confirmed is lost",
        )
    if state == "25006":
        return _operator(
            "database-read-only", f"{place} is read-only ({said})", "point topstitch at the primary server"
        )
    if state in ("28P01", "28000") or (not state and _REFUSED.search(said)):
        return _operator(
            "database-refused",
            f"{place} refuses the login ({said})",
            "correct the user or the password in the database URL",
        )
    if state == "3D000" or (not state and _MISSING.search(said)):
        return _operator(
            "database-missing", f"{place} does not exist ({said})", "create it, or correct the name in the database URL"
        )
    if state == "42501":
        return _operator(
            "database-read-only",
            f"{place} does not let this user do that ({said})",
            "make the user the owner of the database",
        )
    if isinstance(error, psycopg.OperationalError):
        return _operator(
            "database-unreachable",
            f"{place} does not answer ({said})",
            "see that the server is up and the URL is right, then start again; nothing that was confirmed is lost",
        )
    return _operator(
        "database-failed",
        f"the database {place} answered: {said}",
        "see the detail in the log and report it if it persists",
    )
