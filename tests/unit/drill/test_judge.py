"""What became of a step is told from how its instance ended, and what nobody declared counts as stuck."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine, transient
from topstitch.drill.judge import Fate, judge
from topstitch.drill.ways import Way, clear, take_down
from topstitch.model.instance import StepStatus
from topstitch.simulators.host import Simulators


def carried(**overrides: object) -> PaperEngine:
    return PaperEngine(onboarding_plan(), Company().world(**overrides)).begin(HIRE).run()


def fates(engine: PaperEngine) -> dict[str, Fate]:
    return {cell.step: cell.fate for cell in judge(engine.plan, engine.state)}


def test_a_good_day_is_completed_and_what_does_not_apply_is_as_declared():
    assert fates(carried()) == {
        "identity": Fate.COMPLETED,
        "equipment": Fate.COMPLETED,
        "crm_assignment": Fate.DEGRADED,
        "welcome_email": Fate.COMPLETED,
        "welcome_chat": Fate.COMPLETED,
    }


def test_a_step_that_was_given_to_a_person_waits_for_that_person():
    engine = carried(itsm__create_catalog_request=transient())
    cell = next(cell for cell in judge(engine.plan, engine.state) if cell.step == "equipment")
    assert (cell.fate, cell.why) == (Fate.WAITING, "group:it-ops")


def test_an_unread_context_waits_for_the_owner_with_nothing_written():
    engine = carried(hris__get_worker=transient())
    assert engine.writes() == []
    assert set(fates(engine).values()) == {Fate.WAITING}


def test_what_did_not_end_is_stuck_wherever_it_stands():
    engine = PaperEngine(onboarding_plan(), Company().world(itsm__create_catalog_request=transient())).begin(HIRE)
    engine.run_for(minutes=30)
    assert fates(engine)["equipment"] is Fate.STUCK
    assert fates(engine)["identity"] is Fate.COMPLETED


def test_a_trouble_of_the_engine_makes_everything_unfinished_stuck():
    engine = carried(itsm__create_catalog_request=transient())
    cells = judge(engine.plan, engine.state, trouble="its defect")
    assert {c.step for c in cells if c.fate is Fate.STUCK} == {"equipment", "crm_assignment"}


def test_a_status_that_nobody_declared_is_stuck():
    engine = carried()
    step = replace(engine.state.steps["welcome_chat"], status=StepStatus.DECLINED)
    state = replace(engine.state, steps={**engine.state.steps, "welcome_chat": step})
    cell = next(cell for cell in judge(engine.plan, state) if cell.step == "welcome_chat")
    assert cell.fate is Fate.STUCK
    assert "does not declare" in cell.why


@pytest.mark.parametrize("system", ["workday", "entra-id", "servicenow", "salesforce", "slack", "email"])
async def test_H09_each_system_can_be_taken_down_in_every_way_and_brought_up_again(system: str):
    async with Simulators(systems=(system,)) as sims:
        for way in Way:
            await take_down(sims, system, way)
            assert way is Way.DOWN or sims[system].faults.entries
            await clear(sims, system, way)
            assert not sims[system].faults.entries


def test_an_instance_held_by_a_paused_connection_waits_for_whoever_keeps_it():
    engine = PaperEngine(onboarding_plan(), Company().world(itsm__create_catalog_request=transient())).begin(HIRE)
    engine.run_for(minutes=30)
    cells = {c.step: c for c in judge(engine.plan, engine.state, held=frozenset({"itsm"}))}
    assert (cells["equipment"].fate, cells["equipment"].why) == (Fate.WAITING, "people-operations, to renew itsm")
    assert cells["identity"].fate is Fate.COMPLETED
