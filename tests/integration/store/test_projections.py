"""Projections: written with their records, and the same when derived again from the journal (U-06)."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import BigInteger

from integration.store.kit import DANA, NOW, claim_one, draft, dump, later, query, start
from topstitch.foundation.errors import ConflictError, NotFoundError
from topstitch.model.kinds import Kind
from topstitch.model.record import Draft
from topstitch.store import Still, Store, Summary, instances, items, project, rebuild, traces
from topstitch.store.tables import PROJECTIONS

AT = "2026-01-05T10:00:00.000Z"
PEOPLE = [{"id": "W-1", "name": "Dana", "email": "dana@acme.example", "for": "manager_of(subject)"}]
MORE = [{"id": "W-2", "name": "Kim", "email": "kim@acme.example", "for": "group:it-ops"}]
SEAM = {"from_system": "hris", "to_system": "directory"}
CROSSING = {"from": "trigger", **SEAM, "ready_at": AT, "net_ms": 40, "gross_ms": 45}

# Every kind that a projection follows from, once or more, in an order that could happen.
STORY: tuple[tuple[str, str | None, dict[str, Any]], ...] = (
    (Kind.CONTEXT_READ, None, {"name": "profile", "system": "hris", "action": "get", "value": {}, "attempt": 1}),
    (Kind.CONTEXT_FAILED, None, {"name": "quote", "system": "itsm", "action": "quote", "attempt": 1, "again_at": AT}),
    (Kind.CONTEXT_FAILED, None, {"name": "quote", "system": "itsm", "action": "quote", "attempt": 2}),
    (Kind.CONTEXT_SKIPPED, None, {"name": "quote", "because": "optional"}),
    (Kind.ACT_INTENT, "identity", {"act": "identity", "attempt": 1, "key": "k", "system": "directory",
                                   "action": "create", "handoffs": [CROSSING]}),
    (Kind.ACT_RESULT, "identity", {"act": "identity", "attempt": 1, "result": "unknown", "next": "doubt"}),
    (Kind.ACT_LOOKED_UP, "identity", {"act": "identity", "why": "doubt", "answer": "absent", "next": "ready"}),
    (Kind.ACT_INTENT, "identity", {"act": "identity", "attempt": 2, "key": "k", "system": "directory",
                                   "action": "create"}),
    (Kind.ACT_IN_DOUBT, "identity", {"act": "identity", "attempt": 2, "because": "engine stopped", "next": "doubt"}),
    (Kind.ACT_LOOKED_UP, "identity", {"act": "identity", "why": "doubt", "answer": "found", "record": "u-1",
                                      "found": False, "next": "confirming"}),
    (Kind.STEP_DONE, "identity", {"output": {}, "found": False, "system": "directory", "started_at": AT,
                                  "duration_ms": 900}),
    (Kind.APPROVAL_ASKED, "equipment", {"approval": "apr_1", "title": "Laptop", "from": ["manager_of(subject)"],
                                        "people": PEOPLE, "excluded": [], "quorum": 1, "payload_digest": "d",
                                        "because": [{"rule": "r"}], "next_reminder_at": AT, "give_up_at": AT,
                                        "escalations": [{"at": AT, "to": "group:it-ops"}]}),
    (Kind.APPROVAL_REMINDED, "equipment", {"approval": "apr_1", "times": 1, "next_reminder_at": AT}),
    (Kind.APPROVAL_ESCALATED, "equipment", {"approval": "apr_1", "index": 0, "to": "group:it-ops", "people": MORE}),
    (Kind.APPROVAL_ANSWERED, "equipment", {"approval": "apr_1", "answer": "approve", "comment": "ok", "via": "cli"}),
    (Kind.APPROVAL_CLOSED, "equipment", {"approval": "apr_1", "ending": "approved", "by": [str(DANA)], "waited_ms": 9}),
    (Kind.ACT_INTENT, "equipment", {"act": "equipment", "attempt": 1, "key": "k2", "system": "itsm",
                                    "action": "order"}),
    (Kind.ACT_RESULT, "equipment", {"act": "equipment", "attempt": 1, "result": "ok", "record": "REQ1", "url": "u",
                                    "next": "confirming"}),
    (Kind.STEP_FAILED, "equipment", {"failure": "disagrees", "effect": "applied", "seam": SEAM}),
    (Kind.TASK_OPENED, "equipment", {"task": "tsk_1", "act": "equipment", "index": 0, "purpose": "step",
                                     "title": "Order it", "to": "group:it-ops", "people": MORE, "form": {"a": 1},
                                     "due_at": AT, "escalations": [], "give_up_at": AT, "system": "itsm"}),
    (Kind.TASK_ESCALATED, "equipment", {"task": "tsk_1", "index": 0, "to": "owner", "people": PEOPLE}),
    (Kind.TASK_FAILED, "equipment", {"task": "tsk_1", "comment": "no stock"}),
    (Kind.TASK_REOPENED, "equipment", {"task": "tsk_1", "because": "not there"}),
    (Kind.TASK_DONE, "equipment", {"task": "tsk_1", "output": {"request": "REQ2"}}),
    (Kind.TASK_CLOSED, "equipment", {"task": "tsk_1", "ending": "accepted"}),
    (Kind.STEP_DONE_BY_HAND, "equipment", {"output": {}, "by": str(DANA), "task": "tsk_1"}),
    (Kind.WAIT_BEGAN, "resolved", {"event": "servicenow.resolved", "give_up_at": AT}),
    (Kind.WAIT_EXPIRED, "resolved", {"otherwise": "continue"}),
    (Kind.STEP_GIVEN_UP, "resolved", {"failure": "unknown", "effect": "none"}),
    (Kind.CHILD_STARTED, "child", {"instance": "ins_9", "workflow": "w"}),
    (Kind.STEP_SKIPPED, "sales", {"because": "not sales"}),
    (Kind.STEP_NOT_RUN, "chat", {"because": "x", "steps": ["sales"]}),
    (Kind.STEP_DECLINED, "mail", {"ending": "refused", "because": "x", "then": "continue"}),
    (Kind.TOLD, "mail", {"about": "welcome", "who": ["subject"], "people": PEOPLE, "notice": {"title": "t"},
                         "ok": True}),
    (Kind.CASE_OPENED, "equipment", {"case": "cas_1", "cause": "step", "step": "equipment", "seam": SEAM,
                                     "owner": {"team": "people-ops"}, "summary": "s", "remedy": "r"}),
    (Kind.OPERATOR_COMMANDED, "equipment", {"command": "take", "reason": "r", "case": "cas_1", "owner": str(DANA)}),
    (Kind.CASE_CLOSED, "equipment", {"case": "cas_1", "how": "healed", "because": "b"}),
    (Kind.CHECK_BEGAN, None, {"check": "T+2h", "due_at": AT, "late": False}),
    (Kind.CHECK_READ, "identity", {"check": "T+2h", "record": "account", "system": "directory", "read": 0,
                                   "verdict": "suspected", "fields": [{"field": "enabled"}], "suspects": "dis_1"}),
    (Kind.CHECK_READ, "sales", {"check": "T+2h", "record": "crm", "system": "crm", "read": 0,
                                "verdict": "suspected", "fields": [{"field": "role"}], "suspects": "dis_2"}),
    (Kind.CHECK_READ, "sales", {"check": "T+2h", "record": "crm", "system": "crm", "read": 1,
                                "verdict": "match", "fields": [{"field": "role"}], "clears": "dis_2"}),
    (Kind.DISCREPANCY_OPENED, None, {"discrepancy": "dis_1", "record": "account", "system": "directory",
                                     "check": "T+2h", "severity": "high", "fields": [{"field": "enabled"}]}),
    (Kind.DISCREPANCY_TICKETED, None, {"discrepancy": "dis_1", "ticket": "INC1", "url": "u"}),
    (Kind.DISCREPANCY_UPDATED, None, {"discrepancy": "dis_1", "check": "T+24h", "severity": "medium", "fields": []}),
    (Kind.HEAL_REFUSED, None, {"discrepancy": "dis_1", "record": "account", "field": "enabled", "action": "d.enable",
                               "because": "7 instances show the same"}),
    (Kind.HEAL_PROPOSED, None, {"heal": "heal:account.enabled~2", "discrepancy": "dis_1", "record": "account",
                                "field": "enabled", "system": "directory", "action": "d.enable", "payload": {},
                                "payload_digest": "d", "mode": "propose"}),
    (Kind.STEP_DONE, "heal:account.enabled~2", {"output": {}, "found": False, "system": "directory",
                                                "started_at": AT, "duration_ms": 5}),
    (Kind.DISCREPANCY_WAIVED, None, {"discrepancy": "dis_1", "until": AT, "because": "known"}),
    (Kind.DISCREPANCY_REOPENED, None, {"discrepancy": "dis_1", "record": "account", "system": "directory",
                                       "check": "waiver", "severity": "high", "fields": [], "times": 1}),
    (Kind.DISCREPANCY_SUPERSEDED, None, {"discrepancy": "dis_3", "record": "crm", "system": "crm",
                                         "check": "T+24h", "fields": []}),
    (Kind.DISCREPANCY_RESOLVED, None, {"discrepancy": "dis_1", "how": "agreed", "check": "T+24h"}),
    (Kind.CHECK_DONE, None, {"check": "T+2h", "matched": 3, "differing": 1, "unverified": 0, "pending": 0}),
    (Kind.ACT_PROPOSED, "identity", {"act": "identity/undo", "purpose": "undo", "system": "directory",
                                     "action": "disable", "payload": {}, "payload_digest": "d", "key": "k"}),
    (Kind.ACT_INTENT, "identity", {"act": "identity/undo", "attempt": 1, "key": "k3", "system": "directory",
                                   "action": "disable"}),
    (Kind.ACT_RESULT, "identity", {"act": "identity/undo", "attempt": 1, "result": "ok", "next": "confirming"}),
    (Kind.STEP_UNDONE, "identity", {}),
    (Kind.STEP_UNDONE_BY_HAND, "equipment", {"by": str(DANA), "task": "tsk_2"}),
    (Kind.STEP_UNDO_OPEN, "sales", {"failure": "refused"}),
    (Kind.STEP_KEPT, "mail", {"because": "mail cannot be unsent"}),
)  # fmt: skip


def story() -> list[Draft]:
    """Return the drafts of the story, a second apart."""
    return [draft(str(k), s, b, at=later(n), actor=DANA) for n, (k, s, b) in enumerate(STORY)]


async def tell(store: Store, *, at_a_time: int) -> None:
    """Append the story in portions."""
    await start(store, "ins_1")
    lease = await claim_one(store, seconds=3600)
    drafts = story()
    for begin in range(0, len(drafts), at_a_time):
        await store.append(lease, drafts[begin : begin + at_a_time])
    await store.append(lease, summary=Summary("reconciliation", "waiting", "time"), park=True)


def test_the_story_has_every_kind_that_a_projection_follows_from() -> None:
    told = {str(kind) for kind, _, _ in STORY} | {Kind.STARTED}  # with which every story begins
    assert told >= {str(kind) for kind in project._RULES}


def test_what_the_engine_knows_of_the_tables_is_what_they_are() -> None:
    known = {each.name: (set(each.key), sorted(each.typed)) for each in project.ALL}
    assert known == {
        table.name: (
            {column.name for column in table.primary_key},
            sorted(f"{c.name}:{'bigint' if isinstance(c.type, BigInteger) else 'text'}" for c in table.columns),
        )
        for table in PROJECTIONS
    }


@pytest.mark.parametrize("at_a_time", [1, 7, 100])
async def test_U06_tables_derived_again_from_the_journal_equal_the_tables(store: Store, at_a_time: int) -> None:
    await tell(store, at_a_time=at_a_time)
    names = [table.name for table in PROJECTIONS]
    before = await dump(store, [*names, "instances"])
    assert all(before[name] for name in names)
    for name in names:
        await query(store, f"DELETE FROM {name}")
    await query(store, "UPDATE instances SET title = 'x', stage = 'x', status = 'x', waiting_on = 'x'")
    count = await rebuild.rebuild(store, lambda _, __: Summary("reconciliation", "waiting", "time"))
    assert count == 1
    assert await dump(store, [*names, "instances"]) == before


async def test_the_rows_say_what_the_story_says(store: Store) -> None:
    await tell(store, at_a_time=5)
    steps = {row["step"]: row for row in await traces.list_steps(store, "ins_1")}
    assert {name: row["status"] for name, row in steps.items()} == {
        "identity": "undone", "equipment": "undone_by_hand", "resolved": "given_up", "child": "running",
        "sales": "undo_open", "chat": "not_run", "mail": "kept",
    }  # fmt: skip
    identity = steps["identity"]
    assert (identity["attempts"], identity["started_at"], identity["duration_ms"]) == (2, later(4), 900)
    (crossing,) = await traces.list_handoffs(store, "ins_1")
    assert (crossing["from_step"], crossing["to_step"], crossing["net_ms"]) == ("trigger", "identity", 40)
    assert crossing["ready_at"] == later(3600)
    effects = {row["act"]: row for row in await traces.list_effects(store, "ins_1")}
    assert effects["identity"]["record"] == "u-1"
    assert effects["identity"]["undone_at"] is not None
    assert effects["identity/undo"]["undone_at"] is None
    assert (await traces.list_waits(store, "ins_1"))[0]["status"] == "closed"
    assert (await traces.list_checks(store, "ins_1"))[0]["matched"] == 3
    assert (await traces.list_notices(store, "ins_1"))[0]["people"] == PEOPLE
    reads = {row["name"]: row["status"] for row in await traces.list_context_reads(store, "ins_1")}
    assert reads == {"profile": "read", "quote": "skipped"}


async def test_what_waits_for_people_is_listed_and_closed(store: Store) -> None:
    await start(store, "ins_1")
    lease = await claim_one(store)
    await store.append(lease, story()[:12])
    (approval,) = await items.list_approvals(store, person="W-1")
    assert (approval["id"], approval["instance_title"], approval["status"]) == (
        "apr_1", "Onboarding of Priya Raman", "open"
    )  # fmt: skip
    assert await items.list_approvals(store, person="W-2") == []
    answer = draft(Kind.APPROVAL_ANSWERED, "equipment", {"approval": "apr_1", "answer": "approve"}, actor=DANA)
    await store.append_outside("ins_1", [answer], NOW, guards=[Still("approvals", "apr_1")])
    closed = draft(Kind.APPROVAL_CLOSED, "equipment", {"approval": "apr_1", "ending": "approved", "by": [str(DANA)]})
    await store.append_outside("ins_1", [closed], NOW)
    shown = await items.get_approval(store, "apr_1")
    assert (shown["status"], shown["closed_by"], shown["answers"][0]["actor"]) == ("approved", [str(DANA)], str(DANA))
    with pytest.raises(NotFoundError):
        await store.append_outside("ins_1", [answer], NOW, guards=[Still("approvals", "apr_9")])


async def test_A09_a_late_click_is_told_what_was_decided_and_changes_nothing(store: Store) -> None:
    await start(store, "ins_1")
    await store.append_outside("ins_1", story()[11:16], NOW)
    late = draft(Kind.APPROVAL_ANSWERED, "equipment", {"approval": "apr_1", "answer": "refuse"}, actor=DANA)
    before = await dump(store, ["answers", "approvals", "journal"])
    with pytest.raises(ConflictError, match="approved") as refused:
        await store.append_outside("ins_1", [late], NOW, guards=[Still("approvals", "apr_1")])
    assert refused.value.code == "already-decided"
    assert refused.value.detail["status"] == "approved"
    assert await dump(store, ["answers", "approvals", "journal"]) == before


async def test_X02_an_open_instance_that_nothing_will_wake_is_found(store: Store) -> None:
    await start(store, "ins_1")
    assert await instances.orphans(store) == []
    lease = await claim_one(store)
    assert await instances.orphans(store) == []
    await store.append(lease, park=True, wake_at=later(60))
    await query(store, "UPDATE instances SET wake_at = NULL")  # somebody deletes its timer by hand
    assert [row["id"] for row in await instances.orphans(store)] == ["ins_1"]
    await store.append_outside("ins_1", story()[11:12], NOW)
    await query(store, "UPDATE instances SET wake_at = NULL")
    assert await instances.orphans(store) == []  # an approval is open: a person will wake it


async def test_instances_are_listed_by_page_and_counted(store: Store) -> None:
    for number in range(7):
        await start(store, f"ins_{number}", later(number // 2))
    first = await instances.listing(store, limit=4)
    second = await instances.listing(store, limit=4, started_before=(first[-1]["started_at"], first[-1]["id"]))
    assert [row["id"] for row in first + second] == [f"ins_{number}" for number in range(6, -1, -1)]
    assert await instances.counts(store) == {"running": 7}
    assert await instances.counts(store, workflow="other") == {}
    assert await instances.find(store, "ins_3") == ["ins_3"]
    assert len(await instances.listing(store, correlation="W-104233", statuses=["running"])) == 7
