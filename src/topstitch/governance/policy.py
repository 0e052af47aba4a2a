"""Decides what releases one write: the definition, the law and an agent's limits, the strictest wins.

The execution stage calls ``judge`` and records what it returns; ``explain`` reads that record
years later, works it out again from the facts and bundles that it names, and must come to the
same answer; ``replay`` asks what another bundle would have said; ``run_tests`` runs a bundle's
own tests. Nothing here reads the world or a clock, and no text in a payload is taken as a rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from topstitch.foundation.money import NO_RATES
from topstitch.governance.agents import Agent, limits
from topstitch.governance.bundle import Asking, Bundle, Verdict
from topstitch.governance.calendar import ALL_HOURS, Calendar
from topstitch.governance.duties import Delegation
from topstitch.governance.facts import DEFINITION_DECIDED, ENGINE_ACTS, NO_FREEZE, erased, is_told, rebuilt
from topstitch.governance.obligations import (
    AUTO,
    Level,
    Ruling,
    gates_body,
    gates_from,
    join_all,
    parse_ruling,
)
from topstitch.language.cel import ENGINE, ExpressionError
from topstitch.language.expressions import Facts, runtime_expression
from topstitch.model.record import Path
from topstitch.model.state import InstanceState
from topstitch.plan.plan import Plan, StepPlan
from topstitch.plan.scope import values

AGENT_LIMITS: Final = "agent-limits"
"""The rule of the engine's own that past an agent's limits a person is asked."""
LIMITS_READ: Final = ("kind", "id", "owner", "max_tier", "within_limits")
"""What that rule reads of a proposal; the words of the model are not among it."""
MARKS_MAX: Final = 500
"""For how many steps the personal facts are remembered."""
DEFINITION: Final = "definition:"
"""Begins the names of the rules that a definition makes for itself."""


class Law(msgspec.Struct, frozen=True, kw_only=True):
    """What holds in one environment, beside the definitions."""

    in_force: Bundle | None = None
    bundles: Mapping[str, Bundle] = {}
    """Earlier bundles by digest, for instances that began under them."""
    calendar: Calendar = ALL_HOURS
    agents: Mapping[str, Agent] = {}
    delegations: tuple[Delegation, ...] = ()

    @property
    def asking(self) -> Asking:
        """How people are asked when the definition does not say."""
        return self.in_force.asking if self.in_force else DEFAULT_ASKING

    def later(self, now: datetime, seconds: float) -> datetime:
        """Return when a wait of ``seconds`` that begins now is over: in working hours, when the bundle says so."""
        if self.asking.business_hours:
            return self.calendar.add(now, seconds)
        return now + timedelta(seconds=seconds)

    def pinned(self, digest: str | None) -> Bundle | None:
        """Return the bundle whose soft rules count for an instance that began under ``digest``."""
        return self.bundles.get(digest or "", self.in_force)

    def verdict(
        self, scope: Mapping[str, Any], rates: Mapping[str, str] = NO_RATES, digest: str | None = None
    ) -> Verdict:
        """Return what policy demands: hard rules as they are now, soft rules and tiers as when the instance began.

        A freeze must bite what is under way; a changed limit must not move under it (H-07).
        """
        soft = self.pinned(digest)
        if self.in_force is None or soft is None or soft.digest == self.in_force.digest:
            bundle = self.in_force or soft
            return bundle.decide(scope, rates) if bundle else Verdict()
        return self.in_force.decide(scope, rates, soft=False).join(soft.decide(scope, rates, hard=False))


DEFAULT_ASKING: Final = Asking()
NO_LAW: Final = Law()
"""Where no policy is in force, the definition alone decides."""


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What releases a write, and everything its record says of why."""

    ruling: Ruling
    body: Mapping[str, Any]
    """``outcome``, ``because``, ``env``, ``engine``; and when they apply ``gates``, ``denied``, ``facts``, ``absent``,
    ``policy``, ``decided_by``, ``rates``."""


