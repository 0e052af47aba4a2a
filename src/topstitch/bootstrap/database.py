"""Opens the database that the settings name, with the installation key that belongs to it."""

from __future__ import annotations

import shlex
import subprocess
from typing import Final

from topstitch.foundation.errors import OperatorError
from topstitch.settings import Settings
from topstitch.store import Store

KEY_FILE = "installation.key"
KEY_SECONDS_MAX: Final = 30.0
"""How long a key management service may take to answer."""


def open_store(settings: Settings, *, threads: bool = True) -> Store:
    """Open the store; its key lies beside a SQLite file, in the data folder for a server, or a command tells it."""
    if settings.key_command:
        return Store.open(settings.database, key=_told(settings.key_command), threads=threads)
    key_file = settings.key_file
    if key_file is None and not settings.is_sqlite:
        key_file = settings.data / KEY_FILE
    return Store.open(settings.database, key_file=key_file, threads=threads)


def _told(command: str) -> str:
    """Return what a command prints; of a failure its standard error is shown, and never what it prints."""
    try:
        done = subprocess.run(  # noqa: S603 -- the operator's own setting, and no shell
            shlex.split(command), capture_output=True, text=True, timeout=KEY_SECONDS_MAX, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise OperatorError(
            "key-command", f"key_command could not be run ({type(error).__name__}); correct it in the settings"
        ) from None
    if done.returncode:
        said = " ".join(done.stderr.split())[:200]
        raise OperatorError("key-command", f"key_command ended with {done.returncode} ({said}); mend what it asks")
    return done.stdout
