"""Decides what ``connections.toml`` means: which alias is which system, with which limits and references.

``load_connections`` reads the file strictly: an unknown word, a credential that is a value
instead of a reference, or one that cannot be read is an ``OperatorError`` that names file
and line and ends with the remedy. Credentials' values are never kept here. The doors load
it once and hand it to the registry.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import msgspec

from topstitch.connectors.credentials import STORED, StoredValues, check_reference, read_reference
from topstitch.connectors.limits import Rate, parse_rate
from topstitch.foundation.errors import OperatorError
from topstitch.foundation.timetext import parse_duration

TIMEOUT_SECONDS_DEFAULT: Final = 15.0
CONCURRENCY_DEFAULT: Final = 100
SCHEMES: Final = ("standard-webhooks", "basic", "token", "hmac-sha256")
_SECTIONS: Final = ("connections", "hooks", "people", "notify", "rates")
_ALIAS: Final = re.compile(r"[a-z][a-z0-9_]*")
_PAIR: Final = re.compile(r"[A-Z]{3}/[A-Z]{3}")


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One configured use of a connector. ``connector`` is ``name@major`` or ``http:<file>``."""

    alias: str
    connector: str
    base_url: str = ""
    timeout_seconds: float = TIMEOUT_SECONDS_DEFAULT
    rate: Rate | None = None
    concurrency: int = CONCURRENCY_DEFAULT
    credentials: Mapping[str, str] = {}
    """Name -> reference; never a value."""
    options: Mapping[str, Any] = {}
    """What only this kind of connector understands: ``tenant``, ``templates``, ``imap_host``."""
    line: int = 0


class HookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """An address under ``/hooks/`` where a vendor delivers. ``secret`` (and ``username``) are references."""

    name: str
    connection: str
    scheme: str
    secret: str
    username: str | None = None


class PeopleSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers questions about people: an alias per question, and groups that are simply written down."""

    manager_of: str | None = None
    group: str | None = None
    person: str | None = None
    groups: Mapping[str, tuple[str, ...]] = {}


class Connections(msgspec.Struct, frozen=True, kw_only=True):
    """All of ``connections.toml``."""

    connections: Mapping[str, ConnectionSettings] = {}
    hooks: Mapping[str, HookSettings] = {}
    people: PeopleSettings = PeopleSettings()
    notify: str | None = None
    """The alias of the connection that sends notices to people."""
    chat: str | None = None
    """The alias of the chat where what is asked is posted with buttons."""
    channel: str | None = None
    """The channel it is posted to; without one, to each person who is asked."""
    rates: Mapping[str, str] = {}
    """``EUR/USD`` -> how many USD one EUR is worth."""
    path: str = ""
    stored: StoredValues = msgspec.field(default_factory=StoredValues)
    """What ``stored:NAME`` means; filled by whoever opens the installation."""

    def read(self, reference: str) -> str:
        """Return what a reference refers to."""
        return read_reference(reference, self.folder, self.stored)

    def stored_names(self) -> frozenset[str]:
        """Return which stored credentials the connections and hooks refer to."""
        references = [r for one in self.connections.values() for r in one.credentials.values()]
        references += [r for one in self.hooks.values() for r in (one.secret, one.username) if r]
        return frozenset(r.partition(":")[2] for r in references if r.startswith(f"{STORED}:"))

    @property
    def folder(self) -> Path:
        """Where relative paths in the file start."""
        return Path(self.path).parent if self.path else Path()


def load_connections(path: Path | str, *, check_credentials: bool = True) -> Connections:
    """Read ``connections.toml``; raise ``OperatorError`` with file, line and remedy.

    ``check_credentials=False`` leaves out reading what the references point to, for commands
    that only need to know the systems.
    """
    file = Path(path)
    return _Reader(file, _read(file), check_credentials=check_credentials).connections()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OperatorError(
            "connections_missing", f"there is no {path}; create it with topstitch init, or name another file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise OperatorError(
            "connections_unreadable", f"{path} cannot be read ({reason}); correct its permissions or its content"
        ) from None


class _Reader:
    """Turns one document into settings; knows in which line a key stands."""

    def __init__(self, path: Path, text: str, *, check_credentials: bool) -> None:
        self._path = path
        self._lines = text.splitlines()
        self._check_credentials = check_credentials
        try:
            self._document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            where = f"{path}:{line[1]}" if line else str(path)
            raise OperatorError("connections_invalid", f"{where}: {error}; correct the TOML there") from None

    def connections(self) -> Connections:
        self._known(self._document, _SECTIONS, ())
        connections = {a: self._connection(a, t) for a, t in self._tables("connections").items()}
        return Connections(
            connections=connections,
            hooks={n: self._hook(n, t, connections) for n, t in self._tables("hooks").items()},
            people=self._people(connections),
            notify=self._notify("connection", connections),
            chat=self._notify("chat", connections),
            channel=self._channel(),
            rates=self._rates(),
            path=str(self._path),
        )

    def _connection(self, alias: str, table: Mapping[str, Any]) -> ConnectionSettings:
        at = ("connections", alias)
        if not _ALIAS.fullmatch(alias):
            raise self._error(at, f"{alias!r} is no alias; use small letters, digits and _, as definitions do")
        settings = dict(table)
        credentials = settings.pop("credentials", {})
        self._references(alias, credentials)
        burst = settings.pop("burst", 1)
        rate = settings.pop("rate", None)
        return ConnectionSettings(
            alias=alias,
            connector=self._text(settings, "connector", at, needed=True),
            base_url=self._text(settings, "base_url", at),
            timeout_seconds=self._duration(settings, at),
            rate=None if rate is None else self._rate(rate, burst, at),
            concurrency=self._whole(settings, at),
            credentials=credentials,
            options=settings,
            line=self._line(at),
        )

    def _references(self, alias: str, credentials: object) -> None:
        at = ("connections", alias, "credentials")
        if not isinstance(credentials, dict):
            raise self._error(
                at, "credentials is no table; write [connections.<alias>.credentials] and references below"
            )
        for name, reference in credentials.items():
            self._reference(reference, (*at, name))

    def _reference(self, reference: object, at: tuple[str, ...]) -> None:
        try:
            check_reference(reference if isinstance(reference, str) else "")
            if self._check_credentials and not str(reference).startswith(f"{STORED}:"):
                read_reference(str(reference), self._path.parent)
        except OperatorError as error:
            raise self._error(at, f"{'.'.join(at)}: {error.message}", error.code) from None

    def _hook(self, name: str, table: Mapping[str, Any], connections: Mapping[str, ConnectionSettings]) -> HookSettings:
        at = ("hooks", name)
        self._known(table, ("connection", "scheme", "secret", "username"), at)
        settings = dict(table)
        connection = self._text(settings, "connection", at, needed=True)
        self._alias(connection, connections, (*at, "connection"))
        scheme = self._text(settings, "scheme", at, needed=True)
        if scheme not in SCHEMES:
            raise self._error((*at, "scheme"), f"unknown scheme {scheme!r}; use one of {', '.join(SCHEMES)}")
        secret = self._text(settings, "secret", at, needed=True)
        self._reference(secret, (*at, "secret"))
        username = settings.get("username")
        if username is not None:
            self._reference(username, (*at, "username"))
        elif scheme == "basic":
            raise self._error(at, f'hook {name} uses basic authentication; add username = "env:NAME"')
        return HookSettings(name=name, connection=connection, scheme=scheme, secret=secret, username=username)

    def _people(self, connections: Mapping[str, ConnectionSettings]) -> PeopleSettings:
        at = ("people",)
        table = self._table("people")
        self._known(table, ("manager_of", "group", "person", "groups"), at)
        for question in ("manager_of", "group", "person"):
            if question in table:
                self._alias(table[question], connections, (*at, question))
        groups = table.get("groups", {})
        for name, members in groups.items():
            if not isinstance(members, list) or not all(isinstance(m, str) and "@" in m for m in members):
                raise self._error(
                    (*at, "groups", name), f"group {name} is no list of e-mail addresses; write it as one"
                )
        manager = table.get("manager_of")
        return PeopleSettings(
            manager_of=manager,
            group=table.get("group"),
            person=table.get("person", manager),
            groups={name: tuple(members) for name, members in groups.items()},
        )

    def _notify(self, name: str, connections: Mapping[str, ConnectionSettings]) -> str | None:
        table = self._table("notify")
        self._known(table, ("connection", "chat", "channel"), ("notify",))
        alias: str | None = table.get(name)
        if alias is not None:
            self._alias(alias, connections, ("notify", name))
        return alias

    def _channel(self) -> str | None:
        channel = self._table("notify").get("channel")
        if channel is None:
            return None
        if not isinstance(channel, str) or not channel.strip("# "):
            raise self._error(("notify", "channel"), f'{channel!r} is no channel; write channel = "approvals"')
        return channel.strip("# ")

    def _rates(self) -> dict[str, str]:
        for pair, rate in self._table("rates").items():
            try:
                good = _PAIR.fullmatch(pair) and isinstance(rate, str) and Decimal(rate) > 0
            except InvalidOperation:
                good = False
            if not good:
                raise self._error(("rates", pair), f'{pair} is no rate; write it as "EUR/USD" = "1.08"')
        return dict(self._table("rates"))

    def _alias(self, alias: object, connections: Mapping[str, ConnectionSettings], at: tuple[str, ...]) -> None:
        if alias not in connections:
            near = _nearest(str(alias), connections)
            raise self._error(
                at, f"there is no connection {alias!r}{near}; add [connections.{alias}] or correct the alias"
            )

    def _tables(self, name: str) -> dict[str, Mapping[str, Any]]:
        tables = self._table(name)
        for key, table in tables.items():
            if not isinstance(table, dict):
                raise self._error((name, key), f"{name}.{key} is no table; write [{name}.{key}]")
        return tables

    def _table(self, name: str) -> dict[str, Any]:
        table = self._document.get(name, {})
        if not isinstance(table, dict):
            raise self._error((name,), f"{name} is no table; write [{name}]")
        return table

    def _text(self, settings: dict[str, Any], key: str, at: tuple[str, ...], *, needed: bool = False) -> str:
        value = settings.pop(key, None)
        if value is None and not needed:
            return ""
        if not isinstance(value, str) or not value:
            raise self._error((*at, key), f'{".".join(at)} needs {key} as text; add {key} = "..."')
        return value

    def _duration(self, settings: dict[str, Any], at: tuple[str, ...]) -> float:
        seconds: float = self._checked(
            settings.pop("timeout", None),
            (*at, "timeout"),
            lambda v: float(parse_duration(v)) or None,
            '"15s"',
            TIMEOUT_SECONDS_DEFAULT,
        )
        return seconds

    def _rate(self, rate: object, burst: object, at: tuple[str, ...]) -> Rate:
        made: Rate = self._checked(
            rate, (*at, "rate"), lambda v: parse_rate(v, burst) if isinstance(burst, int) else None, '"10/s"', None
        )
        return made

    def _whole(self, settings: dict[str, Any], at: tuple[str, ...]) -> int:
        whole: int = self._checked(
            settings.pop("concurrency", None),
            (*at, "concurrency"),
            lambda v: v if isinstance(v, int) and v > 0 else None,
            "8",
            CONCURRENCY_DEFAULT,
        )
        return whole

    def _checked(
        self, value: Any, at: tuple[str, ...], convert: Callable[[Any], Any], example: str, default: Any
    ) -> Any:
        if value is None:
            return default
        try:
            converted = convert(value)
        except (ValueError, TypeError):
            converted = None
        if converted is None:
            raise self._error(at, f"{'.'.join(at)} cannot be {value!r}; write it as {at[-1]} = {example}")
        return converted

    def _known(self, table: Mapping[str, Any], words: tuple[str, ...], at: tuple[str, ...]) -> None:
        for key in table:
            if key not in words:
                where = f"[{'.'.join(at)}]" if at else str(self._path.name)
                raise self._error((*at, key), f"{where} knows no {key!r}{_nearest(key, words)}; use {', '.join(words)}")

    def _error(self, at: tuple[str, ...], message: str, code: str = "connections_invalid") -> OperatorError:
        return OperatorError(code, f"{self._path}:{self._line(at)}: {message}", detail={"at": ".".join(at)})

    def _line(self, at: tuple[str, ...]) -> int:
        """Return the line of a key: the longest part of its path that is a section, then the key inside it."""
        for cut in range(len(at), 0, -1):
            header = re.compile(
                r"\s*\[\s*" + r"\s*\.\s*".join(rf"[\"']?{re.escape(p)}[\"']?" for p in at[:cut]) + r"\s*\]"
            )
            start = next((n for n, line in enumerate(self._lines) if header.match(line)), None)
            if start is not None:
                return self._key_line(start, at[cut:]) + 1
        return self._key_line(-1, at) + 1

    def _key_line(self, start: int, keys: tuple[str, ...]) -> int:
        if keys:
            dotted = r"\s*\.\s*".join(rf"[\"']?{re.escape(k)}[\"']?" for k in keys)
            alone = re.compile(rf"\s*(?:{dotted}|[\"']?{re.escape(keys[0])}[\"']?)\s*=")
            for number in range(start + 1, len(self._lines)):
                if self._lines[number].lstrip().startswith("["):
                    break
                if alone.match(self._lines[number]):
                    return number
        return max(start, 0)


def _nearest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
