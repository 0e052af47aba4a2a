"""Publishes a checked definition into the database of the settings: what ``publish`` and the demo call."""

from __future__ import annotations

from topstitch.bootstrap.database import open_store
from topstitch.cli.clocks import clock_of
from topstitch.cli.rights import speaking
from topstitch.language.check import CheckResult
from topstitch.office import publishing
from topstitch.office.publishing import Publication
from topstitch.settings import Settings
from topstitch.store import Store, proposals
from topstitch.store.proposals import Proposal


async def publish_definition(
    settings: Settings,
    text: str,
    checked: CheckResult,
    *,
    parent: str | None = None,
    planned: str | None = None,
    dry_run: bool = False,
) -> Publication:
    """Publish into the database of the settings."""
    from topstitch.cli.rights import acting
    from topstitch.governance.access import require

    with open_store(settings, threads=False) as store:
        me = await acting(settings, store)
        if me is not None and checked.workflow is not None and not dry_run:
            require(me, "definitions.publish", checked.workflow.workflow)
        return await publish_into(
            store,
            text,
            checked,
            now_of=settings,
            by=me.actor if me else f"human:{settings.person}",
            four_eyes=await publishing.wants_four_eyes(store, settings.four_eyes),
            parent=parent,
            planned=planned,
            dry_run=dry_run,
        )


async def agree(settings: Settings, beginning: str) -> Proposal:
    """Put in force what somebody else proposed."""
    with open_store(settings, threads=False) as store:
        return await publishing.agree(store, beginning, await speaking(settings, store), clock_of(settings).now())


async def withdraw(settings: Settings, beginning: str) -> Proposal:
    """Take back what was proposed."""
    with open_store(settings, threads=False) as store:
        return await publishing.withdraw(store, beginning, await speaking(settings, store), clock_of(settings).now())


async def waiting(settings: Settings) -> list[Proposal]:
    """Return what waits for a second person."""
    with open_store(settings, threads=False) as store:
        return await proposals.waiting(store)


async def publish_into(
    store: Store,
    text: str,
    checked: CheckResult,
    *,
    now_of: Settings,
    by: str,
    four_eyes: bool | None = None,
    parent: str | None = None,
    planned: str | None = None,
    dry_run: bool = False,
) -> Publication:
    """Publish into an open store."""
    from topstitch.cli.desk import contracts

    return await publishing.publish_into(
        store,
        text,
        checked,
        contracts(now_of),
        environment=now_of.environment,
        now=clock_of(now_of).now(),
        by=by,
        four_eyes=four_eyes,
        parent=parent,
        planned=planned,
        dry_run=dry_run,
    )
