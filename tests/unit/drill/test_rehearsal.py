"""A rehearsal writes nothing and says what the real work writes: the same rules, with the writes predicted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine, refused, transient
from support.virtual_definitions import small_plan
from topstitch.drill.rehearsal import Rehearsed, predicted, rehearse, run_time_paths
from topstitch.foundation.clock import SimulatedClock
from topstitch.foundation.errors import RequestError
from topstitch.language.expressions import compile_template
from topstitch.model.event import TriggerEvent
from topstitch.model.instance import StepStatus
from topstitch.model.orders import Call, LookUpCall, Outcome, ReadCall, ResolveCall, Result, WriteCall

NOW = SimulatedClock().now()


class PaperHands:
    """The company's answers to whoever only reads."""

    def __init__(self, company: Company, **overrides: Any) -> None:
        self.engine = PaperEngine(onboarding_plan(), company.world(**overrides))
        self.asked: list[Call] = []

    async def read(self, call: ReadCall) -> Outcome:
        self.asked.append(call)
        return self.engine.answer(call)

    async def look_up(self, call: LookUpCall) -> Outcome:
        self.asked.append(call)
        return self.engine.answer(call)

    async def resolve(self, call: ResolveCall) -> Outcome:
        return self.engine.answer(call)


def event(data: dict[str, Any]) -> TriggerEvent:
    return TriggerEvent(id="evt_1", source="workday", type="workday.hire_completed", data=data, received_at=NOW)


def rehearsed(hands: PaperHands, data: dict[str, Any] = HIRE) -> Rehearsed:
    return asyncio.run(rehearse(onboarding_plan(), event(data), "ins_1", hands, NOW))


def carried_out(company: Company, data: dict[str, Any]) -> PaperEngine:
    """Carry it out; whoever is asked says yes at once."""
    engine = PaperEngine(onboarding_plan(), company.world(), NOW).begin(data)
    for _ in range(50):
        engine.activate()
        asking = [s.id for s in engine.state.steps.values() if s.status is StepStatus.ASKING]
        for step in asking:
            engine.decide(step, "approve", engine.state.steps[step].approval.people[0]["id"])
        if engine.state.executed_at is not None:
            return engine
    raise AssertionError(engine.state)


def masked(value: Any, paths: tuple[str, ...], at: tuple[str, ...] = ()) -> Any:
    """Return a payload without what was declared to be given by the real work."""
    if isinstance(value, dict):
        return {name: masked(part, paths, (*at, name)) for name, part in value.items()}
    if isinstance(value, list):
        return [masked(part, paths, (*at, str(i))) for i, part in enumerate(value)]
    return "..." if ".".join(at) in paths else value


