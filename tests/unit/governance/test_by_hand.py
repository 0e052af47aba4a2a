"""Work by hand: whose it is, what has to be handed in, and what a late or repeated answer hears."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from support.onboarding import HIRE, Company, onboarding_plan
from support.paper import PaperEngine, refused
from topstitch.foundation.errors import ConflictError, NotAllowedError, NotFoundError, RequestError
from topstitch.governance.by_hand import could_not, finished
from topstitch.model.kinds import Kind
from topstitch.model.state import TaskState

FORM = {
    "type": "object",
    "properties": {
        "request_id": {"type": "string", "minLength": 1},
        "price": {"type": "string", "format": "money"},
        "due": {"type": "string", "format": "date"},
    },
    "required": ["request_id"],
}


def waiting() -> tuple[PaperEngine, TaskState]:
    world = Company().world(itsm__create_catalog_request=refused())
    paper = PaperEngine(onboarding_plan(), world).begin(HIRE).run_for(minutes=5)
    return paper, next(task for task in paper.state.tasks.values() if task.step == "equipment")


def hand_in(person: Any = "group:it-ops", output: dict[str, Any] | None = None, **more: Any) -> Any:
    paper, task = waiting()
    now = paper.clock.now() + more.pop("later", timedelta())
    output = {"request_id": "REQ1"} if output is None else output
    return finished(paper.state, task.id, person, output, FORM, now, **more)


def test_E12_what_was_done_is_recorded_with_who_did_it() -> None:
    draft = hand_in({"id": "ivo", "groups": ["it-ops"]}, comment="By phone")
    assert draft.kind == Kind.TASK_DONE
    assert str(draft.actor) == "human:ivo"
    assert draft.body["output"] == {"request_id": "REQ1"}
    assert ("comment",) in draft.personal


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({}, "request_id is missing"),
        ({"request_id": 7}, "request_id must be text"),
        ({"request_id": "R", "price": "cheap"}, "price must be written as 2499.99 USD"),
        ({"request_id": "R", "due": "tomorrow"}, "due must be written as 2026-01-31"),
    ],
)
def test_what_does_not_fit_the_form_is_refused_by_field(output: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        hand_in({"id": "ivo", "groups": ["it-ops"]}, output)


@pytest.mark.parametrize(
    "person", [{"id": "group:it-ops"}, {"id": "x", "groups": ["it-ops"]}, {"id": "x", "roles": ["operator"]}]
)
def test_a_task_is_done_by_those_it_was_given_to_or_by_an_operator(person: dict[str, Any]) -> None:
    assert hand_in(person).kind == Kind.TASK_DONE


def test_a_task_is_nobody_elses_and_no_agents() -> None:
    with pytest.raises(NotAllowedError, match="is a task of group:it-ops"):
        hand_in({"id": "sam", "groups": ["sales-ops"]})
    with pytest.raises(NotAllowedError, match="may only propose"):
        hand_in({"id": "agent:fixer", "groups": ["it-ops"]})
    with pytest.raises(NotAllowedError, match="may only propose"):
        hand_in({"id": "group:it-ops", "kind": "agent"})


def test_a_closed_or_late_task_says_so_and_one_that_is_none_is_not_found() -> None:
    paper, task = waiting()
    ivo = {"id": "ivo", "groups": ["it-ops"]}
    paper._append([could_not(paper.state, task.id, ivo, "No stock", paper.clock.now())])
    with pytest.raises(ConflictError, match="handed in as failed by ivo already"):
        finished(paper.state, task.id, ivo, {"request_id": "R"}, FORM, paper.clock.now())
    with pytest.raises(ConflictError, match="was not done by then"):
        hand_in(ivo, later=timedelta(days=4))
    with pytest.raises(NotFoundError, match="has no task tsk_X"):
        could_not(paper.state, "tsk_X", ivo, "No", paper.clock.now())
