"""Prints the request that does what a command does, as one ``curl`` to be pasted into a shell: ``--as-curl``.

Nothing is asked and nothing is changed. The token is named by its variable and never written out.
"""

from __future__ import annotations

import os
import shlex
import sys
from typing import Final
from urllib.parse import urlencode

from topstitch.cli.counterparts import ASKS, Ask
from topstitch.cli.reach import Finder, Given, Here, Looked, server_of
from topstitch.cli.typed import BASE, TOKEN
from topstitch.foundation.errors import RequestError

BEARER: Final = f'"Authorization: Bearer ${TOKEN}"'
"""In double quotation marks, so that the shell puts the token in."""
KEY: Final = "Idempotency-Key"
GLOBS: Final = frozenset("[]{}")
"""What curl would take for a set of addresses."""


def print_curl(door: Here, path: str, given: Given) -> None:
    """Print the request of a command."""
    way = ASKS.get(path)
    if way is None:
        message = f"topstitch {path} has no counterpart in the HTTP API that one request could be; leave --as-curl out"
        raise RequestError("no-request", message)
    find, looked = Finder(door), Looked(given)
    ask = way(looked, find)
    server = looked.get("url") if path in BY_URL else None
    sends_token = bool(os.environ.get(TOKEN)) or server is not None or find.signs_in()
    line = written(ask, server or server_of(find.settings), sends_token=sends_token)
    sys.stdout.write(line + "\n")
    if not sends_token:
        find.notes.append(f"Nobody signs in at this server yet, so no token is sent; set {TOKEN} to send one.")
    for flag in looked.left():
        why = "whoever the token is of acts at the server" if flag == "--as" else "it says nothing to the server"
        find.notes.append(f"{flag} is left out: {why}.")
    for note in find.notes:
        door.screen.note(note)


BY_URL: Final = frozenset({"trigger", "api get", "api post"})
"""Commands whose own ``--url`` names the server."""


def written(ask: Ask, server: str, *, sends_token: bool = True) -> str:
    """Return a request as one line for a shell."""
    query = urlencode(ask.query)
    address = f"{server.rstrip('/')}{BASE}{ask.address}" + (f"?{query}" if query else "")
    words = ["curl", "-sSN" if ask.streams else "-sS"]
    words += ["-g"] if GLOBS & set(address) else []
    words += ["-X", ask.method] if ask.method != "GET" else []
    words.append(shlex.quote(address))
    if sends_token:
        words += ["-H", BEARER]
    for name, value in _headers(ask).items():
        words += ["-H", shlex.quote(f"{name}: {value}")]
    if ask.body is not None:
        from topstitch.foundation.canonical import canonical_bytes

        words += ["-d", shlex.quote(canonical_bytes(ask.body).decode())]
    return " ".join(words)


def _headers(ask: Ask) -> dict[str, str]:
    found = dict(ask.headers)
    if ask.body is not None:
        found["Content-Type"] = ask.media
    if ask.keyed and KEY not in found:
        from topstitch.foundation.clock import SystemClock
        from topstitch.foundation.ids import new_id

        found[KEY] = new_id("cli", SystemClock().now())
    return found
