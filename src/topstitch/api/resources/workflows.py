"""Workflows: their versions, drafts, what publishing would change, and publishing exactly that.

Whoever wrote a draft does not publish it when it is of high risk and four eyes are asked for: the same
judgement as on the command line. What was looked at is what is published: ``plan`` gives a digest of
the change, and ``publish`` takes nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request, Response

from topstitch.api.answers import cut, require_match, send, single
from topstitch.api.guard import caller_of
from topstitch.api.hands import ApiHands
from topstitch.api.operations import PAGE, After, Id, Limit, operation, router
from topstitch.api.shapes import DraftGiven, PageOf, PlanGiven, Publish
from topstitch.foundation.canonical import parse
from topstitch.foundation.errors import AuthorError, ConflictError, NotAllowedError, NotFoundError, RequestError
from topstitch.governance.access import covered, part_of, require
from topstitch.language import messages
from topstitch.language.check import CheckResult, check
from topstitch.language.load import load
from topstitch.language.normal import definition_digest
from topstitch.office.publishing import Publication, publish_into, wants_four_eyes
from topstitch.store import definitions, drafts
from topstitch.store.definitions import Definition
from topstitch.store.drafts import DefinitionDraft

api = router("workflows")


@operation(api, "GET", "/workflows", "workflows.read", shape=PageOf)
async def list_workflows(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List the workflows that are published, each with the version in force."""
    hands: ApiHands = request.app.state.hands
    part = part_of(caller_of(request), "workflows.read")
    found = [one for one in await definitions.in_force(hands.store) if covered(part, one.workflow)]
    return cut(request, [{"id": one.workflow, **_shown(one)} for one in found], after, limit)


@operation(api, "GET", "/workflows/{name}", "workflows.read")
async def get_workflow(request: Request, name: Id) -> Response:
    """Show a workflow: the version in force."""
    return single(request, await _in_force(request, name))


@operation(api, "GET", "/workflows/{name}/versions", "workflows.read", shape=PageOf)
async def list_versions(request: Request, name: Id, limit: Limit = PAGE, after: After = None) -> Response:
    """List the versions of a workflow, newest first, drafts before what is published."""
    hands: ApiHands = request.app.state.hands
    require(caller_of(request), "workflows.read", name)
    force = await definitions.in_force_of(hands.store, name)
    rows = [_draft(one) for one in await drafts.of(hands.store, name)]
    rows += [
        {**_shown(one), "status": "in_force" if force and one.digest == force.digest else "published"}
        for one in await definitions.versions(hands.store, name)
    ]
    if not rows:
        raise _unknown(name)
    return cut(request, rows, after, limit, key="version")


@operation(api, "GET", "/workflows/{name}/versions/{version}", "workflows.read")
async def get_version(request: Request, name: Id, version: Id) -> Response:
    """Show one version: the author's text, and what was compiled from it."""
    hands: ApiHands = request.app.state.hands
    require(caller_of(request), "workflows.read", name)
    for one in await definitions.versions(hands.store, name):
        if one.version == version:
            return single(request, {**_shown(one), "text": one.text, "normal": parse(one.normal)})
    draft = await drafts.get(hands.store, name, version)
    return single(request, {**_draft(draft), "text": draft.text})


@operation(api, "POST", "/workflows/{name}/versions", "definitions.write", status=201, key="required",
           command="topstitch validate FILE")  # fmt: skip
async def add_draft(request: Request, name: Id, given: DraftGiven) -> Response:
    """Hand a definition in as a draft; it is checked, and nothing with an error is kept."""
    hands: ApiHands = request.app.state.hands
    caller = caller_of(request)
    require(caller, "definitions.write", name)
    checked = _checked(hands, name, given.text)
    workflow = checked.workflow
    assert workflow is not None
    published = {one.version: one.digest for one in await definitions.versions(hands.store, name)}
    if workflow.version in published:
        message = f"{name} {workflow.version} is published and never changes; raise the version, then hand it in again"
        raise ConflictError("version-published", message)
    draft = DefinitionDraft(
        workflow=name,
        version=workflow.version,
        digest=definition_digest(workflow),
        text=given.text,
        made_at=hands.clock.now(),
        made_by=caller.actor,
    )
    await drafts.keep(hands.store, draft)
    location = f"/api/v1/workflows/{name}/versions/{draft.version}"
    return single(request, _draft(draft), 201, Location=location)


