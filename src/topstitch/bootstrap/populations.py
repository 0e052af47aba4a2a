"""Compares whole populations: reads both sides, lets ``reconciliation.population`` judge, keeps what was found.

``serve`` runs ``watch`` beside the engine; what is due is a row, so that a restart forgets none and
two processes compare once. ``topstitch reconcile`` runs one now. Reads only, in every system: a
record that an instance of ours stands behind is read again by that instance, which then files the
ticket; the rest has an alert.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from topstitch.bootstrap.installation import Installation
from topstitch.foundation.errors import ConflictError, ConnectorError, NotFoundError, TopstitchError
from topstitch.foundation.timetext import rfc3339
from topstitch.language.expressions import Facts
from topstitch.model.orders import Result
from topstitch.model.record import ENGINE
from topstitch.model.state import InstanceState
from topstitch.office.desk import Desk
from topstitch.plan.plan import Plan, PopulationPlan, SidePlan
from topstitch.plan.scope import process
from topstitch.reconciliation import desk as judging, population
from topstitch.reconciliation.conclude import discrepancy_id
from topstitch.reconciliation.population import Compared, Known, What
from topstitch.store import populations
from topstitch.store.rows import Shown
from topstitch.store.sealing import milliseconds

LOG: Final = logging.getLogger("topstitch.populations")
LOOK_SECONDS: Final = 60
"""How often it is looked what is due."""


class Populations:
    """The whole populations of one installation."""

    def __init__(self, house: Installation) -> None:
        self._house = house

    async def watch(self) -> None:
        """Compare what is due, again and again, until cancelled; what goes wrong in one is said and tried again."""
        while True:
            try:
                await self.look()
            except TopstitchError as error:
                LOG.error("populations: %s", error)  # noqa: TRY400 -- the message says it all
            await self._house.clock.sleep_until(self._house.clock.now() + timedelta(seconds=LOOK_SECONDS))

    async def look(self) -> list[str]:
        """Compare everything that is due now; return the workflows."""
        store, now = self._house.ports.store, self._house.clock.now()
        plans = {plan.workflow: plan for plan in await self._house.plans.in_force() if plan.reconcile.population}
        every = {name: _every_ms(plan) for name, plan in plans.items()}
        await populations.schedule(store, {name: (plan.digest, every[name]) for name, plan in plans.items()}, now)
        due = await populations.take_due(store, now, every)
        for workflow in due:
            try:
                await self.compare(plans[workflow])
            except TopstitchError as error:
                LOG.error("the populations of %s were not compared: %s", workflow, error)  # noqa: TRY400
        return due

    async def compare(self, plan: Plan) -> tuple[Compared, list[Shown]]:
        """Compare one workflow's populations now; return the counts and every difference that stands."""
        wanted = plan.reconcile.population
        if wanted is None:
            message = f"{plan.workflow} compares no populations; declare them under reconcile: population:"
            raise NotFoundError("no-population", message)
        store, now = self._house.ports.store, self._house.clock.now()
        try:
            left = await self._rows(plan, wanted.left, now)
            right = await self._rows(plan, wanted.right, now)
        except ConnectorError as error:
            await populations.could_not(store, plan.workflow, error.message, now)
            raise
        known = await self._known(plan, wanted, left, right, now)
        compared = population.compare(wanted, left, right, known)
        found = [(f.what.value, f.system, f.subject, f.instance) for f in compared.differences]
        standing = await populations.keep(
            store, plan.workflow, found, counts_of(compared), now, wanted.grace_seconds * 1000
        )
        opened = [row for row in standing if row["state"] == "open" and row["opened_at"] == _ms(now)]
        gone = await populations.resolved_at(store, plan.workflow, milliseconds(now))
        await self._have_read_again(plan, wanted, opened, "missing from the population")
        await self._have_read_again(plan, wanted, gone, "in the population again")
        return compared, standing

    async def _rows(self, plan: Plan, side: SidePlan, now: datetime) -> list[Mapping[str, Any]]:
        nobody = InstanceState(id="population", started_at=now)
        params = dict(side.params.render(Facts({"process": process(plan, nobody)})) or {})
        if "since" in (side.action.input.get("properties") or {}):
            params.setdefault("since", rfc3339(population.since_of(side, now))[:10])
        reader = self._house.ports.connectors.reader(side.system)
        outcome = await reader.read(
            side.action.name,
            params,
            key=f"population/{plan.workflow}/{side.action.name}",
            instance="population",
            timeout_seconds=side.action.timeout_seconds,
        )
        if outcome.result is not Result.OK:
            said = outcome.problem.message if outcome.problem else str(outcome.result)
            title = plan.systems[side.system].title
            raise ConnectorError("side-unreadable", f"{title} could not be read ({said}), so nothing was compared")
        rows: list[Mapping[str, Any]] = (outcome.value or {}).get("rows", [])
        return rows[: population.ROWS_MAX]

    async def _known(
        self,
        plan: Plan,
        wanted: PopulationPlan,
        left: Sequence[Mapping[str, Any]],
        right: Sequence[Mapping[str, Any]],
        now: datetime,
    ) -> list[Known]:
        keys = population.keys_of(wanted.left, left)[0] + population.keys_of(wanted.right, right)[0]
        since = population.since_of(wanted.right, now)
        rows = await populations.instances_for(self._house.ports.store, plan.workflow, wanted.right.system, keys, since)
        return [
            Known(
                instance=str(row["id"]),
                key=str(row["correlation"]),
                status=str(row["status"]),
                is_open=row["ended_at"] is None,
                adopted=bool(row["adopted"]),
            )
            for row in rows
        ]

    async def _have_read_again(self, plan: Plan, wanted: PopulationPlan, rows: Sequence[Shown], because: str) -> None:
        """Have the instances behind missing records compare them: a discrepancy of theirs has a ticket."""
        record = next((r for r in plan.reconcile.records if r.system == wanted.right.system), None)
        desk = Desk(self._house.ports.store, self._house.plans.load, self._house.clock)
        for row in rows:
            if record is None or row["what"] != What.MISSING or row["instance"] is None:
                continue
            name = str(row["instance"])
            own = (await desk.picture(name)).plan
            with suppress(ConflictError, NotFoundError):
                await desk.say(
                    name,
                    lambda state, at, own=own: judging.act(  # type: ignore[misc]
                        own,
                        state,
                        discrepancy_id(state, record.name),
                        "recheck",
                        ENGINE,
                        because,
                        at,
                    ),
                )


def counts_of(compared: Compared) -> dict[str, int]:
    """Return the figures of a comparison, one for each kind of difference."""
    figures = {name: value for name, value in asdict(compared).items() if isinstance(value, int)}
    return figures | {what.value: sum(1 for f in compared.differences if f.what is what) for what in What}


def _ms(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _every_ms(plan: Plan) -> int:
    assert plan.reconcile.population is not None
    return plan.reconcile.population.every_seconds * 1000


async def stopped(watching: asyncio.Task[None]) -> None:
    """End the watch."""
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
