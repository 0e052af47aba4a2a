"""What the conformance tests get: every simulator over real sockets, and a registry of connections to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from topstitch.connectors.connections import load_connections
from topstitch.connectors.registry import Registry
from topstitch.foundation.clock import SimulatedClock
from topstitch.simulators.host import Simulators

ALIASES = {
    "hris": "workday",
    "directory": "entra-id",
    "itsm": "servicenow",
    "crm": "salesforce",
    "chat": "slack",
    "email": "email",
}
SECRETS = ("client_secret", "bot_token", "password")
AFTER_ANY_WAIT_SECONDS = 3600.0


@dataclass(frozen=True)
class SimSandbox:
    """A simulator as the conformance kit wants to see it."""

    sims: Simulators
    clock: SimulatedClock
    system: str

    def fail(self, kind: str, match: Mapping[str, str], **more: Any) -> None:
        self.sims[self.system].faults.add({"kind": kind, "match": dict(match), "times": 1, **more})

    def heal(self) -> None:
        self.sims[self.system].faults.clear()
        self.clock.advance(AFTER_ANY_WAIT_SECONDS)

    def calls(self) -> Sequence[Mapping[str, Any]]:
        calls = self.sims[self.system].records.store.calls(self.system)
        return [{**call, "write": call.get("write") or call["method"] == "DATA"} for call in calls]

    def expire_tokens(self) -> None:
        self.sims[self.system].forget_tokens()

    def reset(self) -> None:
        self.sims[self.system].reset()


@dataclass(frozen=True)
class World:
    """The simulators, a registry of connections to them, and the clock they share."""

    sims: Simulators
    registry: Registry
    clock: SimulatedClock
    secrets: Mapping[str, Sequence[str]]

    def sandbox(self, alias: str) -> SimSandbox:
        return SimSandbox(self.sims, self.clock, ALIASES[alias])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Every system, simulated, and connections written as an operator writes them."""
    clock = SimulatedClock()
    async with Simulators(clock=clock) as sims:
        facts = sims.facts()
        (tmp_path / "connections.toml").write_text(_connections(tmp_path, facts))
        registry = Registry(load_connections(tmp_path / "connections.toml"), clock)
        secrets = {a: [str(facts[s][n]) for n in SECRETS if n in facts[s]] for a, s in ALIASES.items()}
        yield World(sims, registry, clock, secrets)
        await registry.close()


def _connections(folder: Path, facts: Mapping[str, Mapping[str, Any]]) -> str:
    def reference(alias: str, name: str, value: str) -> str:
        (folder / f"{alias}.{name}").write_text(value)
        return f'{name} = "file:{alias}.{name}"'

    parts = []
    for alias, system in ALIASES.items():
        fact = facts[system]
        settings = [f'connector = "{system}@1"', f'base_url = "{fact["base_url"]}"', 'timeout = "2s"']
        if "tenant" in fact:
            settings.append(f'tenant = "{fact["tenant"]}"')
        if system == "email":
            settings += [f'smtp_host = "{fact["smtp_host"]}"', f"smtp_port = {fact['smtp_port']}"]
            settings += [f'imap_host = "{fact["imap_host"]}"', f"imap_port = {fact['imap_port']}"]
            settings.append(f'from = "{fact["from"]}"')
            references = [reference(alias, n, fact[n]) for n in ("username", "password")]
        elif system == "slack":
            references = [reference(alias, "token", fact["bot_token"])]
        else:
            references = [reference(alias, n, fact[n]) for n in ("client_id", "client_secret")]
        parts += [f"[connections.{alias}]", *settings, f"[connections.{alias}.credentials]", *references, ""]
    parts += ["[people]", 'manager_of = "hris"', 'group = "directory"', "", "[notify]", 'connection = "email"', ""]
    return "\n".join(parts)
