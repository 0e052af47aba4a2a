"""The time of an instance, in systems, seams and people along the critical path: the parts make the whole."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, strategies as st

from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine
from topstitch.metrics.time_split import Split, StepTimes, Times, Where, of_records, split
from topstitch.model.record import Draft, Record


@st.composite
def instances(draw: st.DrawFn) -> Times:
    """Any instance there could be, and many that could not: steps before their needs, people after the end."""
    begins = draw(st.integers(0, 50))
    moments = st.integers(0, 400)
    steps: dict[str, StepTimes] = {}
    for number in range(draw(st.integers(0, 7))):
        steps[f"s{number}"] = StepTimes(
            before=tuple(draw(st.sets(st.sampled_from(sorted(steps) or ["none"]), max_size=3)) & set(steps)),
            started_ms=draw(st.none() | moments),
            settled_ms=draw(st.none() | moments),
            people=tuple((a, b) for a, b in draw(st.lists(st.tuples(moments, moments), max_size=3))),
        )
    return Times(
        begins_ms=begins,
        ends_ms=draw(moments),
        context_ms=draw(moments),
        reads=tuple(draw(st.lists(st.tuples(moments, moments), max_size=3))),
        steps=steps,
    )


@given(times=instances())
def test_the_parts_add_up_to_the_elapsed_time_exactly(times: Times) -> None:
    found = split(times)
    assert found.total_ms() == sum(found.shares().values()) == max(times.ends_ms, times.begins_ms) - times.begins_ms
    at = times.begins_ms
    for piece in found.pieces:  # end to end: no gap, no overlap
        assert piece.begins_ms == at
        assert piece.took_ms > 0
        at = piece.ends_ms


def pieces(found: Split) -> list[tuple[str, str, int]]:
    return [(piece.where.value, piece.step, piece.took_ms) for piece in found.pieces]


def test_the_split_follows_the_branch_that_ended_last() -> None:
    found = split(
        Times(
            begins_ms=0,
            ends_ms=100,
            context_ms=10,
            reads=((2, 8),),
            steps={
                "a": StepTimes(started_ms=12, settled_ms=30),
                "fast": StepTimes(before=("a",), started_ms=31, settled_ms=40),
                "slow": StepTimes(before=("a",), started_ms=60, settled_ms=98, people=((35, 55),)),
            },
        )
    )
    assert pieces(found) == [
        ("seams", "context", 2), ("systems", "context", 6), ("seams", "context", 2),
        ("seams", "a", 2), ("systems", "a", 18),
        ("seams", "slow", 5), ("people", "slow", 20), ("seams", "slow", 5), ("systems", "slow", 38), ("seams", "", 2),
    ]  # fmt: skip


def test_an_instance_under_way_is_split_until_now() -> None:
    found = split(Times(begins_ms=0, ends_ms=50, context_ms=5, steps={"a": StepTimes(started_ms=8)}))
    assert found.shares() == {Where.SYSTEMS: 42, Where.SEAMS: 8, Where.PEOPLE: 0}


def records_of(engine: PaperEngine) -> list[Record]:
    def made(number: int, draft: Draft) -> Record:
        return Record(
            instance="ins_1", seq=number, kind=draft.kind, at=draft.at, actor=draft.actor, stage=draft.stage,
            step=draft.step, body=draft.body,
        )  # fmt: skip

    return [made(number, draft) for number, draft in enumerate(engine.records, 1)]


def test_an_onboarding_that_waits_for_a_manager_went_to_people() -> None:
    company = Company()
    company.quote = "3000.00 USD"
    engine = PaperEngine(onboarding_plan(), company.world()).begin(HIRE)
    engine.run_for(minutes=30).decide("equipment", "approve").run_for(minutes=30)
    found = of_records(onboarding_plan(), records_of(engine), engine.clock.now())
    executed = engine.state.executed_at
    assert executed is not None
    assert timedelta(milliseconds=found.total_ms()) == executed - engine.records[0].at
    assert found.total_ms(Where.PEOPLE) == 30 * 60_000
