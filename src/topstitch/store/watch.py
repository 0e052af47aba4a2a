"""Decides how changes by other processes are noticed on PostgreSQL: it listens.

A thread holds one connection that has said ``LISTEN topstitch``; every transaction that
makes something due notifies with its store's name, and a store passes over its own. Once
it listens it says *changed*, for whatever happened before. On SQLite the writer looks at
``PRAGMA data_version`` instead. It never reads a table.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from typing import Final

from topstitch.store.database import CONNECT_SECONDS, plain_url

RECONNECT_SECONDS: Final = 2.0


class Watch:
    """Calls ``changed`` whenever another store has made something due."""

    def __init__(self, url: str, name: str, changed: Callable[[], None]) -> None:
        self._url, self._name, self._changed = plain_url(url), name, changed
        self._stopping = threading.Event()
        self._bell, self._rope = socket.socketpair()
        self._thread = threading.Thread(target=self._listen, name="topstitch-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._rope.send(b"x")
        self._thread.join()
        self._bell.close()
        self._rope.close()

    def _listen(self) -> None:
        import psycopg  # noqa: PLC0415 -- only PostgreSQL installations have it loaded

        while not self._stopping.is_set():
            # a lost connection is made again: the writer, which needs one too, reports it
            with contextlib.suppress(psycopg.Error, OSError):
                self._listen_once()
            self._stopping.wait(RECONNECT_SECONDS)

    def _listen_once(self) -> None:
        import psycopg  # noqa: PLC0415

        with psycopg.connect(
            self._url, autocommit=True, connect_timeout=CONNECT_SECONDS, application_name="topstitch-watch"
        ) as connection:
            connection.execute("LISTEN topstitch")
            self._changed()
            while not self._stopping.is_set():
                select.select([connection.fileno(), self._bell.fileno()], [], [])
                if any(notice.payload != self._name for notice in connection.notifies(timeout=0)):
                    self._changed()
