"""Policies as they are in force: what may run alone, what needs a person, who put that in force, and trying it.

"Try it" asks the bundle in force what it would demand of a write whose facts somebody typed; nothing is
recorded and nothing is sent. Publishing is done with the command, which tests a bundle first; what waits for a
second person is agreed to, or taken back, here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from topstitch.console.hands import Hands
from topstitch.console.rights import part_seen
from topstitch.console.site import Site, back, sent, sheet, twin, who
from topstitch.foundation.canonical import parse
from topstitch.foundation.errors import NotFoundError, RequestError
from topstitch.governance.access import Identity, covered
from topstitch.governance.agents import limits
from topstitch.governance.bundle import TIERS, Bundle
from topstitch.governance.policy import Law, assumed, run_tests
from topstitch.office import lawmaking
from topstitch.store import Store, definitions, policies as kept

MOVES_SHOWN: Final = 30
EXAMPLE: Final = """{
  "step": {"action": "itsm.create_catalog_request", "risk": 2, "input": {"tier": "standard"}},
  "process": {"workflow": "employee-onboarding"},
  "context": {"quote": {"total": "2600 USD"}}
}"""
"""Facts that somebody may begin with."""


async def policies(request: Request) -> Response:
    """``GET /policies``: what is in force, what definitions themselves ask, and the history."""
    return await _policies(request)


async def try_it(request: Request) -> Response:
    """``POST /policies/try``: what the bundle in force would demand of these facts. Nothing is recorded."""
    form = await sent(request)
    text = form.get("facts", "")
    law = await _law(request)
    try:
        said: dict[str, Any] = {"answer": _verdict(law, text)}
    except RequestError as error:
        said = {"problem": error.message}
    return await _policies(request, text=text, **said)


async def agree(request: Request) -> Response:
    """``POST /policies/proposals/{name}/agree``: put in force what somebody else proposed."""
    done = await lawmaking.agree(*_proposed(request))
    return back(request, "/policies", f"{done.ref} is in force.")


async def withdraw(request: Request) -> Response:
    """``POST /policies/proposals/{name}/withdraw``: take it back."""
    done = await lawmaking.withdraw(*_proposed(request))
    return back(request, "/policies", f"{done.ref} no longer waits.")


def _proposed(request: Request) -> tuple[Store, str, str, Identity, datetime]:
    hands: Hands = request.app.state.hands
    name, person = request.path_params["name"], request.state.person.identity
    return hands.store, name, hands.environment, person, hands.clock.now()


def _verdict(law: Law, text: str) -> dict[str, Any]:
    """Return what is demanded, by which rules, and what they have read."""
    try:
        given = parse(text)
    except ValueError as error:
        raise RequestError("bad-facts", f"these facts are no JSON ({error}); correct them and try again") from None
    if not isinstance(given, Mapping):
        raise RequestError("bad-facts", "facts are a JSON object, such as the example; correct them and try again")
    for name in ("step", "process", "actor", "decided_by", "calendar"):
        if not isinstance(given.get(name, {}), Mapping):
            raise RequestError("bad-facts", f"{name} has to be an object; correct it and try again")
    scope = assumed(given)
    verdict = law.verdict(scope)
    ruling = verdict.ruling.join(limits(scope["decided_by"]))
    return {
        "ruling": str(ruling),
        "tone": {"deny": "breach", "auto": "ok"}.get(str(ruling).partition(" ")[0].partition(":")[0], "human"),
        "reasons": [reason.body() for reason in verdict.reasons],
        "absent": list(verdict.absent),
    }


async def _policies(request: Request, **more: Any) -> Response:
    site: Site = request.app.state.site
    law = await _law(request)
    own = await _own(request)
    return await site.render(
        request,
        "policies.html",
        nav="policies",
        title="Policies",
        bundles=[law.in_force] if law.in_force else [],
        environment=site.hands.environment,
        own=own,
        uncovered=sum(1 for one in own if one["alone"] and law.in_force is None),
        tiers=TIERS,
        moves=await _moves(site.hands),
        waiting=[one for one in await kept.waiting(site.hands.store) if one.environment == site.hands.environment],
        me=request.state.person.identity.actor,
        **{"text": EXAMPLE, "answer": None, "problem": None, **more},
        can_try=request.state.person.why_not("policies.try"),
        can_publish=request.state.person.why_not("policies.publish"),
        twin="/policies.json",
        sheet="/policies.csv",
        command="topstitch policy show",
    )


async def policies_json(request: Request) -> Response:
    """``GET /policies.json``."""
    site: Site = request.app.state.site
    law = await _law(request)
    return twin(
        {
            "environment": site.hands.environment,
            "in_force": law.in_force.normal() if law.in_force else None,
            "history": await _moves(site.hands),
            "writes": [{k: one[k] for k in WRITES} for one in await _own(request)],
        }
    )


WRITES: Final = ("workflow", "step", "title", "system", "risk", "alone_when", "asks")


async def policies_csv(request: Request) -> Response:
    """``GET /policies.csv``: every write of every definition in force, and what releases it."""
    return sheet(WRITES, await _own(request))


async def _law(request: Request) -> Law:
    hands: Hands = request.app.state.hands
    if hands.law is not None:
        return await hands.law()
    return Law(in_force=hands.bundles[0] if hands.bundles else None)


async def _own(request: Request) -> list[dict[str, Any]]:
    """Return every write of the definitions in force that may be seen, and what the definition itself asks."""
    hands: Hands = request.app.state.hands
    part, found = part_seen(request, "policies.read"), []
    for definition in await definitions.in_force(hands.store):
        if not covered(part, definition.workflow):
            continue
        plan = await hands.load(definition.digest)
        for step in plan.steps.values():
            if step.act is None or not step.act.action.writes:
                continue
            auto = step.approval.auto_when.source if step.approval and step.approval.auto_when else None
            found.append(
                {
                    "plan": plan,
                    "workflow": plan.workflow,
                    "step": step.id,
                    "title": step.title,
                    "system": plan.systems[step.system].title,
                    "risk": step.risk,
                    "alone_when": auto or ("never" if step.approval else "always"),
                    "auto": auto,
                    "alone": step.approval is None,
                    "asks": ", ".join(map(who, step.approval.ask)) if step.approval else "",
                }
            )
    return sorted(found, key=lambda one: -one["risk"])


async def _moves(hands: Hands) -> Sequence[Mapping[str, Any]]:
    """Return what was put in force here, the newest first."""
    found = []
    for move in await kept.history(hands.store, hands.environment, limit=MOVES_SHOWN):
        stored = await kept.get(hands.store, move.digest)
        found.append(
            {"ref": stored.ref, "name": stored.name, "digest": move.digest, "at": move.moved_at, "by": move.moved_by}
        )
    return found


async def policy(request: Request) -> Response:
    """``GET /policies/{name}``: one bundle, rule by rule, with its own tests."""
    site: Site = request.app.state.site
    name = request.path_params["name"]
    law = await _law(request)
    known: list[Bundle] = [b for b in (law.in_force, *site.hands.bundles) if b is not None]
    bundle = next((b for b in known if b.name == name), None)
    if bundle is None:
        raise NotFoundError("no-policy", f"there is no policy bundle {name}; see the list of policies")
    return await site.render(
        request,
        "policy.html",
        nav="policies",
        title=bundle.name,
        bundle=bundle,
        tests=run_tests(bundle),
        command=f"topstitch policy show {bundle.name}",
        twin="/policies.json",
    )