@operation(api, "POST", "/workflows/{name}/plan", "definitions.try", command="topstitch publish FILE --dry-run")
async def plan_workflow(request: Request, name: Id, given: PlanGiven) -> Response:
    """Say what publishing would change, why its author may not publish it (waits), and give the digest to publish."""
    hands: ApiHands = request.app.state.hands
    caller = caller_of(request)
    require(caller, "definitions.try", name)
    if (given.text is None) is (given.version is None):
        raise RequestError("plan-unclear", "give either the text of a definition or the version of a draft")
    text = given.text or (await drafts.get(hands.store, name, str(given.version))).text
    done = await _publication(hands, name, text, by=caller.actor)
    return send(done.document())


@operation(api, "POST", "/workflows/{name}/versions/{version}/publish", "definitions.publish", key="required",
           match=True, command="topstitch publish FILE")  # fmt: skip
async def publish_version(request: Request, name: Id, version: Id, given: Publish) -> Response:
    """Put a draft in force: exactly what plan showed, against exactly what was in force then."""
    hands: ApiHands = request.app.state.hands
    caller = caller_of(request)
    require(caller, "definitions.publish", name)
    draft = await drafts.get(hands.store, name, version)
    require_match(request, {**_draft(draft), "text": draft.text})
    seen = await _publication(hands, name, draft.text, by=caller.actor, author=draft.made_by)
    if seen.plan_digest != given.plan_digest:
        message = "what publishing would change is not what you looked at; plan it again, then publish that"
        raise ConflictError("stale-plan", message)
    if seen.waits:
        raise _author_publishes(seen)
    done = await _publication(
        hands, name, draft.text, by=caller.actor, author=draft.made_by, parent=seen.parent, dry_run=False
    )
    await drafts.forget(hands.store, name, version)
    return send(done.document(), headers={"Location": f"/api/v1/workflows/{name}/versions/{version}"})


async def _publication(
    hands: ApiHands,
    name: str,
    text: str,
    *,
    by: str,
    author: str | None = None,
    parent: str | None = None,
    dry_run: bool = True,
) -> Publication:
    return await publish_into(
        hands.store,
        text,
        _checked(hands, name, text),
        hands.contracts,
        environment=hands.environment,
        now=hands.clock.now(),
        by=by,
        author=author,
        four_eyes=await wants_four_eyes(hands.store, hands.four_eyes),
        parent=parent,
        dry_run=dry_run,
    )


def _author_publishes(seen: Publication) -> NotAllowedError:
    """Return the refusal for the author of a change of high risk, with what makes it one."""
    message = f"you wrote {seen.workflow} {seen.version} and it is of high risk; ask another publisher to publish it"
    errors = [{"pointer": "/plan_digest", "code": "high-risk", "detail": reason} for reason in seen.waits]
    return NotAllowedError("author-publishes", message, detail={"errors": errors})


def _checked(hands: ApiHands, name: str, text: str) -> CheckResult:
    document = load(text, f"{name}.yaml")
    checked = check(document, hands.contracts)
    if not checked.ok or checked.workflow is None:
        errors = [
            {"pointer": "/" + "/".join(map(str, one["path"])), "code": one["code"],
             "detail": f"line {one['line']}: {one['message']}; {one['help']}"}
            for one in messages.as_json(document, checked.errors)
        ]  # fmt: skip
        message = f"the definition has {len(errors)} findings; correct what errors names"
        raise AuthorError("definition-invalid", message, detail={"errors": errors})
    if checked.workflow.workflow != name:
        message = (
            f"the definition is of {checked.workflow.workflow}, not of {name}; correct the address or its workflow:"
        )
        raise RequestError("workflow-other", message)
    return checked


async def _in_force(request: Request, name: str) -> dict[str, Any]:
    hands: ApiHands = request.app.state.hands
    require(caller_of(request), "workflows.read", name)
    found = await definitions.in_force_of(hands.store, name)
    if found is None:
        raise _unknown(name)
    return {"id": name, **_shown(found), "text": found.text, "normal": parse(found.normal)}


def _unknown(name: str) -> NotFoundError:
    return NotFoundError("no-workflow", f"no workflow {name!r} is published; publish it, or correct the name")


def _shown(one: Definition) -> dict[str, Any]:
    normal: Mapping[str, Any] = parse(one.normal)
    return {
        "workflow": one.workflow,
        "version": one.version,
        "title": normal.get("title"),
        "digest": one.digest,
        "published_at": one.published_at,
        "published_by": one.published_by,
    }


def _draft(one: DefinitionDraft) -> dict[str, Any]:
    return {
        "workflow": one.workflow,
        "version": one.version,
        "digest": one.digest,
        "status": "draft",
        "made_at": one.made_at,
        "made_by": one.made_by,
    }
