"""Who may answer an approval, when an answer counts, and what is written down of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine, ok
from topstitch import lifecycle
from topstitch.foundation.errors import ConflictError, NotAllowedError, NotFoundError, RequestError
from topstitch.governance.approvals import answer
from topstitch.governance.duties import Delegation, Person, exclude, names_of, parties_of, presentable, why_excluded
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft

DANA: Person = {"id": "dana", "name": "Dana", "email": "dana@acme.example", "for": "manager_of(subject)"}
OMAR: Person = {"id": "omar", "name": "Omar", "email": "omar@acme.example", "for": "manager_of(subject)"}
SAM: Person = {"id": "sam", "email": "sam@acme.example"}


def asking(*people: Person, **company: Any) -> PaperEngine:
    found = {"people": [dict(person) for person in people or (DANA,)], "excluded": []}
    world = Company(elevated=True, **company).world(resolve=lambda _call: ok(found))
    return PaperEngine(onboarding_plan(), world).begin(HIRE).run_for(minutes=1)


def said(
    paper: PaperEngine, person: str | Person, decision: Any = "approve", comment: str | None = None, **more: Any
) -> Draft:
    approval = paper.state.steps["identity"].approval
    assert approval is not None
    now = more.pop("now", paper.clock.now())
    return answer(paper.state, approval.id, person, decision, now, comment=comment, via="test", **more)


def grant(paper: PaperEngine, grantor: str, delegate: str, **more: Any) -> Delegation:
    now = paper.clock.now()
    start, end = more.pop("starts_at", now - timedelta(days=1)), more.pop("ends_at", now + timedelta(days=1))
    return Delegation(grantor=grantor, delegate=delegate, starts_at=start, ends_at=end, **more)


def test_A07_who_answered_what_and_for_which_payload_is_in_the_record() -> None:
    paper = asking()
    draft = said(paper, DANA, comment="Fine by me")
    step = paper.state.steps["identity"]
    assert step.approval is not None
    assert str(draft.actor) == "human:dana"
    assert draft.kind == Kind.APPROVAL_ANSWERED
    assert draft.body == {
        "approval": step.approval.id,
        "answer": "approve",
        "via": "test",
        "payload_digest": step.payload_digest,
        "comment": "Fine by me",
    }
    assert draft.personal == (("comment",),)


def test_an_answer_leads_the_instance_on() -> None:
    paper = asking()
    paper._append([said(paper, DANA)])
    paper.run_for(minutes=2)
    assert paper.status()["identity"] == "done"


def test_the_same_person_is_known_by_any_of_their_names() -> None:
    for known in (
        "human:Dana",
        {"id": "u-77", "email": "Dana@ACME.example"},
        {"id": "u-77", "aliases": ["human:dana"]},
    ):
        assert said(asking(), known).actor.id == "dana"


@pytest.mark.parametrize(
    ("person", "why"),
    [
        ({"id": "W-100009"}, "requester"),
        ({"id": "kim", "aliases": ["w-100009"]}, "requester"),
        ({"id": "human:W-104233"}, "subject"),
    ],
)
def test_A08_requester_and_subject_never_decide_even_when_they_were_asked(person: Person, why: str) -> None:
    paper = asking({**person, "for": "manager_of(subject)"})
    with pytest.raises(NotAllowedError, match="somebody else has to decide") as caught:
        said(paper, person)
    assert caught.value.detail == {"why": why}


def test_A08_the_proposer_and_the_owner_of_a_proposing_agent_never_decide() -> None:
    paper = asking(DANA, OMAR)
    parties = parties_of(paper.state, proposer="agent:fixer", proposer_owner="omar@acme.example")
    assert said(paper, DANA, parties=parties).actor.id == "dana"
    with pytest.raises(NotAllowedError) as caught:
        said(paper, OMAR, parties=parties)
    assert caught.value.detail == {"why": "owner of the proposing agent"}


@pytest.mark.parametrize("person", [{"id": "agent:fixer"}, {"id": "dana", "kind": "agent"}, {"id": "policy:standard"}])
def test_A08_only_a_natural_person_decides(person: Person) -> None:
    with pytest.raises(NotAllowedError, match="may only propose"):
        said(asking(), person)


def test_who_was_not_asked_does_not_decide() -> None:
    with pytest.raises(NotAllowedError, match="was not asked") as caught:
        said(asking(), SAM)
    assert caught.value.code == "not-asked"


def test_A09_a_delegate_answers_for_who_was_asked_and_both_are_recorded() -> None:
    paper = asking()
    draft = said(paper, SAM, delegations=[grant(paper, "dana", "sam@acme.example")])
    assert str(draft.actor) == "human:sam"
    assert draft.body["for"] == "dana"


@pytest.mark.parametrize("shift", [timedelta(days=-1), timedelta(days=1, hours=1)])
def test_A09_a_delegation_counts_within_its_dates_only(shift: timedelta) -> None:
    paper = asking()
    now = paper.clock.now()
    over = grant(paper, "dana", "sam", starts_at=now + shift, ends_at=now + shift + timedelta(days=1))
    with pytest.raises(NotAllowedError, match="was not asked"):
        said(paper, SAM, delegations=[over])


def test_A09_delegation_is_not_transitive() -> None:
    paper = asking()
    chain = [grant(paper, "dana", "omar"), grant(paper, "omar", "sam")]
    with pytest.raises(NotAllowedError, match="was not asked"):
        said(paper, SAM, delegations=chain)


def test_A09_a_delegation_of_one_group_covers_what_that_group_is_asked() -> None:
    paper = asking({**DANA, "for": "group:sales-ops"})
    assert said(paper, SAM, delegations=[grant(paper, "dana", "sam", group="sales-ops")]).body["for"] == "dana"
    with pytest.raises(NotAllowedError, match="was not asked"):
        said(paper, SAM, delegations=[grant(paper, "dana", "sam", group="finance")])


def test_A08_a_delegate_of_the_requester_never_decides_and_neither_does_the_requester_as_a_delegate() -> None:
    paper = asking(DANA, OMAR)
    with pytest.raises(NotAllowedError) as caught:
        said(paper, OMAR, delegations=[grant(paper, "W-100009", "omar")])
    assert caught.value.detail == {"why": "delegate of the requester"}
    with pytest.raises(NotAllowedError) as caught:
        said(paper, {"id": "W-100009"}, delegations=[grant(paper, "dana", "W-100009")])
    assert caught.value.detail == {"why": "requester"}


def test_A09_a_late_click_says_already_decided_and_by_whom() -> None:
    paper = asking(DANA, OMAR)
    paper._append([said(paper, DANA)])
    with pytest.raises(ConflictError, match="dana approved it already"):
        said(paper, OMAR, "refuse", "No")
    identity = paper.state.steps["identity"].approval.id  # type: ignore[union-attr]
    paper.run_for(minutes=5)
    with pytest.raises(ConflictError, match="dana approved it already"):
        answer(paper.state, identity, OMAR, "refuse", paper.clock.now(), comment="No", via="test")


def test_A09_an_answer_after_the_end_says_that_it_is_too_late() -> None:
    paper = asking()
    with pytest.raises(ConflictError, match="the time for it ended") as caught:
        said(paper, DANA, now=paper.clock.now() + timedelta(hours=24))
    assert caught.value.code == "approval-decided"


def test_A06_an_answer_to_another_payload_than_is_asked_now_does_not_count() -> None:
    paper = asking()
    with pytest.raises(ConflictError, match="has changed since you looked"):
        said(paper, DANA, payload_digest="sha256:another")
    approval = paper.state.steps["identity"].approval
    assert approval is not None
    assert said(paper, DANA, payload_digest=approval.payload_digest)


def test_A06_an_approval_that_was_asked_anew_says_so_and_one_that_never_was_is_not_found() -> None:
    paper = asking()
    identity = paper.state.steps["identity"].approval.id  # type: ignore[union-attr]
    paper.state = _asked_again(paper)
    with pytest.raises(ConflictError, match="asked anew"):
        answer(paper.state, identity, DANA, "approve", paper.clock.now(), via="test")
    with pytest.raises(NotFoundError, match="asks for no approval apr_X"):
        answer(paper.state, "apr_X", DANA, "approve", paper.clock.now(), via="test")


def _asked_again(paper: PaperEngine) -> Any:
    step = paper.state.steps["identity"]
    assert step.approval is not None
    step = replace(step, asks=step.asks + 1, approval=replace(step.approval, id="apr_new"))
    return replace(paper.state, steps={**paper.state.steps, "identity": step})


def test_an_answer_is_approve_or_refuse_and_its_comment_is_bounded_and_plain() -> None:
    assert said(asking(), DANA, "refuse", "Not \u202ebudgeted").body["comment"] == "Not budgeted"
    with pytest.raises(RequestError, match="approve or refuse"):
        said(asking(), DANA, "maybe")
    with pytest.raises(RequestError, match="over 4000"):
        said(asking(), DANA, "approve", "x" * 4001)


def test_a_repeated_click_is_told_what_was_answered() -> None:
    paper = asking_two()
    paper._append([said(paper, DANA)])
    with pytest.raises(ConflictError, match=r"has answered .* already: approve") as caught:
        said(paper, DANA)
    assert caught.value.detail == {"answer": "approve"}
    with pytest.raises(ConflictError, match="already: approve"):
        said(paper, DANA, "refuse", "Changed my mind")


def asking_two(*people: Person) -> PaperEngine:
    paper = asking(*(people or (DANA, OMAR)))
    step = paper.state.steps["identity"]
    assert step.approval is not None
    two = replace(step, approval=replace(step.approval, quorum=2))
    paper.state = replace(paper.state, steps={**paper.state.steps, "identity": two})
    return paper


def test_a_quorum_counts_distinct_persons_delegate_and_delegator_as_one() -> None:
    paper = asking_two()
    grants = [grant(paper, "dana", "sam")]
    paper._append([said(paper, SAM, delegations=grants)])
    with pytest.raises(ConflictError, match=r"human:sam has answered .* for dana"):
        said(paper, DANA, delegations=grants)
    assert said(paper, OMAR, delegations=grants).body["answer"] == "approve"


def test_a_person_asked_twice_over_is_one_voice_even_under_another_name() -> None:
    paper = asking_two(DANA, {"id": "d-2", "email": "dana@acme.example", "for": "owner"})
    paper._append([said(paper, DANA)])
    with pytest.raises(ConflictError, match="has answered"):
        said(paper, {"id": "d-2", "email": "dana@acme.example", "aliases": ["dana"]})


def test_what_an_approver_is_shown_has_no_hidden_characters() -> None:
    assert presentable("pay\u202e 005\u200b\x1b[2J\nnow") == "pay 005[2J\nnow"


PEOPLE = ("W-100009", "W-104233", "agent:fixer", "ada", "bob", "cy", "dee")
MOMENT = datetime.fromisoformat("2026-01-05T09:00:00+00:00")


@given(
    grants=st.lists(
        st.tuples(st.sampled_from(PEOPLE), st.sampled_from(PEOPLE), st.integers(-3, 3), st.integers(0, 4)), max_size=12
    ),
    asked=st.sets(st.sampled_from(PEOPLE), min_size=1),
    answering=st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=8),
)
def test_A08_separation_of_duties_holds_under_any_sequence_of_delegations(
    grants: list[tuple[str, str, int, int]], asked: set[str], answering: list[str]
) -> None:
    """Nobody with an interest answers, nor anybody acting for them; and no natural person counts twice."""
    paper = PAPER
    now = paper.clock.now()
    delegations = [
        Delegation(grantor=a, delegate=b, starts_at=now + timedelta(days=s), ends_at=now + timedelta(days=s + length))
        for a, b, s, length in grants
    ]
    state = _with_people(paper, sorted(asked))
    parties = parties_of(state, proposer="agent:fixer", proposer_owner="dee")
    interested = {"w-100009", "w-104233", "fixer", "dee"}
    acting = {
        g.delegate.lower()
        for g in delegations
        if g.holds(now) and g.grantor.lower().removeprefix("agent:") in interested
    }
    voices: list[str] = []
    for who in answering:
        identity = state.steps["identity"].approval.id  # type: ignore[union-attr]
        try:
            draft = answer(state, identity, who, "approve", now, via="t", delegations=delegations, parties=parties)
        except (NotAllowedError, ConflictError):
            continue
        assert draft.actor.id.lower() not in interested | acting
        seat = draft.body.get("for", draft.actor.id)
        assert seat in asked
        if seat != draft.actor.id:
            assert any(g.holds(now) and g.grantor == seat and g.delegate == draft.actor.id for g in delegations)
        voices.append(seat)
        state = lifecycle.fold(paper.plan, state, draft)
    assert len(voices) == len(set(voices))


def _with_people(paper: PaperEngine, people: list[str]) -> Any:
    step = paper.state.steps["identity"]
    assert step.approval is not None
    asked = replace(step.approval, people=tuple({"id": p, "for": "owner"} for p in people), quorum=9)
    return replace(paper.state, steps={**paper.state.steps, "identity": replace(step, approval=asked)})


PAPER = asking()


def test_who_may_not_decide_is_left_out_before_anybody_is_asked() -> None:
    paper = asking()
    people: list[Person] = [{"id": "W-100009"}, DANA, SAM]
    allowed, excluded = exclude(people, parties_of(paper.state), [grant(paper, "W-104233", "sam")], paper.clock.now())
    assert allowed == [DANA]
    assert excluded == [{"person": "W-100009", "why": "requester"}, {"person": "sam", "why": "delegate of the subject"}]
    assert why_excluded(DANA, parties_of(paper.state), [], paper.clock.now()) is None
    assert names_of({"id": " human:Dana ", "aliases": ["d@x"]}) == {"dana", "d@x"}