def judge(
    law: Law,
    declared: Ruling,
    because: Sequence[Mapping[str, Any]],
    scope: Mapping[str, Any],
    *,
    rates: Mapping[str, str] = NO_RATES,
    digest: str | None = None,
) -> Judgement:
    """Join what a definition asks with what policy demands, and write down both.

    ``because`` are the definition's own reasons; ``digest`` is the bundle the instance began under.
    """
    verdict = law.verdict(scope, rates, digest)
    decided = scope["decided_by"]
    own = limits(decided)
    ruling = join_all((declared, verdict.ruling, own))
    reasons = [*because, *(reason.body() for reason in verdict.reasons)]
    if own is not AUTO:
        read = {name: decided[name] for name in LIMITS_READ if name in decided}
        reasons.append({"rule": AGENT_LIMITS, "read": {"decided_by": read}, "demands": str(own)})
    body: dict[str, Any] = {"outcome": ruling.outcome, "because": reasons, "env": scope["env"], "engine": ENGINE}
    if ruling.gates:
        body["gates"] = gates_body(ruling)
    if ruling.denials:
        body["denied"] = [{"rule": denied.rule, "text": denied.text} for denied in ruling.denials]
    if decided["kind"] != "definition":
        body["decided_by"] = dict(decided)
    if rates:
        body["rates"] = dict(rates)
    soft = law.pinned(digest)
    if law.in_force is not None and soft is not None:
        body["policy"] = {"hard": _named(law.in_force), "soft": _named(soft)}
        body["facts"], body["absent"] = dict(verdict.facts), list(verdict.absent)
    return Judgement(ruling=ruling, body=body)


def scope_of(
    plan: Plan,
    step_plan: StepPlan,
    state: InstanceState,
    payload: Any,
    *,
    calendar: Mapping[str, Any] = NO_FREEZE,
    actor: Mapping[str, Any] = ENGINE_ACTS,
    decided: Mapping[str, Any] = DEFINITION_DECIDED,
) -> dict[str, Any]:
    """Return what rules read of one write, with this payload."""
    system = plan.connector_of(step_plan.system)
    action = step_plan.act.action.name if step_plan.act else step_plan.call.workflow if step_plan.call else ""
    step = {
        "id": step_plan.id,
        "title": step_plan.title,
        "action": f"{system}.{action}",
        "system": system,
        "risk": step_plan.risk,
        "reversible": step_plan.undo is not None,
        "input": payload,
    }
    return {**values(plan, state), "step": step, "actor": actor, "decided_by": decided, "calendar": calendar}


def personal_facts(plan: Plan, step_plan: StepPlan, body: Mapping[str, Any]) -> tuple[Path, ...]:
    """Return where a decision's ``facts`` and ``because`` hold personal values: they enter no record as they are."""
    marks = _marks(plan, step_plan)
    found: list[Path] = [("facts", path) for path, value in body.get("facts", {}).items() if marks.cover(path, value)]
    for index, one in enumerate(body["because"]):
        found += [("because", index, "read", path) for path, value in one["read"].items() if marks.cover(path, value)]
    if body.get("decided_by", {}).get("reason"):
        found.append(("decided_by", "reason"))  # what a model says of its proposal may name anybody
    found += [("denied", index, "text") for index, one in enumerate(body.get("denied", ())) if one["text"]]
    return tuple(found)


class _Marks:
    """Which facts of one step's decisions are personal. The answer for a path is worked out once."""

    __slots__ = ("_known", "_marked")

    def __init__(self, plan: Plan, step_plan: StepPlan) -> None:
        marked = [("process", "title"), *(("trigger", *p) for p in plan.trigger.personal)]
        marked += [("context", name, *p) for name, read in plan.context.items() for p in read.personal]
        marked += [("step", "input", *p) for p in (step_plan.act.personal_in if step_plan.act else ())]
        for name, other in plan.steps.items():
            if other.act is not None:
                marked += [("steps", name, "input", *p) for p in other.act.personal_in]
                marked += [("steps", name, "output", *p) for p in other.act.personal_out]
        self._marked, self._known = marked, dict[str, bool]()

    def cover(self, path: str, value: Any) -> bool:
        """Whether the value under ``path`` is personal, or holds or stands inside something that is."""
        if value is None or value == {}:
            return False
        known = self._known.get(path)
        if known is None:
            parts = path.split(".")
            known = any(all(a in (b, "*") for a, b in zip(p, parts, strict=False)) for p in self._marked)
            self._known[path] = known
        return known


