"""Publishes a checked definition: its normal form under its digest, in force from now on.

The doors call it. Nothing is published that has a failure without a declared end. What is in force
when the author looks is the parent; if somebody else has published since, nothing is published. A dry run gives
the digest of the change, its plan; publishing that plan is refused when anything moved since.
Where four eyes are asked for, a change of high risk by its own author waits for a second person; in
production, every change does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import msgspec

from topstitch.foundation.canonical import digest as digest_of, parse
from topstitch.foundation.errors import AuthorError, ConflictError, RequestError
from topstitch.governance.access import Identity, require
from topstitch.governance.four_eyes import why_two
from topstitch.language.check import CheckResult
from topstitch.language.diff import Diff, diff
from topstitch.language.load import load
from topstitch.language.normal import definition_digest, normal_form, workflow_from_normal
from topstitch.language.schema import Workflow
from topstitch.model.action import Contracts
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft, Stage, parse_actor
from topstitch.office.second_people import require_author_or, require_second
from topstitch.plan.compile import compile_plan
from topstitch.plan.plan import Plan
from topstitch.store import Store, definitions, people, proposals
from topstitch.store.definitions import Definition
from topstitch.store.proposals import Proposal
from topstitch.verifier.verify import verify

PROOF_SECONDS: Final = 1.0
"""For the exploration when publishing; level 1 and the pairs are always complete."""
PLAN_CHARS_MIN: Final = 8
"""So much of a plan's digest has to be typed."""
PLAN_CHARS_SHOWN: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What became of publishing."""

    workflow: str
    version: str
    digest: str
    parent: str | None
    parent_version: str | None
    changed: bool
    difference: Diff | None
    dry_run: bool = False
    waits: tuple[str, ...] = ()
    """Why it waits for a second person; nothing: it does not."""

    @property
    def plan_digest(self) -> str:
        """The digest of the change: of what it makes of what."""
        return digest_of({"digest": self.digest, "parent": self.parent, "version": self.version})

    @property
    def plan_name(self) -> str:
        """The plan's digest as it is typed."""
        return self.plan_digest.removeprefix("sha256:")[:PLAN_CHARS_SHOWN]

    def document(self) -> dict[str, Any]:
        """Return it as data."""
        planned = {"plan_digest": self.plan_digest} if self.dry_run else {}
        return {
            "workflow": self.workflow,
            "version": self.version,
            "digest": self.digest,
            "parent": self.parent,
            "parent_version": self.parent_version,
            "changed": self.changed,
            "dry_run": self.dry_run,
            "changes": [c.sentence for c in self.difference.changes] if self.difference else [],
            "waits": list(self.waits),
            **planned,
        }

    def lines(self) -> list[str]:
        """Return it as a person reads it."""
        if not self.changed and not self.dry_run and not self.waits:
            return [f"{self.workflow} {self.version} is in force already ({self.digest[:19]})."]
        what = f"{self.parent_version} → {self.version}" if self.parent_version else self.version
        lines = [f"{self.workflow}  {what}  {self.digest[:19]}"]
        lines += [f"  {change.sentence}" for change in self.difference.changes] if self.difference else []
        if self.waits:
            lines += ["It needs a second person, because", *(f"  {reason}" for reason in self.waits)]
        if self.dry_run:
            return [*lines, f"Plan {self.plan_digest}", "Nothing was published (--dry-run)."]
        if self.waits:
            agree = f"topstitch publish --agree {self.digest.removeprefix('sha256:')[:12]}"
            return [*lines, f"Another publisher agrees with: {agree}"]
        return [*lines, "Published. Events from now on start it; what is in flight stays on its own version."]


async def publish_into(
    store: Store,
    text: str,
    checked: CheckResult,
    contracts: Contracts,
    *,
    environment: str,
    now: datetime,
    by: str,
    author: str | None = None,
    four_eyes: bool | None = None,
    parent: str | None = None,
    planned: str | None = None,
    dry_run: bool = False,
) -> Publication:
    """Publish into an open store. ``author`` wrote it, where that is not who publishes (``by``).

    ``four_eyes`` says whether a change of high risk needs a second person; nothing: nobody asks. ``planned`` is how
    the digest of the change begins that somebody looked at: with another one, nothing is published.
    """
    workflow = checked.workflow
    assert workflow is not None
    digest = definition_digest(workflow)
    plan = prove(contracts, text, workflow, digest)
    before = await definitions.in_force_of(store, workflow.workflow)
    seen = parent if parent is not None else before.digest if before else None
    difference = difference_to(before, workflow, digest)
    known = {d.version: d.digest for d in await definitions.versions(store, workflow.workflow)}
    if difference is not None and difference.refused and workflow.version not in known:
        raise AuthorError("version-too-small", f"{workflow.workflow} {workflow.version}: {difference.verdict()}")
    risks = why_two(difference, plan, environment) if before is None or before.digest != digest else ()
    publication = Publication(
        workflow=workflow.workflow,
        version=workflow.version,
        digest=digest,
        parent=before.digest if before else None,
        parent_version=before.version if before else None,
        changed=False,
        difference=difference,
        dry_run=dry_run,
        waits=risks if four_eyes and author in (None, by) else (),
    )
    if planned is not None:
        _require_planned(publication, planned)
    if not dry_run:
        new = Definition(
            digest=digest,
            workflow=workflow.workflow,
            version=workflow.version,
            text=text,
            normal=msgspec.json.encode(normal_form(workflow)).decode(),  # the author's order of steps, for people
            published_at=now,
            published_by=author or by,
        )
        if publication.waits:
            await _propose(store, new, seen, publication.waits)
            return publication
        changed = await definitions.publish(store, new, parent=seen, moved_by=by)
        if risks and changed and four_eyes is not None:
            await proposals.note_alone(store, new, parse_actor(by), now, "two people" if four_eyes else "off")
        return replace(publication, changed=changed)
    return publication


