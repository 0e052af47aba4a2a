"""Keeps compiled plans: one per published definition version, and which versions are in force.

The engine asks for a plan by digest at every activation, the trigger for those in force at
every event. A digest always means the same text, so a plan is compiled once; which version
is in force is asked of the database each time, because another process may have published.
"""

from __future__ import annotations

from collections.abc import Sequence

from topstitch.foundation.canonical import parse
from topstitch.foundation.errors import NotFoundError
from topstitch.language.normal import workflow_from_normal
from topstitch.model.action import Contracts
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan
from topstitch.store import Store, definitions
from topstitch.store.definitions import Definition


class Plans:
    """The compiled definitions of one installation."""

    def __init__(self, store: Store, contracts: Contracts) -> None:
        self._store = store
        self._contracts = contracts
        self._plans: dict[str, Plan] = {}

    async def load(self, digest: str) -> Plan:
        """Return the plan of a definition version by its digest."""
        plan = self._plans.get(digest)
        return plan if plan is not None else self._compiled(await definitions.get(self._store, digest))

    async def in_force(self) -> Sequence[Plan]:
        """Return the plan that new events start, of every workflow."""
        return [self._compiled(definition) for definition in await definitions.in_force(self._store)]

    async def of(self, workflow: str) -> Plan:
        """Return the plan in force of one workflow."""
        found = await definitions.in_force_of(self._store, workflow)
        if found is None:
            message = f"no workflow {workflow!r} is published; publish it, or correct the name"
            raise NotFoundError("no-workflow", message)
        return self._compiled(found)

    def _compiled(self, definition: Definition) -> Plan:
        plan = self._plans.get(definition.digest)
        if plan is None:
            workflow = workflow_from_normal(parse(definition.normal))
            plan = self._plans[definition.digest] = compile_plan(workflow, self._contracts, definition.digest)
        return plan
