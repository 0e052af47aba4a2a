"""Decides what one installation is set to: one table of settings, read from flags, environment and file.

A setting is taken from the command's flag, else from ``TOPSTITCH_<NAME>``, else from
``topstitch.toml`` in the data folder, else from its default. Every setting stands in
``SETTINGS`` with its type, default and meaning, and nowhere else. The doors call ``load``
once; what it returns is handed down. It opens no database and reads no credential.
"""

from __future__ import annotations

import getpass
import ipaddress
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from topstitch.foundation.errors import OperatorError

FILE: Final = "topstitch.toml"
DATABASE_FILE: Final = "topstitch.db"
PREFIX: Final = "TOPSTITCH_"
DATA_DEFAULT: Final = "topstitch-data"
ANCHOR_KINDS: Final = ("folder", "git", "mail")
FOUR_EYES: Final = ("auto", "high-risk", "off")
ROUTE_KINDS: Final = ("email", "slack", "webhook", "ticket")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One row of the table: what a setting is called, how it is read, and what it means."""

    name: str
    kind: str
    """``text``, ``number``, ``folder``, ``file`` or ``one of ...``: for people."""
    default: str
    """As it would be written; empty means that it follows from other settings."""
    doc: str
    read: Callable[[str], Any]

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """The command-line flag, where a command has it."""
        return "--" + self.name.replace("_", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One installation's settings, each in its type."""

    data: Path
    database: str
    key_file: Path | None
    key_command: str
    connections: Path
    host: str
    port: int
    environment: str
    activations: int
    lease_seconds: float
    body_kb_max: int
    log_level: str
    person: str
    anchors: tuple[str, ...]
    watch_seconds: int
    business_promises: tuple[str, ...]
    alert_routes: tuple[str, ...]
    alert_secret: str
    console_url: str
    otlp_endpoint: str
    otlp_headers: Mapping[str, str]

    sign_in: Path
    webhook_networks: tuple[str, ...]
    requests_per_minute: int
    session_minutes: int
    session_hours: int
    four_eyes: str
    code_tier_max: int

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file in the data folder or elsewhere, and no server."""
        return not self.database.startswith(("postgresql://", "postgres://", "postgresql+psycopg://"))


def load(flags: Mapping[str, str | None] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings; raise ``OperatorError`` that names where a bad value stands."""
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    unknown = [name for name in given if name not in _BY_NAME]
    if unknown:
        raise OperatorError("setting-unknown", f"there is no setting {unknown[0]!r}; use one of {', '.join(_BY_NAME)}")
    data = _one(_BY_NAME["data"], given, environ, {}, "")
    file = data / FILE
    written = _file(file)
    values = {s.name: _one(s, given, environ, written, str(file)) for s in SETTINGS}
    values["data"] = data
    values["database"] = values["database"] or str(data / DATABASE_FILE)
    values["person"] = values["person"] or _user_name()
    values["connections"] = values["connections"] or data / "connections.toml"
    values["sign_in"] = values["sign_in"] or data / "sign-in.toml"
    return Settings(**values)


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"uid-{os.getuid()}"


def _one(
    setting: Setting, flags: Mapping[str, str], environ: Mapping[str, str], written: Mapping[str, Any], file: str
) -> Any:
    places = (
        (flags.get(setting.name), setting.flag),
        (environ.get(setting.variable), setting.variable),
        (written.get(setting.name), f"{file}: {setting.name}"),
    )
    for value, place in places:
        if value is not None and value != "":
            return _read(setting, value, place)
    return setting.read(setting.default)


def _read(setting: Setting, value: object, place: str) -> Any:
    try:
        return setting.read("\n".join(map(str, value)) + "\n" if isinstance(value, list) else str(value))
    except ValueError as error:
        raise OperatorError("setting-invalid", f"{place} cannot be {value!r}: write {error}") from None