_MARKS: Final[dict[tuple[int, str], tuple[Plan, _Marks]]] = {}
"""A memo: the plan is kept with its answer, so that its id stays its own."""


def _marks(plan: Plan, step_plan: StepPlan) -> _Marks:
    key = (id(plan), step_plan.id)
    known = _MARKS.get(key)
    if known is not None:
        return known[1]
    if len(_MARKS) >= MARKS_MAX:
        _MARKS.clear()
    made = _Marks(plan, step_plan)
    _MARKS[key] = (plan, made)
    return made


def _named(bundle: Bundle) -> dict[str, str]:
    return {"bundle": bundle.ref, "digest": bundle.digest}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded decision, worked out again."""

    ruling: Ruling
    same: bool
    """Whether it comes to the recorded answer."""
    why_not: str | None
    """Why it cannot be worked out again, or what differs."""
    lines: tuple[str, ...]
    """For people: the answer, the rules, what each has read, the digests."""


def explain(body: Mapping[str, Any], bundles: Mapping[str, Bundle]) -> Explanation:
    """Work a decision record out again from its own facts and the bundles that it names, by digest."""
    lines = _lines(body)
    recorded = _recorded(body)
    gone = [path for path in _told_facts(body) if path]
    if gone:
        return Explanation(ruling=recorded, same=False, why_not=f"erased since: {', '.join(gone)}", lines=lines)
    missing = [one["digest"] for one in body.get("policy", {}).values() if one["digest"] not in bundles]
    if missing:
        why = f"the bundle {missing[0]} is not here; import it, then explain again"
        return Explanation(ruling=recorded, same=False, why_not=why, lines=lines)
    ruling = _worked_out(body, bundles)
    same = _alike(ruling, recorded)
    differs = None if same else f"recorded was {recorded}, and it comes to {ruling}"
    return Explanation(ruling=ruling, same=same, why_not=differs, lines=lines)


def _told_facts(body: Mapping[str, Any]) -> tuple[str, ...]:
    reads = [one["read"] for one in body["because"]]
    return tuple(dict.fromkeys(path for facts in (body.get("facts", {}), *reads) for path in erased(facts)))


def _worked_out(body: Mapping[str, Any], bundles: Mapping[str, Bundle]) -> Ruling:
    parts = [_declared(body), limits(body.get("decided_by", DEFINITION_DECIDED))]
    policy = body.get("policy")
    if policy is not None:
        law = Law(in_force=bundles[policy["hard"]["digest"]], bundles=bundles)
        parts.append(law.verdict(rebuilt(body["facts"]), body.get("rates", NO_RATES), policy["soft"]["digest"]).ruling)
    return join_all(parts)


def _declared(body: Mapping[str, Any]) -> Ruling:
    """Return what the definition asked, from its own recorded reasons."""
    return join_all(_declared_by(one) for one in body["because"] if one["rule"].startswith(DEFINITION))


def _declared_by(reason: Mapping[str, Any]) -> Ruling:
    asks = gates_from(reason.get("gates", ()))
    condition = reason.get("condition")
    if condition is None:
        return asks
    try:
        released = runtime_expression(condition).evaluate(Facts(rebuilt(reason["read"]), reason.get("rates", NO_RATES)))
    except ExpressionError:
        return asks
    return AUTO if released is True else asks


def _recorded(body: Mapping[str, Any]) -> Ruling:
    """Return the answer as it was recorded, the notices apart: these are told, not decided."""
    denials = join_all(parse_ruling(f"deny({one['rule']})") for one in body.get("denied", ()))
    return denials.join(gates_from(body.get("gates", ())))


def _alike(one: Ruling, other: Ruling) -> bool:
    def answer(ruling: Ruling) -> Any:
        return ruling.outcome, ruling.gates, {denied.rule for denied in ruling.denials}

    return bool(answer(one) == answer(other))


def _lines(body: Mapping[str, Any]) -> tuple[str, ...]:
    said = {"auto": "released by rule", "approve": "people are asked", "deny": "denied"}
    lines = [f"{body['outcome']}: {said.get(body['outcome'], '')}; risk tier {body.get('risk', '?')}"]
    lines += [f"  asks {', or '.join(one['from'])} ({one['quorum']} to approve)" for one in body.get("gates", ())]
    for one in body["because"]:
        source = one.get("bundle") or "the definition"
        lines.append(f"because of {one['rule']} of {source}, {one.get('digest', 'built in')}")
        if one.get("condition"):
            lines.append(f"  condition {one['condition']}")
        lines += [f"  read {path} = {value}" for path, value in one["read"].items()]
        lines += [f"  error {one['error']}"] if one.get("error") else []
    lines += [f"payload {body['payload_digest']}"] if "payload_digest" in body else []
    return tuple(lines)


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A decision as the journal holds it. ``scope`` is what rules could read then, when the caller folded that far."""

    instance: str
    step: str
    body: Mapping[str, Any]
    scope: Mapping[str, Any] | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded decision that another bundle would take otherwise, or cannot take from what was recorded."""

    instance: str
    step: str
    before: Ruling
    after: Ruling | None
    """Nothing when it cannot be told."""
    rules: tuple[str, ...]
    """The rules of the new bundle that fire."""
    untold: tuple[str, ...] = ()
    """The facts that the new bundle reads and that were not recorded."""


def replay(bundle: Bundle, decisions: Iterable[Decided]) -> list[Change]:
    """Return which recorded decisions ``bundle`` would change, in the order given."""
    return [change for decided in decisions if (change := _replayed(bundle, decided)) is not None]


def _replayed(bundle: Bundle, decided: Decided) -> Change | None:
    body = decided.body
    before = _recorded(body)
    facts, absent = body.get("facts", {}), body.get("absent", ())
    if decided.scope is None:
        untold = tuple(path for path in bundle.paths if not is_told(path, facts, absent))
        if untold:
            return Change(
                instance=decided.instance, step=decided.step, before=before, after=None, rules=(), untold=untold
            )
    verdict = bundle.decide(decided.scope or rebuilt(facts), body.get("rates", NO_RATES))
    after = join_all((_declared(body), limits(body.get("decided_by", DEFINITION_DECIDED)), verdict.ruling))
    if _alike(before, after):
        return None
    rules = tuple(reason.rule for reason in verdict.reasons)
    return Change(instance=decided.instance, step=decided.step, before=before, after=after, rules=rules)


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one of a bundle's own tests."""

    index: int
    expected: str
    got: str
    passed: bool
    rules: tuple[str, ...]
    errors: tuple[str, ...]
    """What could not be worked out, which counts as fired: mostly a fact the test does not give."""


