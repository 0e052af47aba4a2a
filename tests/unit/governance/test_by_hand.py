"""Who may hand in a task, in which form, and what a late or wrong one hears."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from topstitch.foundation.errors import ConflictError, NotAllowedError, NotFoundError, RequestError
from topstitch.governance import by_hand
from topstitch.model.kinds import Kind
from topstitch.model.state import InstanceState, TaskState

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
PEOPLE = ({"id": "dana@x.example", "name": "Dana", "email": "Dana@x.example", "for": "group:ops"}, {"id": "W-7"})
FORM = {"type": "object", "required": ["number"], "properties": {"number": {"type": "string"}}}


def given(**changes: Any) -> InstanceState:
    task = TaskState(
        id="tsk_1", step="pay", purpose="step", index=0, title="Pay", to="group:ops", people=PEOPLE, opened_at=NOW,
        due_at=NOW, give_up_at=LATER,
    )  # fmt: skip
    return InstanceState(id="ins_1", tasks={"tsk_1": replace(task, **changes)})


def test_a_task_is_handed_in_by_one_of_its_people_in_the_form_it_asks_for():
    draft = by_hand.finished(given(), "tsk_1", "dana@x.example", {"number": "R1"}, FORM, NOW, comment="done")
    assert (draft.kind, draft.body["output"], draft.step) == (Kind.TASK_DONE, {"number": "R1"}, "pay")
    assert draft.personal == (("output",), ("comment",))
    with pytest.raises(NotAllowedError):
        by_hand.finished(given(), "tsk_1", "eve@x.example", {"number": "R1"}, FORM, NOW)
    with pytest.raises(RequestError) as unfilled:
        by_hand.finished(given(), "tsk_1", "W-7", {}, FORM, NOW)
    assert unfilled.value.detail["errors"][0]["pointer"] == "/number"


def test_before_its_people_are_known_whoever_does_it_is_recorded():
    draft = by_hand.finished(given(people=()), "tsk_1", "eve", {"number": "R1"}, FORM, NOW)
    assert str(draft.actor) == "human:eve"


def test_nothing_counts_once_its_time_is_over():
    with pytest.raises(ConflictError):
        by_hand.could_not(given(give_up_at=NOW), "tsk_1", "W-7", "no", NOW)


def test_a_task_is_handed_in_once():
    with pytest.raises(ConflictError, match=r"by dana@x\.example already"):
        by_hand.could_not(given(said="done", by="human:dana@x.example"), "tsk_1", "W-7", "no", NOW)
    with pytest.raises(ConflictError):
        by_hand.could_not(given(ending="expired"), "tsk_1", "W-7", "no", NOW)
    with pytest.raises(NotFoundError):
        by_hand.could_not(given(), "tsk_2", "W-7", "no", NOW)
    assert by_hand.could_not(given(), "tsk_1", "W-7", "no key", NOW).body["comment"] == "no key"
