"""Opens the database that the settings name, with the installation key that belongs to it."""

from __future__ import annotations

from topstitch.settings import Settings
from topstitch.store import Store

KEY_FILE = "installation.key"


def open_store(settings: Settings, *, threads: bool = True) -> Store:
    """Open the store; a SQLite file keeps its key beside it, a server's lies in the data folder."""
    key_file = settings.key_file
    if key_file is None and not settings.is_sqlite:
        key_file = settings.data / KEY_FILE
    return Store.open(settings.database, key_file=key_file, threads=threads)
