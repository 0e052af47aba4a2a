"""Keeps compiled plans: one per published definition version, and which versions are in force.

The engine asks for a plan by digest at every activation, the trigger for those in force at
every event. A digest always means the same text, so a plan is compiled once; which version
is in force is asked of the database each time, because another process may have published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from topstitch.foundation.errors import NotFoundError, OperatorError
from topstitch.language.check import check
from topstitch.language.load import load
from topstitch.model.action import Contracts
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan
from topstitch.store import Store, definitions


class Plans:
    """The compiled definitions of one installation."""

    def __init__(self, store: Store, contracts: Contracts) -> None:
        self._store = store
        self._contracts = contracts
        self._plans: dict[str, Plan] = {}

    async def load(self, digest: str) -> Plan:
        """Return the plan of a definition version by its digest."""
        plan = self._plans.get(digest)
        if plan is None:
            published = await definitions.get(self._store, digest)
            if published is None:
                raise NotFoundError("no-definition", f"no definition {digest} was published here; publish it again")
            plan = self._plans[digest] = compiled(published.text, digest, self._contracts)
        return plan

    async def in_force(self) -> Sequence[Plan]:
        """Return the plan that starts now, of every workflow."""
        digests: Mapping[str, str] = await definitions.in_force(self._store)
        return [await self.load(digest) for digest in digests.values()]

    async def of(self, workflow: str) -> Plan:
        """Return the plan in force of one workflow."""
        digests = await definitions.in_force(self._store)
        if workflow not in digests:
            known = ", ".join(sorted(digests)) or "none"
            message = f"no workflow {workflow!r} is published; publish it, or name one of: {known}"
            raise NotFoundError("no-workflow", message)
        return await self.load(digests[workflow])


def compiled(text: str, digest: str, contracts: Contracts) -> Plan:
    """Compile a published text; it was checked when it was published."""
    result = check(load(text, path=digest), contracts)
    if result.workflow is None:
        first = result.errors[0].message if result.errors else "its shape is not read any more"
        message = f"the published definition {digest} cannot be read by this version ({first}); run the version that published it"
        raise OperatorError("definition-unreadable", message)
    return compile_plan(result.workflow, contracts, digest)