def _file(path: Path) -> Mapping[str, Any]:
    """Read the file of the data folder; an absent one says nothing."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise OperatorError(
            "settings-unreadable", f"{path} cannot be read ({reason}); correct it, or choose another folder with --data"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise OperatorError("settings-invalid", f"{path}: {error}; correct the TOML there") from None
    for name in document:
        if name not in _BY_NAME or name == "data":
            known = ", ".join(n for n in _BY_NAME if n != "data")
            raise OperatorError("setting-unknown", f"{path} knows no {name!r}; use {known}")
    return document


def _text(value: str) -> str:
    return value


def _path(value: str) -> Path:
    return Path(value).expanduser()


def _maybe_path(value: str) -> Path | None:
    return _path(value) if value else None


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not value.lstrip("-").isdigit() or not least <= int(value) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(value)

    return read


def _seconds(value: str) -> float:
    number = _whole(2, 3600)
    return float(number(value))


def _level(value: str) -> str:
    if value not in LOG_LEVELS:
        raise ValueError(f"one of {', '.join(LOG_LEVELS)}")
    return value


def _four_eyes(value: str) -> str:
    if value not in FOUR_EYES:
        raise ValueError(f"one of {', '.join(FOUR_EYES)}")
    return value


def _anchors(value: str) -> tuple[str, ...]:
    """Read a list, one a line as it comes from the file, or with commas between as in a variable."""
    found = tuple(p.strip() for p in (value.split("\n") if "\n" in value else value.split(",")) if p.strip())
    if not all(kind in ANCHOR_KINDS and place for kind, _, place in (one.partition(":") for one in found)):
        raise ValueError("a list of folder:PATH, git:PATH or mail:ADDRESS")
    return found


def _listed(value: str) -> tuple[str, ...]:
    """Read a list, one a line as it comes from the file, or with commas between as in a variable."""
    return tuple(p.strip() for p in (value.split("\n") if "\n" in value else value.split(",")) if p.strip())


def _networks(value: str) -> tuple[str, ...]:
    found = _listed(value)
    for one in found:
        try:
            ipaddress.ip_network(one, strict=False)
        except ValueError:
            raise ValueError("a list of networks such as 10.0.0.0/8") from None
    return found


def _promises(value: str) -> tuple[str, ...]:
    found = _listed(value)
    if not all(workflow and promise for workflow, _, promise in (one.partition("/") for one in found)):
        raise ValueError("a list of WORKFLOW/PROMISE, such as employee-onboarding/welcomed")
    return found


def _routes(value: str) -> tuple[str, ...]:
    found = _listed(value)
    for one in found:
        kind, _, to = one.partition(":")
        if kind.partition(".")[0] not in ROUTE_KINDS or (not to and not kind.startswith("ticket")):
            raise ValueError(f"a list of KIND:TO, with a KIND of {', '.join(ROUTE_KINDS)}")
    return found


def _url(value: str) -> str:
    if value and not value.startswith(("http://", "https://")):
        raise ValueError("an address that begins with https:// or http://")
    return value.rstrip("/")


def _reference(value: str) -> str:
    if value and not value.startswith(("env:", "file:")):
        raise ValueError("a reference, env:NAME or file:PATH, and never the secret itself")
    return value


def _headers(value: str) -> Mapping[str, str]:
    found = dict(one.partition("=")[::2] for one in _listed(value))
    if not all(name and _reference(reference) for name, reference in found.items()):
        raise ValueError("a list of NAME=env:NAME or NAME=file:PATH")
    return found


def _name(value: str) -> str:
    if not value.replace("-", "").replace("_", "").isalnum():
        raise ValueError("a name of letters, digits, - and _")
    return value


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting(
        name="data",
        kind="folder",
        default=DATA_DEFAULT,
        doc="The folder of one installation: database, installation key, settings and connections.",
        read=_path,
    ),
    Setting(
        name="database",
        kind="text",
        default="",
        doc=f"A path of a SQLite file, or postgresql://user@host/name. Without it: {DATABASE_FILE} in the data folder.",
        read=_text,
    ),
    Setting(
        name="key_file",
        kind="file",
        default="",
        doc="The installation key. Without it: beside the SQLite file, or installation.key in the data folder.",
        read=_maybe_path,
    ),
    Setting(
        name="key_command",
        kind="text",
        default="",
        doc="A command that prints the installation key in base64, in the place of a file: the hook for a key "
        "management service. It is run without a shell, at every start.",
        read=_text,
    ),
    Setting(
        name="connections",
        kind="file",
        default="",
        doc="Which alias is which system. Without it: connections.toml in the data folder.",
        read=_maybe_path,
    ),
    Setting(name="host", kind="text", default="127.0.0.1", doc="The address that serve listens on.", read=_text),
    Setting(name="port", kind="number", default="8700", doc="The port that serve listens on.", read=_whole(0, 65535)),
    Setting(
        name="environment",
        kind="text",
        default="prod",
        doc="What definitions read as env: prod, test, or a name of your own.",
        read=_name,
    ),
    Setting(
        name="activations",
        kind="number",
        default="100",
        doc="How many instances one process carries on at the same time.",
        read=_whole(1, 10_000),
    ),
    Setting(
        name="lease_seconds",
        kind="number",
        default="30",
        doc="How long an instance stays with a process that has stopped answering before another takes it over.",
        read=_seconds,
    ),
    Setting(
        name="body_kb_max",
        kind="number",
        default="1024",
        doc="The largest event that is taken, in kilobytes.",
        read=_whole(1, 65_536),
    ),
    Setting(
        name="log_level",
        kind=f"one of {', '.join(LOG_LEVELS)}",
        default="info",
        doc="What the log says, on standard error.",
        read=_level,
    ),
    Setting(
        name="person",
        kind="text",
        default="",
        doc="Who you are when you approve, refuse or finish a task: an address or id. Without it: your user name here.",
        read=_text,
    ),
    Setting(
        name="anchors",
        kind="list of folder:PATH, git:PATH or mail:ADDRESS",
        default="",
        doc="Where signed checkpoints are kept so that nobody here can take them back; production needs at least one.",
        read=_anchors,
    ),
    Setting(
        name="watch_seconds",
        kind="number",
        default="30",
        doc="How often the seams are looked at, alerts are told and traces are sent.",
        read=_whole(1, 300),
    ),
    Setting(
        name="business_promises",
        kind="list of WORKFLOW/PROMISE",
        default="",
        doc="Promises whose time runs in working hours only, by the calendar that is loaded for this environment.",
        read=_promises,
    ),
    Setting(
        name="alert_routes",
        kind="list of KIND:TO",
        default="email:owner",
        doc="Where alerts are told: email:ADDRESS, email:owner (the workflow's team), slack:CHANNEL, webhook:URL or "
        "webhook:env:NAME, ticket. KIND.ALIAS:TO names the connection.",
        read=_routes,
    ),
    Setting(
        name="alert_secret",
        kind="env:NAME or file:PATH",
        default="",
        doc="What alerts to a webhook are signed with, by Standard Webhooks: a reference to whsec_ and base64.",
        read=_reference,
    ),
    Setting(
        name="console_url",
        kind="address",
        default="",
        doc="Where people reach the console, for the links in alerts. Without it alerts carry no link.",
        read=_url,
    ),
    Setting(
        name="otlp_endpoint",
        kind="address",
        default="",
        doc="Where traces go, as OTLP over HTTP, such as http://localhost:4318/v1/traces. Without it none are sent.",
        read=_url,
    ),
    Setting(
        name="otlp_headers",
        kind="list of NAME=env:NAME",
        default="",
        doc="Headers that the collector asks for, each a reference to its value.",
        read=_headers,
    ),
    Setting(
        name="sign_in",
        kind="file",
        default="",
        doc="Which OIDC providers sign people in. Without it: sign-in.toml in the data folder, if there is one.",
        read=_maybe_path,
    ),
    Setting(
        name="session_minutes",
        kind="number",
        default="60",
        doc="How many minutes a session at the console lasts while nobody uses it.",
        read=_whole(1, 1440),
    ),
    Setting(
        name="session_hours",
        kind="number",
        default="12",
        doc="How many hours a session lasts at the longest; then its person signs in again.",
        read=_whole(1, 720),
    ),
    Setting(
        name="code_tier_max",
        kind="number",
        default="0",
        doc="Up to which risk tier somebody without an account decides: behind the link of a letter, with a code "
        "from a second mail, or in chat; 0 for none, as soon as there are users.",
        read=_whole(0, 4),
    ),
    Setting(
        name="requests_per_minute",
        kind="number",
        default="1200",
        doc="How many requests of the API one caller may send in a minute; 0 for as many as they like.",
        read=_whole(0, 1_000_000),
    ),
    Setting(
        name="webhook_networks",
        kind="list of networks",
        default="",
        doc="Private networks that webhooks may be sent to, such as 10.0.0.0/8; without it, public addresses only.",
        read=_networks,
    ),
    Setting(
        name="four_eyes",
        kind=f"one of {', '.join(FOUR_EYES)}",
        default="auto",
        doc="Whether publishing a change of high risk needs a second person: auto means as soon as there are users.",
        read=_four_eyes,
    ),
)
"""Every setting there is."""

_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}
