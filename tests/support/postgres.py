"""Starts a real PostgreSQL of our own for tests: private folder, unix socket, durable as in production.

The fixtures in ``tests/conftest.py`` hand it to tests; fault tests and benchmarks use
``PostgresServer`` itself, which can be stopped the hard way and started again on the same data.
PostgreSQL refuses to run as root, so there it runs as an unprivileged account. Nothing listens
on TCP unless asked, and ``destroy`` leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import psycopg
from psycopg import sql

OWNER: Final = "topstitch"
UNPRIVILEGED: Final = ("postgres", "nobody")
START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 30.0
SETTINGS: Final[Mapping[str, str]] = {
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "40",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "autovacuum_naptime": "1h",
    "logging_collector": "off",
    "timezone": "UTC",
}

StopMode = Literal["smart", "fast", "immediate"]
STOP_SIGNALS: Final[Mapping[StopMode, signal.Signals]] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


class PostgresError(Exception):
    """The server could not be made, started or stopped; the message ends with its log or the remedy."""


class PostgresServer:
    """One cluster in a temporary folder. As a context manager: made and started, then destroyed.

    ``tcp=True`` also listens on a loopback port, the same one across restarts.
    ``settings`` are added to, or replace, ``SETTINGS``.
    """

    def __init__(self, *, tcp: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self._settings = {**SETTINGS, **(settings or {})}
        self._account = unprivileged_account()
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self.port = free_port() if tcp else 5432
        self.tcp = tcp

    def __enter__(self) -> Self:
        """Make the cluster and start it."""
        try:
            self.start()
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server and remove its folder."""
        self.destroy()

    # -- the server ----------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether the server process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def folder(self) -> Path:
        """The folder that holds data, socket and log; made on first use."""
        if self._folder is None:
            self._folder = make_folder(self._account)
            self._run("initdb", "-D", str(self._folder / "data"), "-U", OWNER, "-A", "trust", *INITDB_OPTIONS)
        return self._folder

    @property
    def log(self) -> str:
        """What the server has logged so far."""
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the server and return when it answers; a crash before is recovered from first."""
        if self.running:
            return
        options = self._settings | {
            "unix_socket_directories": str(self.folder),
            "listen_addresses": "127.0.0.1" if self.tcp else "",
            "port": str(self.port),
        }
        command = [str(programs() / "postgres"), "-D", str(self.folder / "data")]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", **as_account(self._account)
            )
        self._wait_until_ready()

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server; ``immediate`` is a crash: no checkpoint, connections cut, recovery at the next start."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(STOP_SIGNALS[mode])
        try:
            self._process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired as error:
            self._process.kill()
            self._process.wait(STOP_SECONDS_MAX)
            raise PostgresError(f"the server did not stop ({mode}) and was killed. Its log:\n{self.log}") from error
        finally:
            self._process = None

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start again on the same data and port."""
        self.stop(mode)
        self.start()

    def destroy(self) -> None:
        """Stop the server and remove everything it wrote."""
        with contextlib.suppress(PostgresError):
            self.stop("immediate")
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    # -- its databases -------------------------------------------------------------------------

    def dsn(self, database: str = "postgres", *, tcp: bool = False) -> str:
        """Return the address of a database as psycopg and libpq take it."""
        if tcp and not self.tcp:
            raise PostgresError("this server does not listen on TCP. Make it with PostgresServer(tcp=True)")
        if tcp:
            return f"postgresql://{OWNER}@127.0.0.1:{self.port}/{database}"
        return f"postgresql://{OWNER}@/{database}?host={self.folder}&port={self.port}"

    def create_database(self, *, template: str | None = None) -> str:
        """Make a fresh database, a copy of ``template`` if given, and return its name."""
        name = f"t{next(self._numbers)}"
        parts = [sql.SQL("CREATE DATABASE "), sql.Identifier(name)]
        if template is not None:
            parts += [sql.SQL(" TEMPLATE "), sql.Identifier(template)]
        self._command(sql.Composed(parts))
        return name

    def drop_database(self, name: str) -> None:
        """Drop a database and cut whoever is still connected to it."""
        self._command(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextlib.contextmanager
    def database(self, *, template: str | None = None) -> Iterator[str]:
        """Give the DSN of a fresh database and drop it afterwards."""
        name = self.create_database(template=template)
        try:
            yield self.dsn(name)
        finally:
            if self.running:
                self.drop_database(name)

    # -- helpers -------------------------------------------------------------------------------

    def _command(self, command: sql.Composed) -> None:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(command)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < end:
            if not self.running:
                break
            try:
                psycopg.connect(self.dsn(), connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        log = self.log
        self.stop("immediate")
        raise PostgresError(f"the server did not come up. Its log:\n{log}")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(programs() / program), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS_MAX,
            cwd="/",
            **as_account(self._account),
        )
        if done.returncode:
            raise PostgresError(f"{program} failed: {done.stderr.strip()}")


# The cluster is thrown away, so its first files need no sync; what it commits later is synced.
INITDB_OPTIONS: Final = ("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")


@functools.cache
def programs() -> Path:
    """Return the folder with the newest PostgreSQL's programs."""
    usual = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if usual:
        return usual[-1].parent
    found = shutil.which("initdb")
    if found is None:
        raise PostgresError("PostgreSQL is not installed. Give: make parts")
    return Path(found).resolve().parent


def unprivileged_account() -> pwd.struct_passwd | None:
    """Return whom the server runs as when we are root, else None for ourselves."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresError(f"PostgreSQL refuses to run as root. Make one of the accounts {', '.join(UNPRIVILEGED)}")


def as_account(account: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the arguments that make subprocess start a program as ``account``."""
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "umask": 0o077}


def make_folder(account: pwd.struct_passwd | None) -> Path:
    """Make a private folder whose path is short enough for a socket in it (107 bytes in all)."""
    base = tempfile.gettempdir()
    folder = Path(tempfile.mkdtemp(prefix="ts-pg-", dir=base if len(base) < 60 else "/tmp"))
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)
    return folder


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
