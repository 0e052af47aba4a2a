"""Policies: the bundle in force, every one before it, and what it says of facts that are tried out."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response

from topstitch.api.answers import cut, send, single
from topstitch.api.hands import ApiHands
from topstitch.api.operations import PAGE, After, Id, Limit, operation, router
from topstitch.api.shapes import PageOf, PolicyCase
from topstitch.foundation.canonical import parse
from topstitch.foundation.errors import NotFoundError, RequestError
from topstitch.governance.agents import limits
from topstitch.governance.bundle import Bundle, bundle_from_normal
from topstitch.governance.policy import assumed
from topstitch.store import policies
from topstitch.store.policies import StoredBundle

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
