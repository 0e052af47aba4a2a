"""Publishes a checked definition: its normal form under its digest, in force from now on.

``publish`` and the demo call it. What is in force when the author looks is the parent; if somebody
else has published since, nothing is published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from topstitch.bootstrap.database import open_store
from topstitch.cli.clocks import clock_of
from topstitch.foundation.canonical import parse
from topstitch.foundation.errors import AuthorError
from topstitch.language.check import CheckResult
from topstitch.language.diff import Diff, diff
from topstitch.language.normal import definition_digest, normal_form, workflow_from_normal
from topstitch.language.schema import Workflow
from topstitch.settings import Settings
from topstitch.store import Store, definitions
from topstitch.store.definitions import Definition

PROOF_SECONDS: Final = 1.0
"""For the exploration when publishing; level 1 and the pairs are always complete."""


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

    def document(self) -> dict[str, Any]:
        """Return it as data."""
        return {
            "workflow": self.workflow,
            "version": self.version,
            "digest": self.digest,
            "parent": self.parent,
            "parent_version": self.parent_version,
            "changed": self.changed,
            "dry_run": self.dry_run,
            "changes": [c.sentence for c in self.difference.changes] if self.difference else [],
        }

    def lines(self) -> list[str]:
        """Return it as a person reads it."""
        if not self.changed and not self.dry_run:
            return [f"{self.workflow} {self.version} is in force already ({self.digest[:19]})."]
        what = f"{self.parent_version} → {self.version}" if self.parent_version else self.version
        lines = [f"{self.workflow}  {what}  {self.digest[:19]}"]
        lines += [f"  {change.sentence}" for change in self.difference.changes] if self.difference else []
        if self.dry_run:
            return [*lines, "Nothing was published (--dry-run)."]
        return [*lines, "Published. Events from now on start it; what is in flight stays on its own version."]


async def publish_definition(
    settings: Settings, text: str, checked: CheckResult, *, parent: str | None = None, dry_run: bool = False
) -> Publication:
    """Publish into the database of the settings."""
    with open_store(settings, threads=False) as store:
        return await publish_into(
            store, text, checked, now_of=settings, by=f"human:{settings.person}", parent=parent, dry_run=dry_run
        )


async def publish_into(
    store: Store,
    text: str,
    checked: CheckResult,
    *,
    now_of: Settings,
    by: str,
    parent: str | None = None,
    dry_run: bool = False,
) -> Publication:
    """Publish into an open store."""
    workflow = checked.workflow
    assert workflow is not None
    digest = definition_digest(workflow)
    _prove(now_of, text, workflow, digest)
    before = await definitions.in_force_of(store, workflow.workflow)
    seen = parent if parent is not None else before.digest if before else None
    difference = _difference(before, workflow, digest)
    known = {d.version: d.digest for d in await definitions.versions(store, workflow.workflow)}
    if difference is not None and difference.refused and workflow.version not in known:
        raise AuthorError("version-too-small", f"{workflow.workflow} {workflow.version}: {difference.verdict()}")
    changed = False
    if not dry_run:
        new = Definition(
            digest=digest,
            workflow=workflow.workflow,
            version=workflow.version,
            text=text,
            normal=msgspec.json.encode(normal_form(workflow)).decode(),  # the author's order of steps, for people
            published_at=clock_of(now_of).now(),
            published_by=by,
        )
        changed = await definitions.publish(store, new, parent=seen)
    return Publication(
        workflow=workflow.workflow,
        version=workflow.version,
        digest=digest,
        parent=before.digest if before else None,
        parent_version=before.version if before else None,
        changed=changed,
        difference=difference,
        dry_run=dry_run,
    )


def _prove(settings: Settings, text: str, workflow: Workflow, digest: str) -> None:
    """Raise ``AuthorError`` with each uncovered path unless every failure has a declared end (E-09)."""
    from topstitch.cli.desk import contracts
    from topstitch.language.load import load
    from topstitch.plan.compile import compile_plan
    from topstitch.verifier.verify import verify

    plan = compile_plan(workflow, contracts(settings), digest)
    verdict = verify(plan, workflow, PROOF_SECONDS, 1, document=load(text, f"{workflow.workflow}.yaml"))
    if verdict.ok:
        return
    said = [f"{'.'.join(map(str, f.path))} (line {f.span.line}): {f.message}; {f.help}" for f in verdict.errors]
    what = "is not covered" if len(said) == 1 else f"has {len(said)} failures that are not covered"
    message = f"{workflow.workflow} {workflow.version} {what}: {' | '.join(said)}. See topstitch verify"
    raise AuthorError("not-covered", message, detail={"paths": [".".join(map(str, f.path)) for f in verdict.errors]})


def _difference(before: Definition | None, workflow: Workflow, digest: str) -> Diff | None:
    if before is None or before.digest == digest:
        return None
    return diff(workflow_from_normal(parse(before.normal)), workflow)
