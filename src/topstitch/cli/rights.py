"""Decides which right each command needs, and asks for it before the command does anything.

``command`` calls ``admit``. The command line on the machine is break-glass: it acts as the person of
the settings, is recorded as theirs, and needs no password, because whoever can open the data folder
could do anything to it. Once there are users, that person must be one of them and must have the
right. What changes nothing is not asked for: whoever can read the folder can read it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from topstitch.foundation.errors import NotAllowedError, NotFoundError

if TYPE_CHECKING:
    from topstitch.governance.access import Identity
    from topstitch.settings import Settings
    from topstitch.store import Store

ROOT: Final = "topstitch"
ON_THE_MACHINE: Final = "on-the-machine"
RULES: Final[Mapping[str, str]] = {
    "init": ON_THE_MACHINE,
    "demo": ON_THE_MACHINE,
    "validate": ON_THE_MACHINE,
    "table": ON_THE_MACHINE,
    "schema": ON_THE_MACHINE,
    "verify": ON_THE_MACHINE,
    "torture": ON_THE_MACHINE,
    "drill": ON_THE_MACHINE,
    "simulators": ON_THE_MACHINE,
    "bench": ON_THE_MACHINE,
    "doctor": ON_THE_MACHINE,
    "serve": ON_THE_MACHINE,
    "server backup": ON_THE_MACHINE,  # whoever can read the folder can copy it
    "server restore": ON_THE_MACHINE,  # where nothing is yet
    "completion": ON_THE_MACHINE,
    "api get": ON_THE_MACHINE,  # the server asks who it is
    "api post": ON_THE_MACHINE,
    "trigger": "events.send",
    "policy test": ON_THE_MACHINE,
    "plan": "definitions.try",
    "publish": "definitions.publish",
    "workflows list": "workflows.read",
    "workflows versions": "workflows.read",
    "workflows diff": "workflows.read",
    "workflows pin": "definitions.publish",
    "workflows retire": "definitions.publish",
    "policy list": "policies.read",
    "policy explain": "policies.read",
    "policy show": "policies.read",
    "policy replay": "policies.try",
    "policy publish": "policies.publish",
    "instances": "instances.read",
    "instance show": "instances.read",
    "instance watch": "instances.read",
    "instance cancel": "instances.operate",
    "instance edit": "instances.operate",
    "instance pause": "instances.operate",
    "instance reassign": "instances.operate",
    "instance resume": "instances.operate",
    "instance retry": "instances.operate",
    "instance skip": "instances.operate",
    "approvals list": "approvals.read",
    "approvals show": "approvals.read",
    "approvals approve": "approvals.decide",
    "approvals refuse": "approvals.decide",
    "approvals reassign": "instances.operate",
    "tasks list": "tasks.read",
    "tasks show": "tasks.read",
    "tasks done": "tasks.finish",
    "tasks fail": "tasks.finish",
    "delegations list": "people.read",
    "delegations add": "delegations.manage",
    "delegations end": "delegations.manage",
    "agents list": "agents.read",
    "agents add": "agents.manage",
    "agents disable": "agents.manage",
    "agents enable": "agents.manage",
    "agents propose": "proposals.write",
    "calendars list": "policies.read",
    "calendars load": "policies.publish",
    "exceptions list": "exceptions.read",
    "exceptions show": "exceptions.read",
    "exceptions take": "exceptions.handle",
    "exceptions retry": "exceptions.handle",
    "exceptions waive": "exceptions.handle",
    "discrepancies list": "discrepancies.read",
    "discrepancies show": "discrepancies.read",
    "discrepancies accept": "discrepancies.handle",
    "discrepancies repair": "discrepancies.handle",
    "discrepancies recheck": "discrepancies.handle",
    "discrepancies waive": "discrepancies.handle",
    "reconcile": "discrepancies.handle",
    "batch preview": "instances.read",
    "batch show": "instances.read",
    "batch start": "batches.run",
    "connections list": "connectors.read",
    "connections pause": "connectors.pause",
    "connections resume": "connectors.pause",
    "connections test": "connectors.test",
    "webhooks list": "webhooks.read",
    "webhooks deliveries": "webhooks.read",
    "webhooks add": "webhooks.manage",
    "webhooks remove": "webhooks.manage",
    "webhooks rotate": "webhooks.manage",
    "webhooks test": "webhooks.manage",
    "webhooks replay": "webhooks.manage",
    "secrets list": "settings.read",
    "secrets set": "settings.manage",
    "secrets remove": "settings.manage",
    "seams": "seams.read",
    "seam show": "seams.read",
    "seam baseline": "alerts.mute",
    "alerts list": "metrics.read",
    "alerts show": "metrics.read",
    "alerts ack": "alerts.mute",
    "alerts mute": "alerts.mute",
    "sla": "metrics.read",
    "report": "metrics.read",
    "audit show": "audit.read",
    "audit verify": "audit.verify",
    "audit prove": "audit.export",
    "audit consistency": "audit.verify",
    "audit evidence": "audit.export",
    "audit export": "audit.export",
    "audit checkpoint": "audit.seal",
    "audit rotate-key": "settings.manage",
    "audit erase": "audit.erase",
    "audit hold list": "audit.read",
    "audit hold place": "audit.hold",
    "audit hold lift": "audit.hold",
    "users list": "people.read",
    "users show": "people.read",
    "users add": "people.manage",
    "users set-password": "people.manage",
    "users grant": "people.manage",
    "users revoke": "people.manage",
    "users disable": "people.manage",
    "users enable": "people.manage",
    "tokens list": "tokens.own",
    "tokens create": "tokens.own",
    "tokens revoke": "tokens.own",
    "roles": ON_THE_MACHINE,
}
"""Command to the right that it needs; a command that is not here is refused."""


class Where(Protocol):
    """What knows the settings of a command."""

    def settings(self, **flags: str | None) -> Settings:
        """Return them, with more flags."""
        ...


def admit(door: Where, given: Mapping[str, Any]) -> None:
    """Raise ``NotAllowedError`` unless whoever acts may use the present command."""
    path = path_of(click.get_current_context())
    if path is None:
        return
    rule = RULES.get(path)
    if rule is None:
        raise NotAllowedError("undeclared", f"nobody may use {path}: it has no rule; report it")
    if rule == ON_THE_MACHINE:
        return
    from topstitch.governance.access import CHANGES_NOTHING

    elsewhere = given.get("pending") or given.get("url")  # only looked at, or sent to a server that asks
    if rule not in CHANGES_NOTHING and not elsewhere:
        _ask(door.settings(person=given.get("person")), rule, given)


async def acting(settings: Settings, store: Store) -> Identity | None:
    """Return who acts on this machine, as a user; nobody while there are no users."""
    from topstitch.store import people

    if not await people.anybody(store):
        return None
    from topstitch.bootstrap.entrance import entrance
    from topstitch.cli.clocks import clock_of

    found = await entrance(settings, store, clock_of(settings)).find(settings.person)
    if found is None:
        remedy = "say who you are with --as, TOPSTITCH_PERSON or person in topstitch.toml"
        raise NotAllowedError(
            "person-unknown", f"there is no user '{settings.person}' here, or they are disabled; {remedy}"
        )
    return found


async def speaking(settings: Settings, store: Store) -> Identity:
    """Return who acts on this machine; while there are no users, the person of the settings, who may do anything."""
    from topstitch.governance.access import ROLES, Identity

    return await acting(settings, store) or Identity(id=settings.person, roles=ROLES, via="machine")


def path_of(context: click.Context) -> str | None:
    """Return what was called, without the root; nothing when this is not our command line (a test of one group)."""
    parts = []
    here: click.Context | None = context
    while here is not None and here.parent is not None:
        parts.append(str(here.command.name))
        here = here.parent
    if here is None or here.command.name != ROOT:
        return None
    return " ".join(reversed(parts))


def _ask(settings: Settings, right: str, given: Mapping[str, Any]) -> None:
    from topstitch.bootstrap.database import open_store
    from topstitch.store.database import sqlite_path

    if settings.is_sqlite and not sqlite_path(settings.database).exists():
        return  # nobody is a user of what is not there
    with open_store(settings, threads=False) as store:
        asyncio.run(_required(settings, store, right, given))


async def _required(settings: Settings, store: Store, right: str, given: Mapping[str, Any]) -> None:
    from topstitch.governance.access import may, may_somewhere, require

    identity = await acting(settings, store)
    if identity is None or may(identity, right):
        return
    if right == "definitions.publish" and may_somewhere(identity, right):
        return  # it asks again with the workflow
    place = await _place(store, given.get("name")) if may_somewhere(identity, right) else None
    require(identity, right, place)


async def _place(store: Store, name: object) -> str | None:
    """Return the workflow that a command is about, when it names an instance or something of one."""
    from topstitch.store import instances, items

    if not isinstance(name, str) or not name:
        return None
    for get in (items.get_approval, items.get_task, items.get_case, items.get_discrepancy):
        try:
            return str((await instances.get(store, (await get(store, name))["instance"]))["workflow"])
        except NotFoundError:
            continue
    found = await instances.find(store, name, limit=2)
    return str((await instances.get(store, found[0]))["workflow"]) if len(found) == 1 else None
