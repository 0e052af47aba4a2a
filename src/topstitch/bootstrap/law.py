"""Keeps the law of one installation: which policy bundle is in force, every one before it, and who decides beside it.

``wire`` makes one ``Laws``; the engine asks it at every activation and the intake at every event, because
another process may have published, or granted a delegation. A bundle never changes under its digest, so it
is read once; what is asked each time is two numbers. ``publish`` is the door to the store: nothing goes
through it that has a finding or a failing test. Where no bundle was ever published the
definitions alone decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from msgspec.structs import replace

from topstitch.foundation.canonical import canonical_bytes, digest_bytes, parse
from topstitch.foundation.errors import AuthorError, RequestError, TamperError
from topstitch.governance.agents import Act, require_agent_may
from topstitch.governance.bundle import Bundle, bundle_from_normal
from topstitch.governance.bundle_files import FILES_MAX, Findings, read_bundle
from topstitch.governance.duties import Delegation
from topstitch.governance.policy import NO_LAW, Law, Tested, run_tests
from topstitch.model.record import Actor, ActorKind
from topstitch.office.standing import agents_of, calendar_of, delegations_of
from topstitch.store import Store, deciding, policies
from topstitch.store.policies import StoredBundle


class Laws:
    """The law of one environment, as it was when last looked at."""

    def __init__(self, store: Store, environment: str) -> None:
        self._store, self._environment = store, environment
        self._bundles: dict[str, Bundle] = {}
        self._law = NO_LAW
        self._revision = 0
        self._changes = 0
        self._look: asyncio.Task[None] | None = None
        self.on_change: Callable[[], Awaitable[None]] | None = None
        """Called when something of the installation itself has changed, such as a stored credential."""

    def current(self) -> Law:
        """Return what held at the last ``refresh``."""
        return self._law

    async def delegations(self) -> tuple[Delegation, ...]:
        """Return who may answer for whom, as it is now; each grant knows its own time."""
        return (await self.refresh()).delegations

    @property
    def digest(self) -> str | None:
        """The bundle that an instance begins under now."""
        return self._law.in_force.digest if self._law.in_force else None

    async def refresh(self) -> Law:
        """Look whether a bundle was published since, here or by another process; return what holds.

        Whoever asks before a look has begun shares it: a hundred activations claimed at once cost one.
        """
        if self._look is None:
            self._look = asyncio.create_task(self._looked())
        await asyncio.shield(self._look)
        return self._law

    async def _looked(self) -> None:
        self._look = None  # who asks from here on needs a look of their own
        revision, changes = await deciding.revisions(self._store, self._environment)
        if changes > self._changes:
            await self._look_who_decides(changes)
        if revision > self._revision:
            await self._look_at_bundles()

    async def _look_who_decides(self, changes: int) -> None:
        """Read delegations, agents and the calendar anew: something of the installation itself has changed."""
        grants = await delegations_of(self._store)
        agents = await agents_of(self._store)
        calendar = await calendar_of(self._store, self._environment)
        if self.on_change is not None:
            await self.on_change()
        if changes > self._changes:  # a look that began later may have been quicker
            self._law = replace(self._law, delegations=grants, agents=agents, calendar=calendar)
            self._changes = changes

    async def _look_at_bundles(self) -> None:
        move = await policies.in_force(self._store, self._environment)
        if move is None:
            return
        for one in await policies.others(self._store, self._bundles):
            self._bundles[one.digest] = opened(one)
        if move.digest not in self._bundles:
            raise TamperError(
                "bundle-missing",
                f"the policy bundle in force in {self._environment} ({move.digest[:19]}) is not in the database any "
                "more; restore it from a backup",
                detail={"digest": move.digest},
            )
        if move.revision > self._revision:  # a look that began later may have been quicker
            self._law = replace(self._law, in_force=self._bundles[move.digest], bundles=dict(self._bundles))
            self._revision = move.revision


def opened(stored: StoredBundle) -> Bundle:
    """Return a stored bundle, ready to decide; raise ``TamperError`` when its text is not what was published."""
    if digest_bytes(stored.normal.encode()) != stored.digest:
        raise TamperError(
            "bundle-changed",
            f"the policy bundle {stored.ref} in the database is not the text that was published under "
            f"{stored.digest[:19]}; compare the database with a backup",
            detail={"digest": stored.digest},
        )
    return bundle_from_normal(parse(stored.normal))


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The files of a folder, read as a bundle, and what is to be said of them."""

    bundle: Bundle | None
    findings: Findings

    @cached_property
    def tests(self) -> tuple[Tested, ...]:
        """What came of each of the bundle's own tests."""
        return tuple(run_tests(self.bundle)) if self.bundle else ()

    @property
    def found(self) -> int:
        """How many findings there are."""
        return sum(len(found) for _, found in self.findings)

    @property
    def failed(self) -> tuple[Tested, ...]:
        """The tests that did not come out as written."""
        return tuple(test for test in self.tests if not test.passed)

    @property
    def clean(self) -> bool:
        """Whether it may be published."""
        return self.bundle is not None and not self.found and not self.failed


def check_bundle(files: Mapping[str, str]) -> Checked:
    """Read the files of a folder as a bundle and run its tests. ``files`` maps name to text."""
    if len(files) > FILES_MAX:
        raise RequestError(
            "too-many-files", f"a policy bundle has at most {FILES_MAX} files, and here are {len(files)}; join some"
        )
    bundle, findings = read_bundle(files)
    return Checked(bundle=bundle, findings=findings)


async def publish(
    store: Store, checked: Checked, *, environment: str, by: Actor, at: datetime, parent: str | None
) -> bool:
    """Publish a bundle and put it in force in ``environment``; return whether anything changed.

    ``parent`` is the digest that the publisher saw in force. Refuses a bundle with a finding or a
    failing test, and an agent as its publisher, whatever token it holds.
    """
    if by.kind is ActorKind.AGENT:
        require_agent_may(str(by), Act.CHANGE_POLICY)
    bundle = checked.bundle
    if bundle is None or not checked.clean:
        raise AuthorError("policy-not-clean", f"{_trouble(checked)}; correct what topstitch policy test names")
    new = StoredBundle(
        digest=bundle.digest,
        name=bundle.name,
        version=bundle.version,
        normal=canonical_bytes(bundle.normal()).decode(),
        published_at=at,
        published_by=str(by),
    )
    return await policies.publish(store, new, environment=environment, parent=parent)


def _trouble(checked: Checked) -> str:
    if checked.found or checked.bundle is None:
        return f"the policy was not published: it has findings ({checked.found})"
    failed = ", ".join(str(test.index + 1) for test in checked.failed)
    return f"the policy was not published: of its tests these fail: {failed}"
