"""What operators do at the console: previewed, reasoned, recorded; tasks handed in; lists frozen while they look."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from browser.site import ask
from topstitch.console.pages.sight import look
from topstitch.store import instances, items

TAGS = re.compile(r"<[^>]+>")


def said(html: str) -> str:
    return " ".join(unescape(TAGS.sub(" ", html)).split())


async def test_X05_retry_from_a_step_is_previewed_then_done_with_its_reason(house: Any) -> None:
    name = house.id("Lukas Vogel")
    preview = said((await house.get(f"/instances/{name}/retry?step=equipment")).text)
    assert "Equipment request: compensating becomes waiting." in preview
    before = (await instances.get(house.store, name))["head_seq"]
    answer = await house.post(f"/instances/{name}/retry", step="equipment", reason="ServiceNow is back")
    assert answer.status == 303
    sight = await look(house.hands, name)
    assert sight.state.steps["equipment"].status == "waiting"
    record = next(r for r in sight.records[before:] if r.kind == "operator.commanded")
    assert (record.seq, record.kind, str(record.actor), record.body["reason"]) == (
        before + 1,
        "operator.commanded",
        "human:dana",
        "ServiceNow is back",
    )


async def test_H11_a_step_is_retried_with_changed_data_and_only_what_changed_is_kept(house: Any) -> None:
    name = house.id("Lukas Vogel")
    page = (await house.get(f"/instances/{name}/retry?step=equipment")).text
    assert 'name="input.location" value="Austin"' in page
    await house.post(
        f"/instances/{name}/retry",
        step="equipment",
        reason="wrong office",
        **{"input.location": "Dallas", "input.tier": "standard"},
    )
    records = (await look(house.hands, name)).records
    body = next(r.body for r in reversed(records) if r.kind == "operator.commanded")
    assert body["before"] == {"location": "Austin"}
    assert body["input"]["location"] == "Dallas"


async def test_H11_a_step_is_skipped_with_a_reason_and_not_without(house: Any) -> None:
    name = house.id("Priya Raman")
    refused = await house.post(f"/instances/{name}/skip", step="crm_assignment", reason=" ")
    assert refused.status == 422
    assert "say why" in said(refused.text)
    assert (
        await house.post(f"/instances/{name}/skip", step="crm_assignment", reason="no territory this year")
    ).status == 303
    assert (await look(house.hands, name)).state.steps["crm_assignment"].status == "skipped"


async def test_X06_an_instance_is_paused_and_resumed(house: Any) -> None:
    name = house.id("Priya Raman")
    assert "No new call is made" in said((await house.get(f"/instances/{name}/pause")).text)
    await house.post(f"/instances/{name}/pause", reason="audit week")
    assert (await look(house.hands, name)).state.paused
    page = said((await house.get(f"/instances/{name}")).text)
    assert "Priya Raman Paused" in page
    assert "Resume" in page
    await house.post(f"/instances/{name}/resume", reason="over")
    assert not (await look(house.hands, name)).state.paused


async def test_cancelling_names_every_consequence_in_its_system(told: Any) -> None:
    name = told.id("Priya Raman")
    undo = said((await told.get(f"/instances/{name}/cancel?choice=rollback")).text)
    for line in (
        "Entra ID: disable user (Identity provisioning).",
        "ServiceNow: cancel request (Equipment request).",
        "Welcome e-mail stays, because informational",
    ):
        assert line in undo
    assert undo.index("cancel request") < undo.index("disable user")
    keep = said((await told.get(f"/instances/{name}/cancel?choice=stop")).text)
    assert "What is done stays: Equipment request, Identity provisioning" in keep


async def test_a_preview_records_nothing(told: Any) -> None:
    name = told.id("Priya Raman")
    before = (await instances.get(told.store, name))["head_seq"]
    for command in ("retry", "skip", "pause", "cancel"):
        assert (await told.get(f"/instances/{name}/{command}")).status == 200
    assert (await instances.get(told.store, name))["head_seq"] == before
    assert (await told.get(f"/instances/{name}/explode")).status == 404


async def test_what_has_ended_cannot_be_cancelled_and_the_page_says_why(told: Any) -> None:
    name = told.id("Ana Costa")
    page = (await told.get(f"/instances/{name}")).text
    assert "It has ended completed." in page
    answer = await told.post(f"/instances/{name}/cancel", reason="why not", choice="stop")
    assert answer.status == 409


async def test_a_task_is_handed_in_by_whom_it_was_given_to(house: Any) -> None:
    task = (await items.list_tasks(house.store))[0]
    form = {"output.request_id": "REQ9", "output.number": "REQ0009", "comment": "ordered in the portal"}
    assert (await house.post(f"/tasks/{task['id']}/done", person="eve", **form)).status == 403
    assert (await house.post(f"/tasks/{task['id']}/done", person="ivo", **form)).status == 303
    record = (await look(house.hands, task["instance"])).records[-1]
    assert record.kind == "task.done"
    assert record.body["output"] == {"request_id": "REQ9", "number": "REQ0009"}


async def test_a_task_that_does_not_fit_its_form_names_the_field(house: Any) -> None:
    task = (await items.list_tasks(house.store))[0]
    answer = await house.post(f"/tasks/{task['id']}/done", person="ivo", **{"output.number": "REQ0009"})
    assert answer.status == 422
    assert "request_id" in said(answer.text)


async def test_a_task_that_cannot_be_done_is_said_so(house: Any) -> None:
    task = (await items.list_tasks(house.store))[0]
    assert (await house.post(f"/tasks/{task['id']}/fail", person="ivo", because="nothing in stock")).status == 303
    assert (await look(house.hands, task["instance"])).records[-1].kind == "task.failed"


async def test_two_people_who_answer_at_once_are_both_heard_in_order(house: Any) -> None:
    row = (await items.list_approvals(house.store))[0]
    first = await house.post(f"/approvals/{row['id']}/decision", said="approve")
    second = await house.post(f"/approvals/{row['id']}/decision", said="approve")
    assert (first.status, second.status) == (303, 409)
    assert len((await items.get_approval(house.store, row["id"]))["answers"]) == 1


async def test_preferences_are_kept_in_the_browser_and_lead_back(told: Any) -> None:
    answer = await told.post("/preferences", theme="dark", tz="Asia/Tokyo", keys="off", next="/instances?q=state:open")
    assert answer.status == 303
    assert answer.headers["location"] == "/instances?q=state:open"
    page = (
        await told.get("/settings", cookie="topstitch_theme=dark; topstitch_tz=Asia/Tokyo; topstitch_keys=off")
    ).text
    assert 'data-theme="dark"' in page
    assert 'data-keys="off"' in page
    assert "Tokyo (UTC+9)" in page


async def test_acting_as_somebody_else_is_only_for_the_demo(told: Any) -> None:
    assert (
        "topstitch_person=ivo"
        in (await ask(told.app, "/act-as", method="POST", form={"person": "ivo"})).headers["set-cookie"]
    )
    assert (
        await ask(told.again(sign_in="/sign-in").app, "/act-as", method="POST", form={"person": "ivo"})
    ).status == 404
