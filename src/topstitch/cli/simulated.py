"""Writes the connections of a data folder for the simulated systems: aliases, ports, references.

The demo, ``topstitch simulators`` and ``topstitch init`` use it. Credentials stand in files of their own
under ``secrets``, readable by their owner alone; the connections only refer to them, as they
would to real ones.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from topstitch.foundation.errors import OperatorError

SECRETS: Final = "secrets"
HOOK: Final = "workday"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Binding:
    """One alias: its connector, which of the simulator's facts are settings, and which are secret."""

    system: str
    connector: str
    settings: Mapping[str, str]
    secrets: Mapping[str, str]


BINDINGS: Final[Mapping[str, _Binding]] = {
    "hris": _Binding(
        system="workday",
        connector="workday@1",
        settings={"tenant": "tenant"},
        secrets={"client_id": "client_id", "client_secret": "client_secret", "refresh_token": "refresh_token"},
    ),
    "directory": _Binding(
        system="entra-id",
        connector="entra-id@1",
        settings={"tenant": "tenant"},
        secrets={"client_id": "client_id", "client_secret": "client_secret"},
    ),
    "itsm": _Binding(
        system="servicenow",
        connector="servicenow@1",
        settings={},
        secrets={
            "client_id": "client_id",
            "client_secret": "client_secret",
            "username": "username",
            "password": "password",
        },
    ),
    "crm": _Binding(
        system="salesforce",
        connector="salesforce@1",
        settings={},
        secrets={"client_id": "client_id", "client_secret": "client_secret"},
    ),
    "email": _Binding(
        system="email",
        connector="email@1",
        settings={n: n for n in ("smtp_host", "smtp_port", "imap_host", "imap_port", "from")},
        secrets={"username": "username", "password": "password"},
    ),
    "chat": _Binding(
        system="slack",
        connector="slack@1",
        settings={},
        secrets={"token": "bot_token", "signing_secret": "signing_secret", "app_token": "app_token"},
    ),
}
"""The aliases of the shipped definitions."""
TAIL: Final = """
[hooks.{hook}]
connection = "hris"
scheme = "standard-webhooks"
secret = "file:{secrets}/hook"

[people]
manager_of = "hris"
person = "hris"
group = "directory"

[notify]
connection = "email"

[rates]
"EUR/USD" = "1.08"
"GBP/USD" = "1.27"
"""


def write_connections(folder: Path, facts: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write ``connections.toml`` and the secrets it refers to; return the file."""
    secrets = folder / SECRETS
    try:
        secrets.mkdir(parents=True, exist_ok=True)
        lines = ["# Connections to the simulated systems. With base_url and credentials changed, the real ones."]
        for alias, binding in BINDINGS.items():
            lines += _section(alias, binding, facts[binding.system], secrets)
        _write_secret(secrets / "hook", str(facts["workday"]["webhook_secret"]))
        path = folder / "connections.toml"
        path.write_text("\n".join(lines) + "\n" + TAIL.format(hook=HOOK, secrets=SECRETS), encoding="utf-8")
    except OSError as error:
        remedy = "choose another folder with --data, or correct its permissions"
        message = f"{folder} cannot be written to ({error.strerror}); {remedy}"
        raise OperatorError("folder-unwritable", message) from error
    return path


def _section(alias: str, binding: _Binding, facts: Mapping[str, Any], secrets: Path) -> list[str]:
    lines = ["", f"[connections.{alias}]", f'connector = "{binding.connector}"', f'base_url = "{facts["base_url"]}"']
    for name, fact in binding.settings.items():
        value = facts[fact]
        lines.append(f"{name} = {value}" if isinstance(value, int) else f'{name} = "{value}"')
    lines += ["", f"[connections.{alias}.credentials]"]
    for name, fact in binding.secrets.items():
        _write_secret(secrets / f"{alias}.{name}", str(facts[fact]))
        lines.append(f'{name} = "file:{SECRETS}/{alias}.{name}"')
    return lines


def _write_secret(path: Path, value: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(value)