def _require_planned(found: Publication, planned: str) -> None:
    """Raise unless a change is the one that somebody looked at."""
    beginning = planned.removeprefix("sha256:").lower()
    if len(beginning) < PLAN_CHARS_MIN:
        message = f"{planned!r} is too short for a plan; give at least {PLAN_CHARS_MIN} characters of its digest"
        raise RequestError("plan-unclear", message)
    if not found.plan_digest.removeprefix("sha256:").startswith(beginning):
        message = "what publishing would change is not what you looked at; plan it again, then publish that"
        raise ConflictError("stale-plan", message, detail={"plan": found.plan_digest, "in_force": found.parent})


async def wants_four_eyes(store: Store, setting: str) -> bool:
    """Whether the setting asks for a second person here: ``auto`` does as soon as there are users."""
    return setting == "high-risk" or (setting == "auto" and await people.anybody(store))


async def agree(store: Store, beginning: str, by: Identity, now: datetime) -> Proposal:
    """Put a proposal in force as a second person; raise when they are its author, or may not publish."""
    found = await proposals.find(store, beginning)
    require_second(
        by, found.proposed_by, "definitions.publish", found.workflow, wrote=f"wrote {found.workflow} {found.version}"
    )
    await proposals.agree(store, found, parse_actor(by.actor), now)
    return found


async def withdraw(store: Store, beginning: str, by: Identity, now: datetime) -> Proposal:
    """Take a proposal back: its author, or whoever may publish."""
    found = await proposals.find(store, beginning)
    require_author_or(by, found.proposed_by, "definitions.publish", found.workflow)
    await proposals.withdraw(store, found, parse_actor(by.actor), now)
    return found


async def retire(store: Store, workflow: str, by: Identity, now: datetime, *, because: str) -> Definition:
    """Let new events start nothing of a workflow; return what was in force. What is under way keeps its version.

    One that another workflow in force starts as a step is refused, because that step could only fail.
    """
    require(by, "definitions.publish", workflow)
    callers = [one.workflow for one in await definitions.in_force(store) if workflow in _called(one)]
    if callers:
        message = f"{workflow} is started by a step of {', '.join(callers)}; publish that without it, or retire it"
        raise ConflictError("workflow-called", message)
    body = {"command": "workflow.retire", "workflow": workflow, "reason": because}
    draft = Draft(kind=Kind.OPERATOR_COMMANDED, at=now, actor=parse_actor(by.actor), stage=Stage.AUDIT, body=body)
    return await definitions.retire(store, workflow, draft)


def _called(one: Definition) -> set[str]:
    steps = workflow_from_normal(parse(one.normal)).steps.values()
    return {step.call.workflow for step in steps if step.call is not None}


async def _propose(store: Store, new: Definition, parent: str | None, because: tuple[str, ...]) -> None:
    proposal = Proposal(
        digest=new.digest,
        workflow=new.workflow,
        version=new.version,
        source=new.text,
        normal=new.normal,
        parent=parent,
        because=because,
        proposed_at=new.published_at,
        proposed_by=new.published_by,
    )
    await proposals.propose(store, proposal, parse_actor(new.published_by))


def prove(contracts: Contracts, text: str, workflow: Workflow, digest: str) -> Plan:
    """Return the plan; raise ``AuthorError`` naming each path of failure without a declared end (E-09)."""
    plan = compile_plan(workflow, contracts, digest)
    verdict = verify(plan, workflow, PROOF_SECONDS, 1, document=load(text, f"{workflow.workflow}.yaml"))
    if verdict.ok:
        return plan
    said = [f"{'.'.join(map(str, f.path))} (line {f.span.line}): {f.message}; {f.help}" for f in verdict.errors]
    what = "is not covered" if len(said) == 1 else f"has {len(said)} failures that are not covered"
    message = f"{workflow.workflow} {workflow.version} {what}: {' | '.join(said)}. See topstitch verify"
    raise AuthorError("not-covered", message, detail={"paths": [".".join(map(str, f.path)) for f in verdict.errors]})


def difference_to(before: Definition | None, workflow: Workflow, digest: str) -> Diff | None:
    """Return what a definition changes in the one that is in force."""
    if before is None or before.digest == digest:
        return None
    return diff(workflow_from_normal(parse(before.normal)), workflow)
