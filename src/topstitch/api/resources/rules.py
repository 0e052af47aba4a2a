"""Policies: the bundle in force, every one before it, publishing another, and trying facts out.

A bundle that may demand less than the one in force waits until a second publisher agrees.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from fastapi import Request, Response

from topstitch.api.answers import cut, send, single
from topstitch.api.guard import caller_of
from topstitch.api.hands import ApiHands
from topstitch.api.operations import PAGE, After, Id, Limit, operation, router
from topstitch.api.shapes import PageOf, PolicyCase, PolicyGiven
from topstitch.foundation.canonical import parse
from topstitch.foundation.errors import AuthorError, NotFoundError, RequestError
from topstitch.governance.agents import limits
from topstitch.governance.bundle import Bundle, bundle_from_normal
from topstitch.governance.policy import assumed
from topstitch.language import messages
from topstitch.model.record import parse_actor
from topstitch.office import lawmaking
from topstitch.office.lawmaking import Checked
from topstitch.office.publishing import wants_four_eyes
from topstitch.store import policies
from topstitch.store.policies import Proposal, StoredBundle

api = router("policies")
IN_FORCE = "in-force"


@operation(api, "GET", "/policies", "policies.read", shape=PageOf, command="topstitch policy show")
async def list_policies(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List which bundle was put in force here, when and by whom, the present one first."""
    hands: ApiHands = request.app.state.hands
    moves = await policies.history(hands.store, hands.environment)
    rows = []
    for move in moves:
        stored = await policies.get(hands.store, move.digest)
        rows.append(
            {
                "id": f"{move.environment}/{move.revision}",
                "bundle": stored.ref,
                "digest": move.digest,
                "in_force": move is moves[0],
                "moved_at": move.moved_at,
                "moved_by": move.moved_by,
            }
        )
    return cut(request, rows, after, limit)


@operation(api, "POST", "/policies", "policies.publish", key="required", command="topstitch policy publish FOLDER")
async def publish_policy(request: Request, given: PolicyGiven) -> Response:
    """Check a bundle, run its tests and put it in force, or let it wait for a second person; waits says why."""
    hands: ApiHands = request.app.state.hands
    checked = await asyncio.to_thread(lawmaking.check_bundle, given.files)
    if not checked.clean:
        raise AuthorError("policy-not-clean", _said(checked), detail={"errors": list(_errors(checked))})
    done = await lawmaking.publish(
        hands.store,
        checked,
        environment=hands.environment,
        by=parse_actor(caller_of(request).actor),
        at=hands.clock.now(),
        parent=given.parent,
        four_eyes=await wants_four_eyes(hands.store, hands.four_eyes),
        dry_run=given.dry_run,
    )
    return send(done.document())


@operation(
    api, "GET", "/policies/proposals", "policies.read", shape=PageOf, command="topstitch policy publish --pending"
)
async def list_policy_proposals(request: Request, limit: Limit = PAGE, after: After = None) -> Response:
    """List which bundles wait for a second person, and why."""
    hands: ApiHands = request.app.state.hands
    found = [one for one in await policies.waiting(hands.store) if one.environment == hands.environment]
    return cut(request, [_proposal(one) for one in found], after, limit)


@operation(api, "POST", "/policies/proposals/{name}/agree", "policies.publish", key="required",
           command="topstitch policy publish --agree {name}")  # fmt: skip
async def agree_to_policy(request: Request, name: Id) -> Response:
    """Put in force what somebody else proposed."""
    hands: ApiHands = request.app.state.hands
    caller, now = caller_of(request), hands.clock.now()
    return send(_proposal(await lawmaking.agree(hands.store, name, hands.environment, caller, now)))


@operation(api, "POST", "/policies/proposals/{name}/withdraw", "policies.publish", key="required",
           command="topstitch policy publish --withdraw {name}")  # fmt: skip
async def withdraw_policy(request: Request, name: Id) -> Response:
    """Take back what was proposed."""
    hands: ApiHands = request.app.state.hands
    caller, now = caller_of(request), hands.clock.now()
    return send(_proposal(await lawmaking.withdraw(hands.store, name, hands.environment, caller, now)))


@operation(api, "GET", "/policies/{name}", "policies.read", command="topstitch policy show {name}")
async def get_policy(request: Request, name: Id) -> Response:
    """Show a bundle by its name@version or digest; in-force is the one that holds here."""
    stored = await _stored(request, name)
    return single(
        request,
        {
            "id": stored.ref,
            "digest": stored.digest,
            "published_at": stored.published_at,
            "published_by": stored.published_by,
            "text": parse(stored.normal),
        },
    )


@operation(api, "POST", "/policies/{name}/evaluate", "policies.try")
async def evaluate_policy(request: Request, name: Id, given: PolicyCase) -> Response:
    """Say what a bundle demands of facts that are given, as in its own tests. Nothing is recorded."""
    bundle = _opened(await _stored(request, name))
    facts = dict(given.given)
    rates = facts.pop("rates", {})
    try:
        scope = assumed(facts)
        verdict = bundle.decide(scope, rates)
        ruling = verdict.ruling.join(limits(scope["decided_by"]))
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        message = f"the facts are not those of a step ({error}); give them as the tests of a bundle do"
        raise RequestError("facts-invalid", message) from None
    reasons: list[dict[str, Any]] = [dict(reason.body()) for reason in verdict.reasons]
    return send({"bundle": bundle.ref, "outcome": str(ruling.outcome), "ruling": str(ruling), "because": reasons})


async def _stored(request: Request, name: str) -> StoredBundle:
    hands: ApiHands = request.app.state.hands
    if name == IN_FORCE:
        move = await policies.in_force(hands.store, hands.environment)
        if move is None:
            message = f"no policy is in force in {hands.environment}: the definitions decide; publish one"
            raise NotFoundError("no-bundle", message)
        return await policies.get(hands.store, move.digest)
    found = await policies.find(hands.store, name)
    if not found:
        raise NotFoundError("no-bundle", f"there is no policy bundle {name!r}; list them and use one from there")
    return found[0]


def _opened(stored: StoredBundle) -> Bundle:
    return bundle_from_normal(parse(stored.normal))


def _proposal(one: Proposal) -> dict[str, Any]:
    return {
        "id": one.digest,
        "bundle": one.ref,
        "environment": one.environment,
        "parent": one.parent,
        "proposed_at": one.proposed_at,
        "proposed_by": one.proposed_by,
        "because": list(one.because),
    }


def _said(checked: Checked) -> str:
    return f"the bundle has {checked.found} findings and {len(checked.failed)} failing tests; correct what errors names"


def _errors(checked: Checked) -> Iterator[dict[str, str]]:
    for document, found in checked.findings:
        for one in messages.as_json(document, found):
            detail = f"line {one['line']}: {one['message']}; {one['help']}"
            yield {"pointer": f"/files/{document.path}", "code": one["code"], "detail": detail}
    for test in checked.failed:
        detail = f"expected {test.expected}, got {test.got}"
        yield {"pointer": f"/tests/{test.index}", "code": "test-fails", "detail": detail}
