"""Decides which page of the console shows what a command shows, and opens it: ``--web``.

The page is of the server that runs for the data folder, as ``api get`` finds it. It asks who comes by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from topstitch.cli.reach import Finder, Given, Here, Looked, answers, server_of
from topstitch.cli.searching import search_of
from topstitch.foundation.errors import RequestError

Page = Callable[[Given], tuple[str, Mapping[str, Any]]]
"""What was typed -> the address with places for it, and the query."""
DISCREPANCIES_SHOWN: Final = ("open", "suspected", "waived", "all")


def _discrepancies(given: Given) -> tuple[str, Mapping[str, Any]]:
    show = given["state"] if given["state"] in DISCREPANCIES_SHOWN else "all"
    return "/discrepancies", {"show": show, "system": given["system"], "q": given["query"]}


def _policy(given: Given) -> tuple[str, Mapping[str, Any]]:
    name = (given["bundle"] or "").partition("@")[0]
    return (f"/policies/{name}" if name and not name.startswith("sha256:") else "/policies"), {}


PAGES: Final[Mapping[str, str | Page]] = {
    "instances": lambda given: ("/instances", {"q": search_of(given)}),
    "instance show": "/instances/{instance}",
    "instance watch": "/instances/{instance}",
    "approvals list": "/approvals?show=all",
    "approvals show": "/approvals/{name}",
    "tasks list": lambda given: ("/exceptions#tasks", {"q": given["query"]}),
    "tasks show": "/tasks/{name}",
    "exceptions list": lambda given: ("/exceptions", {"q": given["query"]}),
    "exceptions show": "/exceptions/{name}",
    "discrepancies list": _discrepancies,
    "discrepancies show": "/discrepancies/{name}",
    "workflows list": "/workflows",
    "workflows versions": "/workflows/{name}",
    "workflows diff": "/workflows/{name}/diff/{old}..{new}",
    "policy list": "/policies",
    "policy show": _policy,
    "connections list": "/connectors",
    "batch show": "/batches/{name}",
    "seams": "/",
    "seam show": "/seams/{source}/{target}",
    "alerts list": "/",
    "alerts show": "/",
    "audit show": "/audit?instance={instance}",
    "audit verify": "/audit",
    "audit hold list": "/settings?part=retention#holds",
    "calendars list": "/settings?part=calendars",
    "delegations list": "/settings?part=delegation#absence",
    "agents list": "/settings?part=people#agents",
    "users list": "/settings?part=people#people",
    "tokens list": "/settings?part=tokens#tokens",
    "webhooks list": "/settings?part=webhooks",
}
"""The command's path -> the address of its page."""


def open_page(door: Here, path: str, given: Given) -> None:
    """Print the address of a command's page, and open it where somebody sits at a terminal."""
    page = PAGES.get(path)
    if page is None:
        message = f"the console has no page for topstitch {path}; leave --web out, or see topstitch instances --web"
        raise RequestError("no-page", message)
    looked = Looked(given)
    address = _console(door) + page_address(Finder(door), page, looked)
    if left := looked.left():
        door.screen.note(f"The page shows it without {', '.join(left)}.")
    door.screen.data({"address": address})
    door.screen.print(address)
    if sys.stdout.isatty() and not door.screen.as_json:
        _open(door, address)


def page_address(find: Finder, page: str | Page, given: Given) -> str:
    """Return the address of a page on its server."""
    if isinstance(page, str):
        return find.address(page, given)
    pattern, asked = page(given)
    query = urlencode({name: value for name, value in asked.items() if value})
    address, sharp, part = find.address(pattern, given).partition("#")
    return address + (f"?{query}" if query else "") + sharp + part


def _console(door: Here) -> str:
    """Return the console's address; raise when no server runs here, or it shows none."""
    from topstitch.access.origins import is_loopback_name
    from topstitch.bootstrap.entrance import public_origin

    settings = door.settings()
    server, origin = server_of(settings), public_origin(settings)
    if not answers(server):
        message = (
            f"no server of {settings.data} answers at {server}; start it with {door.typed('serve')}, then ask again"
        )
        raise RequestError("no-server", message)
    if origin is None and not is_loopback_name(settings.host):
        message = f"the server at {server} shows no console to other machines; set console_url in topstitch.toml"
        raise RequestError("no-console", message)
    return origin or server


def _open(door: Here, address: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        door.screen.note("No browser could be started here; open the address yourself.")
