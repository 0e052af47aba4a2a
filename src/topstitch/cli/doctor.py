"""The command that looks whether everything is there: folder, database, connections, definitions, chains."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from topstitch.cli.command import FAILED, Door, command, fail
from topstitch.cli.screen import counted
from topstitch.foundation.errors import TopstitchError

if TYPE_CHECKING:
    from topstitch.settings import Settings

Finding = tuple[str, str, str]
"""``ok``, ``warn`` or ``bad``; what was looked at; what was found."""


@command("doctor")
def doctor(door: Door) -> None:
    """Look whether everything that is needed is there, and say what to do about what is not."""
    found = door.run(_look(door.settings()))
    door.screen.data({"findings": [{"state": s, "what": w, "found": f} for s, w, f in found]})
    for state, what, text in found:
        door.screen.print(f"{door.screen.mark(state)} {what}: {text}")
    if any(state == "bad" for state, _, _ in found):
        fail(FAILED)


async def _look(settings: Settings) -> list[Finding]:
    return [finding async for finding in _findings(settings)]


async def _findings(settings: Settings) -> AsyncIterator[Finding]:
    import sys

    yield "ok", "Python", sys.version.split()[0]
    yield "ok", "data folder", str(settings.data.resolve())
    async for finding in _database(settings):
        yield finding
    async for finding in _connections(settings):
        yield finding


async def _database(settings: Settings) -> AsyncIterator[Finding]:
    from topstitch.bootstrap.auditing import anchor_findings
    from topstitch.cli.chains import verify_chains
    from topstitch.cli.desk import desk
    from topstitch.store import definitions, instances

    try:
        async with desk(settings) as here:
            yield "ok", "database", settings.database if settings.is_sqlite else settings.database.rpartition("@")[2]
            published = await definitions.in_force(here.store)
            names = ", ".join(f"{d.workflow} {d.version}" for d in published)
            yield (
                ("ok" if published else "warn"),
                "definitions in force",
                names or "none; publish one with topstitch publish",
            )
            counts = await instances.counts(here.store)
            yield (
                "ok",
                "instances",
                ", ".join(f"{n} {s.replace('_', ' ')}" for s, n in sorted(counts.items())) or "none yet",
            )
            orphans = await instances.orphans(here.store)
            if orphans:
                listed = ", ".join(str(o["id"]) for o in orphans[:3])
                yield (
                    "bad",
                    "orphans",
                    f"{len(orphans)} instances that nothing will wake, such as {listed}; report this",
                )
            chains = await verify_chains(here.store, settings)
            yield (
                ("bad", "chains", "; ".join(chains.broken[:3]))
                if chains.broken
                else ("ok", "chains", f"{counted(chains.records, 'record')} intact, {chains.trust}")
            )
            for finding in anchor_findings(settings, here.store):
                yield finding
    except TopstitchError as error:
        if error.code == "no-data" and settings.data.is_dir():
            yield "warn", "database", "none yet; the first topstitch publish makes it"
            return
        yield "bad", "database", error.message


async def _connections(settings: Settings) -> AsyncIterator[Finding]:
    from topstitch.bootstrap.measuring import route_findings
    from topstitch.cli.connections import healths, reveal
    from topstitch.connectors.connections import load_connections
    from topstitch.connectors.registry import Registry

    try:
        known = load_connections(settings.connections)
        await reveal(settings, known)
    except TopstitchError as error:
        yield "bad", "connections", error.message
        return
    registry = Registry(known)
    try:
        async for one in healths(registry, tuple(known.connections)):
            yield ("ok" if one.ok else "bad"), one.alias, f"{one.connector} {one.says}" if one.ok else one.says
        for finding in route_findings(settings, registry):
            yield finding
    finally:
        await registry.close()
    if not known.connections:
        yield "warn", "connections", f"none yet; add them to {settings.connections}"
