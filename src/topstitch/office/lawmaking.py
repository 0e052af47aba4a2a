"""Puts a policy bundle in force: read, tested, compared with the one before it, and by two people where it loosens.

Every door that publishes calls it. Nothing is published that has a finding or a failing test. What was in
force when the publisher looked is the parent; if somebody else has published since, nothing is published. Where
four eyes are asked for, a bundle that may demand less waits until another publisher agrees. An agent publishes
nothing, whatever token it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from topstitch.foundation.canonical import canonical_bytes, digest_bytes, parse
from topstitch.foundation.errors import AuthorError, RequestError, TamperError
from topstitch.governance.access import Identity
from topstitch.governance.agents import Act, require_agent_may
from topstitch.governance.bundle import Bundle, Rule, bundle_from_normal, demanded
from topstitch.governance.bundle_files import FILES_MAX, Findings, read_bundle
from topstitch.governance.four_eyes import why_two_for_policy
from topstitch.governance.policy import Tested, run_tests
from topstitch.model.record import Actor, ActorKind, parse_actor
from topstitch.office.second_people import require_author_or, require_second
from topstitch.store import Store, policies
from topstitch.store.policies import Proposal, StoredBundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Enactment:
    """What became of publishing a bundle."""

    bundle: Bundle
    environment: str
    before: Bundle | None
    changed: bool
    dry_run: bool = False
    waits: tuple[str, ...] = ()
    """Why it waits for a second person; nothing: it does not."""

    def document(self) -> dict[str, Any]:
        """Return it as data."""
        return {
            "bundle": self.bundle.ref,
            "digest": self.bundle.digest,
            "environment": self.environment,
            "parent": self.before.digest if self.before else None,
            "changed": self.changed,
            "dry_run": self.dry_run,
            "tests": len(self.bundle.tests),
            "changes": differences(self.before, self.bundle) if self.before else [],
            "waits": list(self.waits),
        }

    def lines(self) -> list[str]:
        """Return it as a person reads it."""
        if not self.changed and not self.dry_run and not self.waits:
            return [f"{self.bundle.ref} is in force in {self.environment} already ({self.bundle.digest[:19]})."]
        what = f"{self.before.ref} → {self.bundle.ref}" if self.before else self.bundle.ref
        lines = [f"{what}  {self.bundle.digest[:19]}  in {self.environment}"]
        lines += [f"  {change}" for change in differences(self.before, self.bundle)] if self.before else []
        why = ["It needs a second person, because", *(f"  {reason}" for reason in self.waits)] if self.waits else []
        if self.dry_run:
            return [*lines, *why, "Nothing was published (--dry-run)."]
        if self.waits:
            agree = f"topstitch policy publish --agree {self.bundle.digest.removeprefix('sha256:')[:12]}"
            return [*lines, *why, f"Until then the policy in force stays. Another publisher agrees with: {agree}"]
        return [
            *lines,
            "Published. Hard rules hold at once for what is under way too; its soft rules stay those it began under.",
        ]


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
    store: Store,
    checked: Checked,
    *,
    environment: str,
    by: Actor,
    at: datetime,
    parent: str | None = None,
    author: Actor | None = None,
    four_eyes: bool | None = None,
    dry_run: bool = False,
) -> Enactment:
    """Publish a bundle and put it in force in ``environment``. ``author`` wrote it, where that is not who publishes.

    ``parent`` is the digest that the publisher saw in force; nothing: the one in force now. ``four_eyes`` says
    whether a bundle that loosens needs a second person; nothing: nobody asks.
    """
    if by.kind is ActorKind.AGENT:
        require_agent_may(str(by), Act.CHANGE_POLICY)
    bundle = checked.bundle
    if bundle is None or not checked.clean:
        raise AuthorError("policy-not-clean", f"{_trouble(checked)}; correct what topstitch policy test names")
    move = await policies.in_force(store, environment)
    before = opened(await policies.get(store, move.digest)) if move else None
    if before is not None and before.digest == bundle.digest:
        return Enactment(bundle=bundle, environment=environment, before=before, changed=False, dry_run=dry_run)
    risks = why_two_for_policy(before, bundle)
    waits = risks if four_eyes and author in (None, by) else ()
    seen = parent if parent is not None else before.digest if before else None
    changed = False
    if not dry_run:
        text, writer = canonical_bytes(bundle.normal()).decode(), str(author or by)
        if waits:
            proposal = Proposal(
                environment=environment,
                digest=bundle.digest,
                name=bundle.name,
                version=bundle.version,
                normal=text,
                parent=seen,
                because=waits,
                proposed_at=at,
                proposed_by=writer,
            )
            await policies.propose(store, proposal, by)
        else:
            new = StoredBundle(
                digest=bundle.digest,
                name=bundle.name,
                version=bundle.version,
                normal=text,
                published_at=at,
                published_by=writer,
            )
            why = "not needed" if not risks else "two people" if four_eyes else "off"
            changed = await policies.publish(store, new, environment=environment, parent=seen, actor=by, four_eyes=why)
    return Enactment(
        bundle=bundle, environment=environment, before=before, changed=changed, dry_run=dry_run, waits=waits
    )


async def agree(store: Store, beginning: str, environment: str, by: Identity, now: datetime) -> Proposal:
    """Put a proposal in force as a second person; raise when they are its author, or may not publish."""
    found = await policies.find_proposal(store, beginning, environment)
    require_second(by, found.proposed_by, "policies.publish", wrote=f"wrote {found.ref}")
    await policies.agree(store, found, parse_actor(by.actor), now)
    return found


async def withdraw(store: Store, beginning: str, environment: str, by: Identity, now: datetime) -> Proposal:
    """Take a proposal back: its author, or whoever may publish."""
    found = await policies.find_proposal(store, beginning, environment)
    require_author_or(by, found.proposed_by, "policies.publish")
    await policies.withdraw(store, found, parse_actor(by.actor), now)
    return found


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


def _trouble(checked: Checked) -> str:
    if checked.found or checked.bundle is None:
        return f"the policy was not published: it has findings ({checked.found})"
    failed = ", ".join(str(test.index + 1) for test in checked.failed)
    return f"the policy was not published: of its tests these fail: {failed}"


def differences(old: Bundle, new: Bundle) -> list[str]:
    """Say which rules and defaults another bundle has."""
    before, after = _parts(old), _parts(new)
    lines = [f"+ {name}: {after[name]}" for name in sorted(after.keys() - before.keys())]
    lines += [f"- {name}: {before[name]}" for name in sorted(before.keys() - after.keys())]
    both = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
    return lines + [f"~ {name}: {before[name]} → {after[name]}" for name in both]


def _parts(bundle: Bundle) -> dict[str, str]:
    rules = {f"{sort_of(rule)} rule {rule.id}": f"{demand_of(rule)} when {rule.when}" for rule in bundle.rules}
    defaults = {f"tier {tier}": text for tier, text in bundle.defaults.items()}
    return {**rules, **defaults, "asking": str(bundle.asking)}


def sort_of(rule: Rule) -> str:
    """Say which sort of rule it is."""
    return "hard" if rule.hard else "soft"


def demand_of(rule: Rule) -> str:
    """Say what a rule demands when it fires."""
    return f"deny ({rule.demand['deny']})" if rule.hard else str(demanded(rule.demand))
