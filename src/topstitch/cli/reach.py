"""Decides where the server of a data folder is reached, whether one answers there, and what is to be looked up first.

``api``, ``--web`` and ``--as-curl`` ask it. It only looks: nothing is changed in the folder or at the server.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from urllib.parse import quote, urlsplit

from topstitch.foundation.errors import OperatorError

if TYPE_CHECKING:
    from topstitch.cli.screen import Screen
    from topstitch.settings import Settings

T = TypeVar("T")
HEALTH: Final = "/healthz"
LOOK_SECONDS_MAX: Final = 2.0
_PART: Final = re.compile(r"\{(\w+)\}")
Given = Mapping[str, Any]
"""What was typed after a command, by the name of each argument and option."""


class Looked(dict[str, Any]):
    """What was typed, and which of it was looked at: what was not is said, never dropped in silence."""

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self.seen: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        """Return a value, and note that it was looked at."""
        self.seen.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a value, and note that it was looked at."""
        self.seen.add(name)
        return super().get(name, default)

    def left(self) -> list[str]:
        """Return the options that were typed and not looked at, as they are typed."""
        import click
        from click.core import ParameterSource

        context = click.get_current_context()
        return [
            max(option.opts, key=len)
            for option in context.command.params
            if isinstance(option, click.Option)
            and option.name in self.keys() - self.seen
            and context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
        ]


class Here(Protocol):
    """What a command is handed, as far as it is needed here."""

    screen: Screen

    def settings(self, **flags: str | None) -> Settings:
        """Return the settings of the data folder."""
        ...

    def typed(self, words: str) -> str:
        """Return a command as a person types it here."""
        ...

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end."""
        ...


def server_of(settings: Settings) -> str:
    """Return the address of the server of a data folder."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 -- asked, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def answers(server: str) -> bool:
    """Whether a server of ours answers at an address."""
    from http.client import HTTPConnection, HTTPException

    from topstitch.foundation.canonical import parse

    place = urlsplit(server)
    line = HTTPConnection(str(place.hostname), place.port, timeout=LOOK_SECONDS_MAX)
    try:
        line.request("GET", HEALTH)
        said = parse(line.getresponse().read())
    except (OSError, HTTPException, ValueError):
        return False
    finally:
        line.close()
    return isinstance(said, Mapping) and {"ok", "version"} <= set(said)


class Finder:
    """What a request or a page has to be told of beyond what was typed: whole ids, and what an item belongs to."""

    def __init__(self, door: Here) -> None:
        self.door = door
        self.settings = door.settings()
        self.notes: list[str] = []
        """What is to be said beside it."""

    def address(self, pattern: str, given: Given) -> str:
        """Return an address with what was typed in its places; ``{instance}`` is the instance that begins so."""

        def filled(part: re.Match[str]) -> str:
            value = self.instance(given["name"]) if part[1] == "instance" else str(given[part[1]])
            return quote(value, safe="")

        return _PART.sub(filled, pattern)

    def instance(self, beginning: str) -> str:
        """Return the whole id of an instance of this folder; without a database here, what was typed."""
        from topstitch.cli.desk import desk

        async def named() -> str:
            async with desk(self.settings) as here:
                return await here.named(beginning)

        return self.door.run(named()) if self._is_here else beginning

    def approval(self, name: str) -> Mapping[str, Any]:
        """Return an approval of this folder."""
        from topstitch.cli.desk import desk
        from topstitch.store import items

        async def row() -> Mapping[str, Any]:
            async with desk(self.settings) as here:
                return await items.get_approval(here.store, name)

        return self.door.run(row())

    def form(self, name: str) -> Mapping[str, Any]:
        """Return what a task of this folder asks for; nothing without a database here."""
        from topstitch.cli.desk import desk
        from topstitch.store import items

        async def form() -> Mapping[str, Any]:
            async with desk(self.settings) as here:
                return (await items.get_task(here.store, name))["form"] or {}

        return self.door.run(form()) if self._is_here else {}

    def signs_in(self) -> bool:
        """Whether people sign in at the server of this folder, as far as can be told from here."""
        from topstitch.bootstrap.entrance import is_for_this_machine
        from topstitch.cli.desk import desk
        from topstitch.store import people

        async def anybody() -> bool:
            async with desk(self.settings) as here:
                return await people.anybody(here.store)

        if not self._is_here or not is_for_this_machine(self.settings) or self.settings.sign_in.exists():
            return True
        try:
            return self.door.run(anybody())
        except OperatorError:  # a database that cannot be asked; nothing is asked of it but this
            return True

    @property
    def _is_here(self) -> bool:
        from topstitch.store.database import sqlite_path

        return not self.settings.is_sqlite or sqlite_path(self.settings.database).exists()