def run_tests(bundle: Bundle) -> list[Tested]:
    """Return what comes of each test inside ``bundle``."""
    return [_run(bundle, index, test) for index, test in enumerate(bundle.tests)]


def _run(bundle: Bundle, index: int, test: Mapping[str, Any]) -> Tested:
    expected = parse_ruling(test["then"])
    given = dict(test["given"] or {})
    rates = given.pop("rates", NO_RATES)
    verdict = bundle.decide(assumed(given), rates)
    got = verdict.ruling.join(limits(assumed(given)["decided_by"]))
    return Tested(
        index=index,
        expected=str(expected),
        got=str(got),
        passed=_meets(got, expected),
        rules=tuple(reason.rule for reason in verdict.reasons),
        errors=tuple(reason.error for reason in verdict.reasons if reason.error),
    )


def _meets(got: Ruling, expected: Ruling) -> bool:
    if expected.level is Level.DENY:
        rules = {denied.rule for denied in expected.denials}
        return got.level is Level.DENY and rules in ({""}, {denied.rule for denied in got.denials})
    return got == expected


def assumed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole scope from the few facts that a test gives."""
    step = {"id": "", "title": "", "action": "", "risk": 1, "reversible": True, "input": {}, **given.get("step", {})}
    step.setdefault("system", step["action"].partition(".")[0])
    process = dict.fromkeys(("id", "workflow", "version", "title", "key", "requester", "started_at"), "")
    return {
        "trigger": {},
        "context": {},
        "steps": {},
        "flags": {},
        "env": "prod",
        **given,
        "step": step,
        "process": {**process, **given.get("process", {})},
        "actor": {**ENGINE_ACTS, **given.get("actor", {})},
        "decided_by": {**DEFINITION_DECIDED, **given.get("decided_by", {})},
        "calendar": {**NO_FREEZE, **given.get("calendar", {})},
    }