PROFILES = st.fixed_dictionaries(
    {
        "elevated": st.booleans(),
        "equipment_tier": st.sampled_from(["standard", "developer", "executive"]),
        "groups": st.lists(st.text("abcdefg-", min_size=1, max_size=8), min_size=1, max_size=4, unique=True),
        "territory": st.sampled_from(["EMEA", "AMER", ""]),
        "quota_carrying": st.booleans(),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    profile=PROFILES,
    department=st.sampled_from(["Sales", "Engineering", "IT"]),
    first=st.text("abcdefghijklm", min_size=1, max_size=10),
    total=st.sampled_from(["1850.00 USD", "2499.99 USD", "2500.00 USD", "9000.00 USD"]),
)
def test_H04_D03_the_real_work_writes_exactly_what_the_plan_says(
    profile: dict[str, Any], department: str, first: str, total: str
):
    data = {**HIRE, "department": department, "first_name": first}

    def company() -> Company:
        made = Company(**profile)
        made.quote = total
        return made

    planned = rehearsed(PaperHands(company()), data)
    engine = carried_out(company(), data)
    real = [call for _, call in engine.log if isinstance(call, WriteCall)]
    assert [(w.system, w.action, w.key) for w in planned.writes] == [
        (c.system, c.action, c.idempotency_key) for c in real
    ]
    for write, call in zip(planned.writes, real, strict=True):
        assert masked(call.params, write.run_time) == masked(write.payload, write.run_time)
        assert all(path.rpartition(".")[2] in ("user_id", "enrolment_link") for path in write.run_time), write.run_time
    asked = [s.id for s in engine.state.steps.values() if s.approval is not None]
    assert sorted(a.step for a in planned.approvals) == sorted(asked)


def test_D01_only_reads_are_asked_for_and_all_of_the_context():
    hands = PaperHands(Company())
    planned = rehearsed(hands)
    assert not [call for call in hands.asked if isinstance(call, WriteCall)]
    assert [name for name, _, _ in planned.reads] == ["profile", "manager", "existing", "quote"]
    assert len(planned.writes) == 4


def test_D02_the_hands_have_no_way_to_write():
    from topstitch.cli.plan import Fixtures, ReadingHands

    for kind in (ReadingHands, Fixtures):
        assert {name for name in vars(kind) if not name.startswith("_")} == {"read", "look_up", "resolve"}


def test_H04_the_rollback_stands_in_its_order_with_its_payloads_and_what_remains():
    planned = rehearsed(PaperHands(Company()), {**HIRE, "department": "Sales"})
    assert [w.step for w in planned.rollback][-1] == "identity"
    undo = next(w for w in planned.rollback if w.step == "equipment")
    assert undo.action == "cancel_request"
    assert undo.payload == {"request_id": "\u2039equipment.request_id\u203a", "update_asset": True}
    assert planned.residue == [("welcome_email", "informational; a sent message cannot be unsent")]


def test_H04_the_approvals_name_who_would_be_asked_and_the_read_backs_what_would_be_looked_for():
    company = Company(elevated=True)
    planned = rehearsed(PaperHands(company))
    assert [(a.step, a.people) for a in planned.approvals] == [("identity", ("manager_of(subject)",))]
    back = next(r for r in planned.read_backs if r.step == "identity")
    assert back.that == "found.enabled && step.input.groups.all(g, g in found.groups)"
    assert back.within_seconds == 300


def test_what_is_there_already_would_be_taken_and_not_written():
    company = Company()
    upn = "priya.raman@corp.example"
    company.users[upn] = {"user_id": "u-9", "upn": upn, "enabled": True, "groups": []}
    planned = rehearsed(PaperHands(company))
    assert "identity" in planned.already_there
    assert "identity" not in [w.step for w in planned.writes]


def test_an_unreadable_context_plans_nothing_and_says_why():
    planned = rehearsed(PaperHands(Company(), hris__get_worker=transient()))
    assert planned.writes == []
    assert "manager" in (planned.problem or "")
    assert "profile" in (rehearsed(PaperHands(Company(), hris__get_job_profile=refused())).problem or "")


def test_a_precondition_that_does_not_hold_plans_no_write():
    planned = rehearsed(PaperHands(Company(active=False)))
    assert planned.writes == []
    assert planned.left_out["identity"] == "declined"


def test_an_event_that_starts_nothing_is_refused():
    from topstitch.language.expressions import runtime_expression

    plan = onboarding_plan()
    never = replace(plan, trigger=replace(plan.trigger, when=runtime_expression("false")))
    with pytest.raises(RequestError, match="starts no instance"):
        asyncio.run(rehearse(never, event(HIRE), "ins_1", PaperHands(Company()), NOW))


def test_marks_are_found_wherever_they_stand():
    schema = {"properties": {"id": {"type": "string"}, "n": {"type": "integer"}, "all": {"type": "array", "items": {}}}}
    value = predicted("identity", schema)
    assert run_time_paths({"a": [value], "b": "plain"}) == ("a.0.id", "a.0.all.0")


class Ready:
    """Hands that find nothing and know everybody by the name they are looked for as."""

    async def read(self, _call: ReadCall) -> Outcome:
        return Outcome(result=Result.OK, value={})

    async def look_up(self, _call: LookUpCall) -> Outcome:
        return Outcome(result=Result.OK, value=None)

    async def resolve(self, call: ResolveCall) -> Outcome:
        return Outcome(result=Result.OK, value={"people": [{"id": who, "name": who} for who in call.who]})


@pytest.mark.parametrize(("name", "step"), [("wait", "moved"), ("call", "provision")])
def test_H04_what_is_waited_for_is_assumed_to_come_and_what_needs_it_is_planned(name: str, step: str):
    plan = small_plan(name)
    told = asyncio.run(rehearse(plan, event(HIRE), "ins_1", Ready(), NOW))
    assert told.waits == [step]
    assert {write.step for write in told.writes} == {s.id for s in plan.steps.values() if s.act is not None}
    assert {write.step for write in told.rollback} == {s.id for s in plan.steps.values() if s.undo is not None}


def test_H04_what_an_awaited_event_will_hold_stands_as_a_mark():
    plan = small_plan("wait")
    after = plan.steps["after"]
    assert after.act is not None
    params = compile_template({"user_id": "u", "territory": "= steps.moved.output.new_date"})
    plan = replace(plan, steps={**plan.steps, "after": replace(after, act=replace(after.act, params=params))})
    schema = {"properties": {"new_date": {"type": "string"}}}
    told = asyncio.run(
        rehearse(plan, event(HIRE), "ins_1", Ready(), NOW, events={"workday.start_date_changed": schema})
    )
    planned = next(write for write in told.writes if write.step == "after")
    assert planned.run_time == ("territory",)
